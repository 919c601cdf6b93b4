"""The kill switch past the database: in force at once, carried along with whatever is published, learnt in the end."""

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, UnknownFunction, WriteConflict
from fiso.domain.fields import Impossible
from fiso.domain.policy import Mode
from fiso.ports import CatalogVersion
from fiso.services.maintenance.publish import learn, publish
from fiso.services.maintenance.switch import ModeOrder, in_mode, pinned_to, switch
from fiso.testing.memory import InMemoryCatalogStore, InMemorySnapshots, away
from fiso_cli.catalog.change import change_policy
from tests.builders import NOW, an_entry

BFS, TEXT = FunctionName("bfs"), FunctionName("text")
ENTRIES = [an_entry(name=name, version=0, home=EndpointId("aws")) for name in (BFS, TEXT)]
HOUR = timedelta(hours=1)


@dataclass
class World:
    """A database that can be away, and what is published."""

    store: InMemoryCatalogStore = field(default_factory=InMemoryCatalogStore)
    snapshots: InMemorySnapshots = field(default_factory=InMemorySnapshots)

    def __post_init__(self) -> None:
        self.store.replace(ENTRIES, based_on=0, author="operator")
        self.keep()

    def order(self, function: str = BFS, **wanted: Any) -> Snapshot:
        return switch(ModeOrder(function=FunctionName(function), by="ada", **wanted), self.snapshots, now=NOW)

    def pin(self, endpoint: str = "azure", **wanted: Any) -> Snapshot:
        return self.order(endpoint=EndpointId(endpoint), **wanted)

    def keep(self) -> None:
        """One round of the keeper, as far as catalogs go."""
        publish(self.store, self.snapshots)

    def learn(self) -> CatalogVersion | None:
        return learn(self.store, self.snapshots.current())

    def write(self, *entries: CatalogEntry) -> None:
        self.store.replace(entries or ENTRIES, based_on=self.store.load().version, author="operator")

    @property
    def published(self) -> Snapshot:
        found = self.snapshots.current()
        assert found is not None
        return snapshot_from_json(snapshot_to_json(found))

    @property
    def mode(self) -> str:
        return self.published.entry_at(BFS, NOW).policy.mode_word

    @property
    def stored_mode(self) -> str:
        return self.store.load().entries[BFS].policy.mode_word


@pytest.fixture
def world() -> World:
    return World()


def test_a_pin_is_in_force_and_says_who_and_why_while_the_database_is_away(world: World) -> None:
    world.store.before = away("no route")
    world.pin(reason="gcp is slow", until=NOW + HOUR)
    policy = world.published.functions[BFS].policy
    assert policy.pin is not None
    assert (policy.mode_word, policy.version, world.published.version) == ("pin:azure", 2, 2)
    assert (policy.pin.by, policy.pin.at, policy.pin.reason, policy.pin.until) == (
        "ada",
        NOW,
        "gcp is slow",
        NOW + HOUR,
    )
    assert world.published.functions[TEXT].policy.mode is Mode.ROUTE
    with pytest.raises(StoreUnavailable):
        world.keep()
    assert world.mode == "pin:azure"


def test_it_survives_rounds_of_the_keeper_and_later_versions_without_flapping(world: World) -> None:
    world.pin()
    for number in range(6):
        world.keep()
        assert world.mode == "pin:azure"
        if number % 2:
            world.write(*(replace(e, policy=replace(e.policy, timeout_ms=1000 + number)) for e in ENTRIES))
    published = world.published
    assert published.functions[BFS].policy.timeout_ms == 1005 - 2
    assert (published.base_version, published.version > world.store.load().version - 1) == (3, True)
    assert world.stored_mode == "route"


def test_whoever_writes_the_database_brings_it_there_under_the_name_of_whoever_ordered_it(world: World) -> None:
    world.pin()
    learned = world.learn()
    assert learned is not None
    assert (world.stored_mode, world.store.history(BFS)[0].author) == ("pin:azure", "ada")
    world.keep()
    assert (world.published.version, dict(world.published.ahead), world.mode) == (learned.version, {}, "pin:azure")
    assert world.learn() is None
    world.keep()
    assert world.published.version == learned.version


def test_what_the_database_says_later_stands(world: World) -> None:
    world.pin()
    world.learn()  # and the keeper publishes nothing of it
    change_policy(BFS, in_mode(), world.store, lambda: 99, author="bob", now=NOW)
    world.keep()
    assert (world.mode, world.stored_mode) == ("route", "route")


def test_another_pin_in_the_database_stands(world: World) -> None:
    world.pin()
    change_policy(BFS, pinned_to("gcp"), world.store, lambda: 99, author="bob", now=NOW)
    world.keep()
    assert (world.mode, dict(world.published.ahead)) == ("pin:gcp", {})


def test_an_order_after_the_database_learnt_the_one_before_stands(world: World) -> None:
    world.pin()
    world.learn()
    world.order()  # unpinned, before the keeper published what was learnt
    world.keep()
    assert (world.mode, world.stored_mode) == ("route", "pin:azure")
    world.learn()
    world.keep()
    assert (world.mode, world.stored_mode, dict(world.published.ahead)) == ("route", "route", {})


def test_a_pin_of_an_endpoint_that_is_gone_is_over(world: World) -> None:
    world.pin()
    gone = replace(ENTRIES[0], endpoints=tuple(e for e in ENTRIES[0].endpoints if e.id != "azure"))
    world.write(gone, ENTRIES[1])
    world.keep()
    assert (world.mode, dict(world.published.ahead)) == ("route", {})
    world.pin("gcp")
    world.write(ENTRIES[1])
    world.keep()
    assert set(world.published.functions) == {TEXT}


def test_said_again_it_changes_nothing(world: World) -> None:
    first = world.pin(reason="slow")
    assert world.pin(reason="slow") == first
    assert world.order(TEXT).version == first.version


@pytest.mark.parametrize(
    ("order", "error", "said"),
    [
        ({"endpoint": EndpointId("nowhere")}, Impossible, "no endpoint 'nowhere'"),
        ({"function": "nobody"}, UnknownFunction, "no function 'nobody'"),
        ({"by": ""}, ValueError, "who gives it"),
        ({"by": "a\nb"}, ValueError, "who gives it"),
        ({"reason": "x" * 501}, ValueError, "reason"),
        ({"mode": Mode.PIN}, ValueError, "a pin names its endpoint"),
        ({"mode": Mode.ROUTE, "endpoint": EndpointId("aws")}, ValueError, "without an endpoint"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    world: World, order: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        switch(ModeOrder(**{"function": BFS, "by": "ada", **order}), world.snapshots, now=NOW)
    assert world.published.version == 1


def test_a_pin_that_leaves_nothing_to_call_is_refused(world: World) -> None:
    denied = replace(ENTRIES[0], policy=replace(ENTRIES[0].policy, denied_providers=frozenset({Provider.AZURE})))
    world.write(denied, ENTRIES[1])
    world.keep()
    with pytest.raises(Impossible, match="leaves no endpoint to call"):
        world.pin("azure")


def test_without_a_catalog_there_is_nothing_to_switch() -> None:
    with pytest.raises(InvalidCatalog, match="no catalog"):
        switch(ModeOrder(function=BFS, by="ada"), InMemorySnapshots(), now=NOW)


def test_whoever_loses_a_race_looks_again(world: World) -> None:
    """The keeper publishes a version of the database between look and write."""
    world.write(*(replace(e, policy=replace(e.policy, timeout_ms=1234)) for e in ENTRIES))

    races = iter([True])

    def racing(operation: str) -> None:
        if operation == "publish" and next(races, False):
            world.keep()

    world.snapshots.before = racing
    world.pin()
    world.keep()
    assert (world.mode, world.published.functions[BFS].policy.timeout_ms) == ("pin:azure", 1234)


def test_a_number_that_somebody_left_behind_is_passed_over(world: World) -> None:
    taken = iter([True, True, False])

    def conflicting(operation: str) -> None:
        if operation == "publish" and next(taken):
            raise WriteConflict("taken")

    world.snapshots.before = conflicting
    assert world.pin().version == 4


def test_a_database_that_was_put_back_is_still_found_out(world: World) -> None:
    world.pin()
    world.write()
    world.keep()
    with pytest.raises(InvalidCatalog, match="is it the right database"):
        publish(InMemoryCatalogStore(), world.snapshots)


@pytest.mark.parametrize("seed", range(40))
def test_the_last_word_stands_whoever_said_it_and_however_writes_rounds_and_outages_mix(seed: int) -> None:
    """Operators learn before they change a mode, as the command line does; the database may be away from the keeper."""
    rng, world, last = random.Random(seed), World(), "route"
    for _ in range(30):
        match rng.randrange(6):
            case 0:
                last = f"pin:{(endpoint := rng.choice(['aws', 'azure', 'gcp']))}"
                world.pin(endpoint)
            case 1:
                world.order(mode=Mode.ROUTE)
                last = "route"
            case 2 | 3:
                world.keep()
            case 4:
                world.write(
                    *(
                        replace(e, policy=replace(e.policy, timeout_ms=rng.randrange(1000, 9000)))
                        for e in current(world)
                    )
                )
            case 5:
                world.learn()
                endpoint = rng.choice(["aws", "azure", "gcp"])
                change_policy(BFS, pinned_to(endpoint), world.store, lambda: 99, author="bob", now=NOW)
                last = f"pin:{endpoint}"
                world.keep()
        # orders hold at once, the database's words once they are published
        assert world.mode == last
    world.keep()
    world.learn()
    world.keep()
    assert (world.mode, world.stored_mode, dict(world.published.ahead)) == (last, last, {})


def current(world: World) -> list[CatalogEntry]:
    return [*world.store.load().entries.values()]
