"""What requests see while stores hang, fail or hold less than they should."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from threading import Event
from time import perf_counter, sleep
from typing import Any

import pytest

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.domain.policy import Mode
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.services.freshness import decision_sources
from fiso.services.freshness.cached import STORE_WAIT_S
from fiso.services.freshness.health import Level
from fiso.testing import rig as rigs
from fiso.testing.endpoints import OK
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
    answering,
    away,
)
from fiso.testing.rig import Stores
from fiso_client.core.failures import Failure
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from tests.builders import a_snapshot, failing
from tests.functional.orchestrator_rig import SETTINGS, LambdaContext, Rig, http_event
from tests.models import an_artifact, files_of, trusted

MOST_MS = 2 * STORE_WAIT_S * 1000
"""What a request may wait in all; with three stores of 50 ms each it would be more."""


class Fault:
    """What the stores do: answer, fail, or hang until the test ends."""

    def __init__(self) -> None:
        self.how = "well"
        self.released = Event()

    def __call__(self) -> None:
        if self.how == "hanging":
            self.released.wait(20)
        if self.how == "damaged":
            raise KeyError("Items")
        if self.how != "well":
            raise StoreUnavailable(self.how)


class World:
    """A rig whose stores share a fault."""

    def __init__(self, *, copy: InMemorySnapshots | None = None, layer: InMemoryModelStore | None = None) -> None:
        self.fault = fault = Fault()
        self.rig = rig = Rig(failing(OK))

        class Snapshots(InMemorySnapshots):
            def current(self, *, unless_version: int | None = None) -> Snapshot | None:
                fault()
                return super().current(unless_version=unless_version)

        class States(InMemoryEndpointStates):
            def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
                fault()
                return super().of_function(function)

        class Models(InMemoryModelStore):
            def champion(self) -> ModelPointer | None:
                fault()
                return super().champion()

        self.ports = wiring.Ports(
            snapshots=Snapshots(a_snapshot()),
            states=States(),
            layer=layer or InMemoryModelStore(files_of(an_artifact())),
            models=Models(),
            log=InMemoryInvocationLog(),
            shared_breakers=InMemorySharedBreakers(),
            caller=rig.caller,
            metrics=rig.metrics,
            clock=rig.clock,
            draw=lambda: 0.5,
            lease_keys=lambda: rig.lease_keys,
            copy=copy,
            stage_keys=trusted(),
            packaged_keys=trusted(),
        )
        self.edge = wiring.build(SETTINGS, metrics=rig.metrics, ports=self.ports)

    def send(self, **event: Any) -> dict[str, Any]:
        return answer_event(self.edge, http_event(**event), LambdaContext())

    def timed_ms(self) -> float:
        start = perf_counter()
        assert self.send()["statusCode"] == 200
        return (perf_counter() - start) * 1000

    def health(self) -> tuple[int, dict[str, Any]]:
        answer = self.send(method="GET", path="/healthz")
        document: dict[str, Any] = json.loads(answer["body"])
        return answer["statusCode"], document


@pytest.fixture
def world() -> Iterator[World]:
    made = World(copy=InMemorySnapshots(a_snapshot()))
    yield made
    made.fault.released.set()


def test_stores_that_hang_cost_a_request_one_wait_in_all_and_the_next_ones_nothing(world: World) -> None:
    world.timed_ms()
    world.fault.how = "hanging"
    world.rig.clock.advance(120)
    first, *later = [world.timed_ms() for _ in range(20)]
    assert first < MOST_MS + 1000 * decision_sources.SNAPSHOT_WAIT_S
    assert sorted(later)[len(later) // 2] < STORE_WAIT_S * 1000 / 5


def test_a_pin_holds_after_a_pause_although_the_catalog_takes_longer_to_read_than_the_budget() -> None:
    class Slow(InMemorySnapshots):
        def current(self, *, unless_version: int | None = None) -> Snapshot | None:
            sleep(3 * STORE_WAIT_S)
            return super().current(unless_version=unless_version)

    rig = rigs.Rig(rigs.word_count(), stores=Stores(snapshots=Slow()))
    rig.invoke("word-count")
    other = next(id for id in rigs.PLACES if id != rig.calls[-1])
    rig.change_policy("word-count", mode=Mode.PIN, pinned=other)
    rig.clock.advance(decision_sources.SNAPSHOT_STALE_S + 0.1)
    rig.invoke("word-count")
    assert rig.calls[-1] == other


def test_a_store_that_answers_again_is_waited_for_again(world: World) -> None:
    world.timed_ms()
    world.fault.how = "failing"
    world.rig.clock.advance(120)
    world.timed_ms()
    world.fault.how = "well"
    world.ports.snapshots.publish(a_snapshot(version=2))
    world.rig.clock.advance(120)
    world.timed_ms()
    assert world.edge.sources.snapshot().version == 2


@pytest.mark.parametrize("how", ["damaged", "failing"])
def test_whatever_a_store_gives_beside_a_request_its_answer_goes_out_and_its_record_is_closed(
    world: World, how: str
) -> None:
    world.timed_ms()
    world.fault.how = how
    for _ in range(3):
        world.rig.clock.advance(7)
        world.timed_ms()
    log = world.ports.log
    assert isinstance(log, InMemoryInvocationLog)
    assert {type(record) for record in log.records.values()} == {InvocationRecord}
    assert world.rig.metrics.total("StoreProblems") > 0
    assert world.health()[1]["status"] == "degraded"


def test_people_are_shown_states_that_take_longer_to_read_than_a_request_may_wait() -> None:
    class Slow(InMemoryEndpointStates):
        def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
            sleep(2 * STORE_WAIT_S)
            return super().of_function(function)

    stores = Stores(states=Slow())
    rig = rigs.Rig(
        *(replace(rigs.word_count(), name=FunctionName(f"f{number}")) for number in range(12)), stores=stores
    )
    for number in range(12):
        rig.invoke(f"f{number}")
    rig.fold()
    again = rigs.Rig(stores=stores)
    shown = again.request("GET", "/v1/endpoints").document["endpoints"]
    assert sum(row["attempts"] for row in shown) == 12
    assert again.app.sources.health()[1].level is Level.OK


def test_a_state_that_was_not_read_is_told_as_such_until_it_is() -> None:
    class Hanging(InMemoryEndpointStates):
        released = Event()

        def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
            self.released.wait(30)
            return super().of_function(function)

    states = Hanging()
    rig = rigs.Rig(rigs.word_count(), stores=Stores(states=states))
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert [(row["state_age_s"], "attempts" in row) for row in rows] == [(None, False)] * 3
    states.released.set()
    rig.invoke("word-count")  # waits for what is under way, as if nobody had asked before
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert [(row["state_age_s"] is not None, row["attempts"]) for row in rows] == [(True, 0)] * 3


def test_what_others_told_of_a_breaker_is_in_the_list_of_a_fresh_environment() -> None:
    stores = Stores()
    rig = rigs.Rig(rigs.word_count(), stores=stores)
    rig.fail("azure-eastus", Failure.UNREACHABLE)
    for _ in range(20):
        rig.invoke("word-count")
    rows = rigs.Rig(stores=stores, clock=rig.clock).request("GET", "/v1/endpoints").document["endpoints"]
    assert {row["endpoint"]: row["breaker"] for row in rows} == {
        "aws-us-east-1": "closed",
        "azure-eastus": "open",
        "gcp-us-east4": "closed",
    }


def test_a_cold_environment_without_s3_decides_on_the_copy(world: World) -> None:
    world.fault.how = "failing"
    assert world.send()["statusCode"] == 200
    status, document = world.health()
    assert (status, document["status"]) == (200, "degraded")
    assert document["parts"]["snapshot"]["is"] == "stale"


def test_a_cold_environment_whose_s3_hangs_decides_on_the_copy_within_the_first_budget(world: World) -> None:
    world.fault.how = "hanging"
    assert world.timed_ms() < 1000 * (decision_sources.COPY_AFTER_S + 1.0)


@pytest.mark.parametrize("copy", [InMemorySnapshots(), None])
def test_without_any_catalog_nothing_is_guessed(copy: InMemorySnapshots | None) -> None:
    world = World(copy=copy)
    world.fault.how = "failing"
    answer = world.send()
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "2")
    assert world.rig.caller.calls == []
    status, document = world.health()
    assert (status, document["status"]) == (503, "unavailable")


def test_a_damaged_copy_is_no_catalog() -> None:
    class Damaged(InMemorySnapshots):
        def current(self, *, unless_version: int | None = None) -> Snapshot | None:
            raise InvalidCatalog("its sha256 says otherwise")

    world = World(copy=Damaged())
    world.fault.how = "failing"
    assert world.send()["statusCode"] == 503


def test_a_catalog_older_than_a_day_serves_on_and_is_said_to_be_too_old(world: World) -> None:
    world.timed_ms()
    world.fault.how = "failing"
    world.rig.clock.advance(90_000)
    assert world.send()["statusCode"] == 200
    status, document = world.health()
    snapshot = document["parts"]["snapshot"]
    assert (status, document["status"], snapshot["is"]) == (200, "degraded", "stale")
    assert "day" in snapshot["reason"]
    assert snapshot["age_s"] == pytest.approx(90_000, abs=10)
    assert world.rig.metrics.total("SnapshotAgeS") > 0


def test_health_names_every_part_while_all_is_well(world: World) -> None:
    world.timed_ms()
    status, document = world.health()
    assert (status, document["status"]) == (200, "ok")
    levels = {part: condition["is"] for part, condition in document["parts"].items()}
    assert levels == {"snapshot": "ok", "states": "ok", "model": "ok", "log": "ok", "leases": "unread"}


def test_health_names_no_function_tenant_or_address(world: World) -> None:
    world.fault.how = "failing"
    world.send()
    answer = world.send(method="GET", path="/healthz")["body"]
    assert not [word for word in ("word-count", "example", "local", "fiso-", "failing") if word in answer]


def test_a_log_that_takes_nothing_is_said_to_spill_until_it_takes_records_again() -> None:
    rig = Rig(failing(OK))
    rig.stores.log.before = away("throttled")
    rig.send(http_event())
    health = json.loads(rig.send(http_event(method="GET", path="/healthz"))["body"])
    assert health["parts"]["log"]["is"] == "spilling"
    rig.stores.log.before = answering
    rig.send(http_event())
    health = json.loads(rig.send(http_event(method="GET", path="/healthz"))["body"])
    assert health["parts"]["log"]["is"] == "ok"


def test_a_model_store_out_of_reach_leaves_the_packaged_model_and_says_so(world: World) -> None:
    world.fault.how = "failing"
    world.send()
    _, document = world.health()
    assert document["model_version"] == "by-hand"
    assert document["parts"]["model"]["is"] == "fallback"


def test_leases_without_keys_answer_503_and_the_rest_works() -> None:
    rig = Rig(failing(OK))
    rig.lease_keys.keys = None
    assert rig.send(http_event(path="/v1/decide/word-count"))["statusCode"] == 503
    assert rig.send(http_event())["statusCode"] == 200
    health = json.loads(rig.send(http_event(method="GET", path="/healthz"))["body"])
    assert health["parts"]["leases"]["is"] == "missing"
