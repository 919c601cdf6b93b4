"""What requests see while stores hang, fail or hold less than they should."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from time import perf_counter, sleep
from typing import Any

import pytest

from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.domain.policy import Mode
from fiso.ports import Snapshots
from fiso.services.freshness import decision_sources
from fiso.services.freshness.cached import STORE_WAIT_S
from fiso.services.freshness.health import Level
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryModelStore, InMemorySnapshots, answering, away
from fiso.testing.rig import PLACES, Rig, Stores, word_count
from fiso_client.core.failures import Failure
from tests.builders import a_snapshot, failing
from tests.models import an_artifact, files_of, trusting

MOST_MS = 2 * STORE_WAIT_S * 1000
"""What a request may wait in all; with three stores of 50 ms each it would be more."""
READS = ("current", "of_function", "champion")


class World(Rig):
    """Its catalog, states and models share a fault: reads of them fail, or hang until the test ends."""

    def __init__(self, copy: Snapshots | None) -> None:
        stores = Stores(layer=InMemoryModelStore(files_of(an_artifact())))
        super().__init__(
            word_count(), respond=failing(OK), stores=stores, ports=lambda ports: replace(trusting(ports), copy=copy)
        )
        self.how, self.released = "well", Event()
        for store in (stores.snapshots, stores.states, stores.models):
            store.before = self._fail

    def _fail(self, operation: str) -> None:
        if operation not in READS or self.how == "well":
            return
        if self.how == "hanging":
            self.released.wait(20)
        if self.how == "damaged":
            raise KeyError("Items")
        raise StoreUnavailable(self.how)

    def timed_ms(self) -> float:
        start = perf_counter()
        assert self.invoke("word-count").status == 200
        return (perf_counter() - start) * 1000

    def health(self) -> tuple[int, dict[str, Any]]:
        answer = self.request("GET", "/healthz")
        return answer.status, answer.document


@pytest.fixture
def world() -> Iterator[World]:
    made = World(InMemorySnapshots(a_snapshot(word_count())))
    yield made
    made.released.set()


def slowly(operation: str) -> None:
    """A store whose reads take longer than a request may wait for states."""
    if operation in READS:
        sleep(3 * STORE_WAIT_S)


def test_stores_that_hang_cost_a_request_one_wait_in_all_and_the_next_ones_nothing(world: World) -> None:
    world.timed_ms()
    world.how = "hanging"
    world.clock.advance(120)
    first, *later = [world.timed_ms() for _ in range(20)]
    assert first < MOST_MS + 1000 * decision_sources.SNAPSHOT_WAIT_S
    assert sorted(later)[len(later) // 2] < STORE_WAIT_S * 1000 / 5


def test_a_pin_holds_after_a_pause_although_the_catalog_takes_longer_to_read_than_the_budget() -> None:
    rig = Rig()
    rig.invoke("word-count")
    other = next(id for id in PLACES if id != rig.calls[-1])
    rig.change_policy("word-count", mode=Mode.PIN, pinned=other)
    rig.stores.snapshots.before = slowly
    rig.clock.advance(decision_sources.SNAPSHOT_STALE_S + 0.1)
    rig.invoke("word-count")
    assert rig.calls[-1] == other


def test_a_store_that_answers_again_is_waited_for_again(world: World) -> None:
    world.timed_ms()
    world.how = "failing"
    world.clock.advance(120)
    world.timed_ms()
    world.how = "well"
    world.publish(word_count())
    world.clock.advance(120)
    world.timed_ms()
    assert world.app.sources.snapshot().version == 2


@pytest.mark.parametrize("how", ["damaged", "failing"])
def test_whatever_a_store_gives_beside_a_request_its_answer_goes_out_and_its_record_is_closed(
    world: World, how: str
) -> None:
    world.timed_ms()
    world.how = how
    for _ in range(3):
        world.clock.advance(7)
        world.timed_ms()
    assert len(world.records) == len(world.stores.log.records) == 4
    assert world.metrics.total("StoreProblems") > 0
    assert world.health()[1]["status"] == "degraded"


def test_people_are_shown_states_that_take_longer_to_read_than_a_request_may_wait() -> None:
    rig = Rig(*(replace(word_count(), name=FunctionName(f"f{number}")) for number in range(12)))
    for number in range(12):
        rig.invoke(f"f{number}")
    rig.fold()
    rig.stores.states.before = slowly
    again = Rig(stores=rig.stores)
    shown = again.request("GET", "/v1/endpoints").document["endpoints"]
    assert sum(row["attempts"] for row in shown) == 12
    assert again.app.sources.health()[1].level is Level.OK


def test_a_state_that_was_not_read_is_told_as_such_until_it_is() -> None:
    rig, released = Rig(), Event()

    def held(operation: str) -> None:
        released.wait(30)

    rig.stores.states.before = held
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert [(row["state_age_s"], "attempts" in row) for row in rows] == [(None, False)] * 3
    released.set()
    rig.invoke("word-count")  # waits for what is under way, as if nobody had asked before
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert [(row["state_age_s"] is not None, row["attempts"]) for row in rows] == [(True, 0)] * 3


def test_what_others_told_of_a_breaker_is_in_the_list_of_a_fresh_environment() -> None:
    rig = Rig()
    rig.fail("aws-us-east-1", Failure.UNREACHABLE)
    for _ in range(20):
        rig.invoke("word-count")
    rows = Rig(stores=rig.stores, clock=rig.clock).request("GET", "/v1/endpoints").document["endpoints"]
    assert {row["endpoint"]: row["breaker"] for row in rows} == {
        "aws-us-east-1": "open",
        "azure-eastus": "closed",
        "gcp-us-east4": "closed",
    }


def test_a_cold_environment_without_s3_decides_on_the_copy(world: World) -> None:
    world.how = "failing"
    assert world.invoke("word-count").status == 200
    status, document = world.health()
    assert (status, document["status"]) == (200, "degraded")
    assert document["parts"]["snapshot"]["is"] == "stale"


def test_a_cold_environment_whose_s3_hangs_decides_on_the_copy_within_the_first_budget(world: World) -> None:
    world.how = "hanging"
    assert world.timed_ms() < 1000 * (decision_sources.COPY_AFTER_S + 1.0)


@pytest.mark.parametrize("copy", [InMemorySnapshots(), None])
def test_without_any_catalog_nothing_is_guessed(copy: InMemorySnapshots | None) -> None:
    world = World(copy)
    world.how = "failing"
    answer = world.invoke("word-count")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert world.calls == []
    status, document = world.health()
    assert (status, document["status"]) == (503, "unavailable")


def test_a_damaged_copy_is_no_catalog() -> None:
    def damaged(operation: str) -> None:
        raise InvalidCatalog("its sha256 says otherwise")

    copy = InMemorySnapshots(a_snapshot(word_count()))
    copy.before = damaged
    world = World(copy)
    world.how = "failing"
    assert world.invoke("word-count").status == 503


def test_a_catalog_older_than_a_day_serves_on_and_is_said_to_be_too_old(world: World) -> None:
    world.timed_ms()
    world.how = "failing"
    world.clock.advance(90_000)
    assert world.invoke("word-count").status == 200
    status, document = world.health()
    snapshot = document["parts"]["snapshot"]
    assert (status, document["status"], snapshot["is"]) == (200, "degraded", "stale")
    assert "day" in snapshot["reason"]
    assert snapshot["age_s"] == pytest.approx(90_000, abs=10)
    assert world.metrics.total("SnapshotAgeS") > 0


def test_health_names_every_part_while_all_is_well(world: World) -> None:
    world.timed_ms()
    status, document = world.health()
    assert (status, document["status"]) == (200, "ok")
    levels = {part: condition["is"] for part, condition in document["parts"].items()}
    assert levels == {"snapshot": "ok", "states": "ok", "model": "ok", "log": "ok", "leases": "unread"}


def test_health_names_no_function_tenant_or_address(world: World) -> None:
    world.how = "failing"
    world.invoke("word-count")
    answer = world.request("GET", "/healthz").body.decode()
    assert not [word for word in ("word-count", "example", "local", "fiso-", "failing") if word in answer]


def test_a_log_that_takes_nothing_is_said_to_spill_until_it_takes_records_again() -> None:
    rig = Rig()
    for before, told in ((away("throttled"), "spilling"), (answering, "ok")):
        rig.stores.log.before = before
        rig.invoke("word-count")
        assert rig.request("GET", "/healthz").document["parts"]["log"]["is"] == told


def test_a_model_store_out_of_reach_leaves_the_packaged_model_and_says_so(world: World) -> None:
    world.how = "failing"
    world.invoke("word-count")
    _, document = world.health()
    assert document["model_version"] == "by-hand"
    assert document["parts"]["model"]["is"] == "fallback"
