"""Canaries through the orchestrator and the stream: who gets one, its propensity, its steps, its stop."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from fiso.adapters.aws.dynamodb import closed_item
from fiso.adapters.aws.dynamodb_states import state_from_item, state_item
from fiso.codecs.typed import Document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.policy import Mode
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId, Session
from fiso.domain.state import EndpointState
from fiso.domain.steering import Affinity, Canary, CanaryDraw, CanaryState
from fiso.learning.logged import is_usable
from fiso.routing.fold import fold
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists
from fiso.testing.rig import Rig, word_count
from fiso_cli.traffic.tables import canary_cell
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from tests.builders import a_record, a_request, a_summary, an_attempt, changed
from tests.logged import log_of

AWS, AZURE, GCP = EndpointId("aws-us-east-1"), EndpointId("azure-eastus"), EndpointId("gcp-us-east4")
EVERY_THIRD = Canary(endpoint=GCP, shares=(1 / 3, 0.5), step_minutes=1, step_requests=10)


class World(Rig):
    """Requests with ids of their own, the same in every run."""

    def __init__(self, canary: Canary = EVERY_THIRD, *, every_s: float = 0.05, **policy: object) -> None:
        super().__init__(word_count(canary=canary, **policy))
        self.every_s = every_s
        self._ids = Random(3)

    def route(self, times: int = 1, session: str | None = None) -> list[InvocationRecord]:
        records = []
        for _ in range(times):
            now = self.clock()
            request = replace(
                a_request(session=Session(value=session, path="/") if session else None),
                invocation_id=InvocationId(str(UUID(int=self._ids.getrandbits(128), version=4))),
                received_at=now,
                deadline_at=now + timedelta(seconds=10),
            )
            records.append(self.app.orchestrator.route(request).record)
            self.advance(self.every_s)
        return records

    @property
    def canary(self) -> dict[str, object]:
        """What `fiso endpoints` shows."""
        documents = self.request("GET", "/v1/endpoints").document["endpoints"]
        (shown,) = [one["canary"] for one in documents if "canary" in one]
        return dict(shown)


def chance(record: InvocationRecord, endpoint: EndpointId) -> float:
    return next(c.propensity for c in record.decision.candidates if c.endpoint == endpoint)


def test_the_share_is_the_propensity_and_so_many_get_it() -> None:
    world = World(replace(EVERY_THIRD, step_requests=1_000))
    records = world.route(600)
    drawn = [record for record in records if record.decision.reason is Reason.CANARY]
    assert 150 <= len(drawn) <= 250
    assert {record.result.endpoint for record in drawn} == {GCP}
    assert all(record.result.endpoint != GCP for record in records if record not in drawn)
    assert {round(chance(record, GCP), 9) for record in records} == {round(1 / 3, 9)}
    assert all(sum(c.propensity for c in r.decision.candidates) == pytest.approx(1) for r in records)
    assert all(map(is_usable, records))


def test_all_environments_draw_alike() -> None:
    first, second = World(), World()
    assert [r.result.endpoint for r in first.route(50)] == [r.result.endpoint for r in second.route(50)]


def test_a_step_lasts_its_minutes_and_its_requests_and_after_the_last_the_copy_is_like_the_others() -> None:
    world = World()
    world.route(10)
    world.advance(61)
    assert world.canary["share"] == EVERY_THIRD.shares[0]  # too few requests yet
    world.route(60)
    world.advance(61)  # states are read anew
    assert (world.canary["step"], world.canary["share"]) == (2, 0.5)
    world.advance(61)
    assert world.canary["step"] == 2  # no request of this step yet
    world.route(60)
    world.advance(61)
    assert world.canary["has_passed"] is True
    record = world.route(1)[0]
    assert record.decision.canary is None
    assert record.decision.reason in (Reason.SCORE, Reason.EXPLORE)


def test_a_canary_that_fails_is_stopped_for_all_environments_and_stays_so() -> None:
    world = World(every_s=5.0)
    world.answer(GCP, FunctionAnswer(status=500, body=b""))
    world.route(60)
    world.advance(61)
    assert world.canary["why"] == "demoted for what its siblings do not do: status 500"
    assert world.canary["share"] == 0.0
    world.heal(GCP)
    other = Rig(stores=world.stores, clock=world.clock)
    calls = len(world.calls)
    records = world.route(40)
    assert GCP not in world.calls[calls:]
    assert [chance(record, GCP) for record in records] == [0.0] * 40
    assert [candidate.endpoint for candidate in records[0].decision.candidates][-1] == GCP
    assert other.invoke("word-count").headers["x-fiso-endpoint"] != GCP


def test_refusals_and_slowness_stop_it_too() -> None:
    refusing, slow = World(), World()
    refusing.answer(GCP, FunctionAnswer(status=422, body=b""))
    for endpoint, latency_ms in ((AWS, 100.0), (AZURE, 100.0), (GCP, 150.0)):
        slow.slow(endpoint, latency_ms)
    for world, why in ((refusing, "more refusals"), (slow, "slower")):
        world.route(120)
        assert str(world.canary["why"]).startswith(why)


def test_a_new_release_begins_anew() -> None:
    world = World(every_s=5.0)
    world.answer(GCP, FunctionAnswer(status=500, body=b""))
    world.route(60)
    world.answer(GCP, FunctionAnswer(status=200, headers={"content-type": "text/plain"}, body=b"ok"))
    world.change_policy("word-count", canary=replace(EVERY_THIRD, release="2"))
    world.advance(61)
    assert world.canary["share"] == EVERY_THIRD.shares[0]
    assert any(record.decision.reason is Reason.CANARY for record in world.route(120))
    assert world.canary["stopped_at"] is None


def test_a_pin_set_and_lifted_does_not_begin_it_anew() -> None:
    world = World(every_s=5.0)
    world.answer(GCP, FunctionAnswer(status=500, body=b""))
    world.route(60)
    world.pin("word-count", AWS)
    world.unpin("word-count")
    assert world.canary["stopped_at"] is not None


def test_a_request_whose_canary_fails_goes_on_to_another_copy() -> None:
    world = World()
    world.fail(GCP, Failure.UNREACHABLE)
    records = world.route(20)
    assert {record.result.response_status for record in records} == {200}
    assert {record.decision.reason for record in records if record.decision.canary and len(record.attempts) > 1} == {
        Reason.FAILOVER
    }


def test_nobody_is_drawn_where_the_mode_says_who_is_called() -> None:
    for world in (World(mode=Mode.OBSERVE, home=AWS), World(mode=Mode.PIN, pinned=AWS)):
        assert {record.result.endpoint for record in world.route(20)} == {AWS}
        assert all(record.decision.canary is None for record in world.records)


def test_a_session_is_drawn_once_for_all_its_requests() -> None:
    world = World(affinity=Affinity(header="x-session"))
    seen = [{record.result.endpoint for record in world.route(5, session=f"s{n}")} for n in range(30)]
    assert all(len(copies) == 1 for copies in seen)
    assert 3 <= sum(copies == {GCP} for copies in seen) <= 17
    assert not any(is_usable(record) for record in world.records)


def drawn(number: int, endpoint: EndpointId, **attempt: object) -> InvocationRecord:
    """A record of a draw between the canary and another copy, which this endpoint won."""
    return a_record(
        number,
        canary=CanaryDraw(endpoint=GCP, run=EVERY_THIRD.run, step=0),
        candidates=(a_summary(endpoint),),
        endpoint=endpoint,
        attempts=(an_attempt(endpoint, **attempt),),
    )


def test_the_stream_tells_of_a_stop_once_in_log_and_metrics(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        record
        for number in range(1, 40, 2)
        for record in (drawn(number, GCP, latency_ms=300.0), drawn(number + 1, AWS, latency_ms=100.0))
    ]
    log = log_of(*map(closed_item, records))
    stores = Stores(
        log=log,
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )
    for first in range(0, len(records), 4):
        images = [{"NewImage": closed_item(record)} for record in records[first : first + 4]]
        consume([{"dynamodb": {"SequenceNumber": str(n), **image}} for n, image in enumerate(images)], stores)
    lines = [line for line in caplog.records if line.message == "canary stopped"]
    assert [(line.endpoint, line.cause) for line in lines] == [(GCP, stopped_in(stores).why)]  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count('"CanaryStopped":[1.0]') == 1


def stopped_in(stores: Stores) -> CanaryState:
    state = stores.states.of_function(FunctionName("word-count"))[GCP]
    assert state.canary is not None
    assert state.canary.stopped_at is not None
    return state.canary


def test_a_canarys_state_survives_its_store() -> None:
    rows = [drawn(number, GCP if number % 3 else AWS, latency_ms=100.0 + number) for number in range(1, 30)]
    states: dict[EndpointId, EndpointState] = {}
    for record in rows:
        states = fold(states, record)
    assert states[GCP].canary is not None
    assert state_from_item(state_item(states[GCP])) == states[GCP]


def test_what_came_cold_or_from_the_caller_says_nothing_of_the_copy() -> None:
    states: dict[EndpointId, EndpointState] = {}
    for number in range(1, 60, 2):
        states = fold(states, drawn(number, GCP, latency_ms=5_000.0, cold_start=True))
        states = fold(states, drawn(number + 1, AWS, latency_ms=100.0))
    for number in range(100, 160, 2):
        states = fold(states, drawn(number, GCP, latency_ms=1.0, status=None, failure=Failure.REJECTED))
        states = fold(states, drawn(number + 1, AWS, latency_ms=100.0))
    canary = states[GCP].canary
    assert canary is not None
    assert canary.stopped_at is None


def test_late_records_of_an_earlier_release_do_not_begin_it_anew() -> None:
    old = replace(EVERY_THIRD, release="0")
    late = changed(
        drawn(9, GCP, latency_ms=100.0),
        canary=CanaryDraw(endpoint=GCP, run=old.run, step=1),
        policy_version=1,
    )
    states = fold({}, changed(drawn(1, GCP, latency_ms=100.0), policy_version=2))
    assert fold(states, late)[GCP].canary == states[GCP].canary


def test_the_command_shows_where_a_canary_stands() -> None:
    assert canary_cell({}) == ""
    assert canary_cell({"canary": {"step": 2, "share": 0.25, "has_passed": False}}) == "step 2, 25.0 % of requests"
    assert canary_cell({"canary": {"has_passed": True}}) == "passed"
    stopped: Document = {
        "stopped_at": "2026-11-23T09:31:05.400Z",
        "why": "more errors: 5 of 9 (55.6%) against 0 of 20 (0.0%)",
    }
    assert canary_cell({"canary": stopped}).startswith("stopped 09:31:05 UTC, more errors: 5 of 9")
