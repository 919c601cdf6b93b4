import json
from datetime import timedelta

import pytest

from fiso.codecs.record import from_document, to_document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.errors import (
    DeadlinePassed,
    EveryAttemptFailed,
    NothingAvailable,
    UnknownFunction,
)
from fiso.domain.policy import Idempotent, Mode
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.testing.endpoints import OK
from fiso.testing.memory import away
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import a_request, a_snapshot, an_entry, failing
from tests.functional.orchestrator_rig import Rig


def test_routes_records_and_answers() -> None:
    rig = Rig(failing(OK))
    routed = rig.orchestrator.route(a_request())
    assert routed.error is None
    assert rig.only_record == routed.record
    assert rig.only_record.decision.reason is Reason.SCORE
    assert rig.only_record.decision.prediction_source == "baseline"
    assert rig.metrics.total("BaselinePredictions") == 1


def test_the_intent_is_written_before_any_call() -> None:
    seen: list[object] = []

    def respond(*_: object) -> object:
        seen.extend(rig.log.records.values())
        return OK

    rig = Rig(respond)  # type: ignore[arg-type]
    rig.orchestrator.route(a_request())
    assert [type(record) for record in seen] == [OpenRecord]


def test_a_failover_is_recorded_with_every_attempt() -> None:
    rig = Rig(failing(ProviderError(Failure.UNREACHABLE, "refused"), OK))
    record = rig.orchestrator.route(a_request()).record
    assert record.decision.reason is Reason.FAILOVER
    assert [attempt.failure for attempt in record.attempts] == [Failure.UNREACHABLE, None]
    assert record.result.endpoint == record.attempts[-1].endpoint
    assert rig.metrics.total("Failovers") == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [(Failure.UNREACHABLE, NothingAvailable), (Failure.PROVIDER_FAULT, EveryAttemptFailed)],
)
def test_says_whether_anything_can_have_run(failure: Failure, error: type[Exception]) -> None:
    rig = Rig(failing(ProviderError(failure, "x")))
    routed = rig.orchestrator.route(a_request())
    assert isinstance(routed.error, error)
    assert rig.only_record.result.error_occurred


def test_an_attempt_that_outlives_the_deadline_is_an_unknown_outcome() -> None:
    def respond(*_: object) -> ProviderError:
        rig.clock.advance(20)
        return ProviderError(Failure.TIMED_OUT, "no answer")

    rig = Rig(respond, an_entry(idempotent=Idempotent.NO))
    error = rig.orchestrator.route(a_request()).error
    assert isinstance(error, DeadlinePassed)
    assert error.unknown_outcome


def test_nothing_eligible_is_recorded_and_nothing_is_called() -> None:
    rig = Rig(failing(OK), an_entry(residency=frozenset({"moon-1"})))
    routed = rig.orchestrator.route(a_request())
    assert isinstance(routed.error, NothingAvailable)
    assert rig.caller.calls == []
    assert rig.only_record.result.response_status == 503


def test_an_unknown_function_leaves_no_trace() -> None:
    rig = Rig(failing(OK))
    with pytest.raises(UnknownFunction):
        rig.orchestrator.route(a_request(function="nobody"))
    assert rig.log.records == {}


def test_naming_unknown_functions_costs_no_read_of_any_store() -> None:
    rig = Rig(failing(OK))
    for number in range(20):
        with pytest.raises(UnknownFunction):
            rig.orchestrator.route(a_request(function=f"nobody-{number}"))
    assert rig.stores.states.operations["of_function"] == 0
    rig.orchestrator.route(a_request())
    assert rig.stores.states.operations["of_function"] == 1


def test_explaining_calls_and_records_nothing() -> None:
    rig = Rig(failing(OK))
    decision = rig.orchestrator.explain(a_request())
    assert sum(candidate.propensity for candidate in decision.ranking) == pytest.approx(1)
    assert rig.caller.calls == []
    assert rig.log.records == {}


def test_a_log_that_is_away_fails_no_request_and_loses_no_record(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(failing(OK))
    rig.stores.log.before = away("throttled")
    routed = rig.orchestrator.route(a_request())
    assert routed.error is None
    spilled = [from_document(line.log_spill) for line in caplog.records if line.message == "log_spill"]  # type: ignore[attr-defined]
    assert [type(record) for record in spilled] == [OpenRecord, InvocationRecord]
    assert spilled[1] == from_document(to_document(routed.record))
    assert {record.invocation_id for record in spilled} == {routed.record.invocation_id}
    assert rig.metrics.total("LogSpill") == 2


def test_observe_calls_home_whatever_scores_best() -> None:
    entry = an_entry(mode=Mode.OBSERVE, home=EndpointId("azure"))
    rig = Rig(failing(OK), entry)
    record = rig.orchestrator.route(a_request()).record
    assert (record.result.cloud_provider, record.decision.reason) == (Provider.AZURE, Reason.POLICY)
    assert len(record.decision.candidates) == 3


def test_a_pin_takes_effect_within_ten_seconds() -> None:
    rig = Rig(failing(OK))
    rig.orchestrator.route(a_request())
    rig.snapshots.publish(a_snapshot(an_entry(mode=Mode.PIN, pinned=EndpointId("gcp")), version=2))
    rig.clock.advance(10.1)
    now = rig.clock()
    later = a_request(invocation_id="other", received_at=now, deadline_at=now + timedelta(seconds=10))
    record = rig.orchestrator.route(later).record
    assert (record.result.endpoint, record.decision.reason) == ("gcp", Reason.POLICY)


def test_a_record_stays_within_two_kilobytes() -> None:
    rig = Rig(failing(ProviderError(Failure.UNREACHABLE, "connection refused"), OK))
    record = rig.orchestrator.route(a_request(user_region="us-east-1")).record
    assert len(json.dumps(to_document(record), separators=(",", ":"))) <= 2048
