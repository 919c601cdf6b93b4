"""How a catalog changes and is published: plans, pins, races, and stores that are away."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, WriteConflict
from fiso.domain.policy import Mode, Pin, Policy
from fiso.domain.stage_rules import StageRules
from fiso.ports import CatalogVersion
from fiso.services.maintenance.publish import publish
from fiso.services.maintenance.switch import in_mode, pinned_to
from fiso.testing.memory import InMemoryCatalogStore, InMemorySnapshots, away
from fiso_cli.catalog.change import Written, change_policy, execute, plan, rolled_back
from fiso_cli.catalog.in_force import held_s_where_served, wait_until_in_force
from fiso_cli.errors import CommandError
from tests.builders import NOW, a_snapshot, an_endpoint, an_entry
from tests.emulator import free_port

HOUR = timedelta(hours=1)
BFS = an_entry(an_endpoint(Provider.AWS), an_endpoint(Provider.GCP), name="bfs", version=0, home=EndpointId("aws"))
TEXT = replace(BFS, name=FunctionName("text"), policy=Policy(version=0))


class RacingStore(InMemoryCatalogStore):
    """A store into which somebody else writes just before each of the first `races` writes."""

    def __init__(self, races: int) -> None:
        super().__init__()
        super().replace([BFS, TEXT], based_on=0, author="tester")
        self.races = races

    def replace(
        self,
        entries: Sequence[CatalogEntry],
        *,
        based_on: int,
        author: str,
        at_least: int = 0,
        rules: StageRules | None = None,
    ) -> CatalogVersion:
        if self.races:
            self.races -= 1
            super().replace([BFS, TEXT], based_on=based_on, author="somebody else")
        return super().replace(entries, based_on=based_on, author=author, at_least=at_least, rules=rules)


class Ticks:
    """Seconds that pass when somebody sleeps; answers in their order, the last one again and again."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        return self._now_s

    def pass_s(self, seconds: float) -> None:
        self._now_s += seconds

    def each(self, answers: Sequence[int | None]) -> Callable[[], int | None]:
        return lambda: answers[min(round(self._now_s * 2), len(answers) - 1)]


@pytest.fixture
def store() -> InMemoryCatalogStore:
    return RacingStore(races=0)


@pytest.fixture
def snapshots() -> InMemorySnapshots:
    return InMemorySnapshots()


def apply(store: InMemoryCatalogStore, snapshots: InMemorySnapshots, *entries: CatalogEntry) -> Written:
    return execute(plan(store, entries, NOW), store, into(store, snapshots), author="tester")


def into(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> Callable[[], int]:
    """As the keeper publishes when it is asked."""

    def published() -> int:
        publish(store, snapshots)
        return snapshots.attested() or 0

    return published


def policy(store: InMemoryCatalogStore) -> Policy:
    return store.load().entries[BFS.name].policy


def published_version(snapshots: InMemorySnapshots) -> int | None:
    current = snapshots.current()
    return current.version if current else None


def test_a_changed_catalog_is_written_and_published(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    assert apply(store, snapshots, TEXT) == Written(version=2, is_new=True)
    assert (set(store.load().entries), published_version(snapshots)) == ({TEXT.name}, 2)


def test_an_unchanged_catalog_writes_nothing_but_publishes_what_was_not(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    assert apply(store, snapshots, BFS, TEXT) == Written(version=1, is_new=False)
    assert (store.load().version, published_version(snapshots)) == (1, 1)


def test_a_plan_that_was_overtaken_is_refused(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    late = plan(store, [TEXT], NOW)
    apply(store, snapshots, BFS)
    with pytest.raises(CommandError, match="changed meanwhile"):
        execute(late, store, into(store, snapshots), author="tester")


def test_a_failed_publication_is_told_and_the_version_is_kept(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    snapshots.before = away("no room", "publish")
    written = apply(store, snapshots, TEXT)
    assert (written.version, written.unpublished, store.load().version) == (2, "no room", 2)


def test_a_pin_is_written_and_published_and_lifted(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW)
    assert (policy(store).mode, policy(store).pinned, published_version(snapshots)) == (Mode.PIN, "gcp", 2)
    change_policy("bfs", in_mode(Mode.ROUTE), store, into(store, snapshots), author="tester", now=NOW)
    assert (policy(store).mode, policy(store).pinned, published_version(snapshots)) == (Mode.ROUTE, None, 3)


def test_a_pin_remembers_who_and_lifts_itself_into_the_mode_from_before(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    change_policy("bfs", in_mode(Mode.OBSERVE), store, into(store, snapshots), author="tester", now=NOW)
    pin = Pin(by="ada", at=NOW, reason="gcp is slow", until=NOW + HOUR)
    for again in (pin, replace(pin, at=NOW + HOUR / 2)):
        change_policy("bfs", pinned_to("gcp", again), store, into(store, snapshots), author="ada", now=NOW)
    assert policy(store).pin == replace(pin, then=Mode.OBSERVE)
    published = snapshots.current()
    assert published is not None
    in_force = [published.entry_at("bfs", NOW + part * HOUR).policy for part in (0.99, 1)]
    assert [(each.mode, each.pinned) for each in in_force] == [(Mode.PIN, "gcp"), (Mode.OBSERVE, None)]
    assert published.entry_at("bfs", NOW + HOUR) is published.entry_at("bfs", NOW + 2 * HOUR)


def test_unpinning_goes_back_to_the_mode_from_before(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    for alter in (in_mode(Mode.OBSERVE), pinned_to("gcp", Pin(by="ada", at=NOW)), in_mode()):
        change_policy("bfs", alter, store, into(store, snapshots), author="tester", now=NOW)
    assert policy(store).mode is Mode.OBSERVE


def test_going_back_to_an_earlier_policy_lifts_no_pin(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW)
    with pytest.raises(CommandError, match="pinned to gcp now: `fiso policy unpin` first"):
        change_policy("bfs", rolled_back(BFS), store, into(store, snapshots), author="tester", now=NOW)


@pytest.mark.parametrize(("answers", "waits_s"), [([6, 7], 10.0), ([7], 10.0), ([None] * 30 + [7], 15.0)])
def test_a_change_holds_once_the_stage_answers_by_it_and_no_older_snapshot_may_decide(
    answers: list[int | None], waits_s: float
) -> None:
    ticks = Ticks()
    assert wait_until_in_force(7, ticks.each(answers), ticks=ticks, sleep=ticks.pass_s) == waits_s


def test_a_change_that_is_never_seen_to_hold_is_told() -> None:
    ticks = Ticks()
    with pytest.raises(CommandError, match=r"version 7 is published, but .* it answers by version 6"):
        wait_until_in_force(7, ticks.each([6]), ticks=ticks, sleep=ticks.pass_s)


def test_pinning_twice_writes_once(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    for expected in (Written(version=2, is_new=True), Written(version=2, is_new=False)):
        assert (
            change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW) == expected
        )


def test_a_pin_leaves_other_functions_alone(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    before = store.load().entries[TEXT.name]
    change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW)
    assert store.load().entries[TEXT.name] == before


def test_a_pin_that_lost_a_race_is_written_over_the_winner(snapshots: InMemorySnapshots) -> None:
    store = RacingStore(races=2)
    assert change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW).version == 4
    assert policy(store).pinned == "gcp"


def test_a_pin_that_keeps_losing_gives_up(snapshots: InMemorySnapshots) -> None:
    racing = RacingStore(races=3)
    with pytest.raises(WriteConflict):
        change_policy("bfs", pinned_to("gcp"), racing, into(racing, snapshots), author="tester", now=NOW)


@pytest.mark.parametrize(
    ("function", "endpoint", "problem"),
    [
        ("nope", "aws", "no function 'nope' in catalog version 1"),
        ("bfs", "nope", "no endpoint 'nope' here, only aws, gcp"),
    ],
)
def test_a_pin_to_something_unknown_is_refused(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots, function: str, endpoint: str, problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        change_policy(function, pinned_to(endpoint), store, into(store, snapshots), author="tester", now=NOW)


def test_a_pin_to_an_endpoint_that_the_policy_excludes_is_refused(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    denied = replace(BFS, policy=replace(BFS.policy, denied_providers=frozenset({Provider.GCP})))
    apply(store, snapshots, denied)
    with pytest.raises(CommandError, match="provider gcp is denied"):
        change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW)


def test_observing_needs_a_home(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    with pytest.raises(CommandError, match="home: is missing"):
        change_policy("text", in_mode(Mode.OBSERVE), store, into(store, snapshots), author="tester", now=NOW)


def test_a_plan_names_the_pins_that_it_would_lift(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    change_policy("bfs", pinned_to("gcp"), store, into(store, snapshots), author="tester", now=NOW)
    keeping = replace(BFS, policy=replace(BFS.policy, mode=Mode.PIN, pinned=EndpointId("gcp")))
    assert plan(store, [BFS, TEXT], NOW).lifted_pins == ("bfs",)
    assert plan(store, [keeping, TEXT], NOW).lifted_pins == ()


def test_the_newest_version_is_published_once(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    for version in (1, 2):
        published, stored = publish(store, snapshots), store.load()
        assert published == snapshots.current()
        assert published == Snapshot(version=version, published_at=stored.changed_at, functions=stored.entries)
        assert publish(store, snapshots) is None
        store.replace([BFS], based_on=version, author="tester")


def test_nothing_is_published_before_anything_was_applied(snapshots: InMemorySnapshots) -> None:
    assert publish(InMemoryCatalogStore(), snapshots) is None
    assert snapshots.current() is None


def test_a_database_that_lags_behind_what_is_published_is_an_error(store: InMemoryCatalogStore) -> None:
    with pytest.raises(InvalidCatalog, match="version 9 is published but the catalog's database ends at 1"):
        publish(store, InMemorySnapshots(a_snapshot(version=9)))


def test_a_damaged_snapshot_is_replaced(store: InMemoryCatalogStore, snapshots: InMemorySnapshots) -> None:
    def damaged(operation: str) -> None:
        if operation == "current":
            raise InvalidCatalog("snapshot is damaged")

    snapshots.before = damaged
    publish(store, snapshots)
    assert list(snapshots.versions) == [1]


def test_nothing_is_published_while_it_is_unknown_what_is(
    store: InMemoryCatalogStore, snapshots: InMemorySnapshots
) -> None:
    snapshots.before = away("the bucket is away", "current")
    with pytest.raises(StoreUnavailable):
        publish(store, snapshots)
    assert snapshots.versions == {}


def test_what_is_applied_before_anything_is_deployed_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("FISO_LOCAL_PORT", str(free_port()))
    assert held_s_where_served(7, "local") is None
