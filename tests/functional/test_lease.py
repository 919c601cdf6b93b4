"""Leases through the handler: decide, call, report, and the record is like a proxied one."""

import json
from dataclasses import replace
from typing import Any

import pytest
from numpy import isfinite

from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName
from fiso.domain.policy import Mode
from fiso.learning import dataset
from fiso.prediction import features
from fiso.services.log.ingest import ingest
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryArchive, answering, away
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import an_entry, failing
from tests.functional.lease_reports import BODY, an_outcome, answered, counts, decide, failed, ids, records, report
from tests.functional.orchestrator_rig import Rig, http_event, problem_of


def test_a_lease_names_where_to_call_and_nothing_happens() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig, x_fiso_user_region="eu-west-1")
    assert set(ids(lease)) == {"aws", "azure", "gcp"}
    assert lease["endpoints"][0]["address"] == f"https://{ids(lease)[0]}.example"
    assert sum(row["propensity"] for row in lease["endpoints"]) == pytest.approx(1)
    assert (lease["expires_in_ms"], lease["idempotent"]) == (60_000, "yes")
    assert rig.caller.calls == []
    assert rig.log.records == {}


def test_an_answer_of_the_lease_routes_says_what_fiso_took() -> None:
    rig = Rig(failing(OK))
    for path in ("/v1/decide/word-count", "/v1/outcomes", "/v1/decide/nobody"):
        headers = rig.send(http_event(path=path, body='{"leases": []}'))["headers"]
        assert len(headers["x-fiso-invocation-id"]) == 36
        assert float(headers["x-fiso-overhead-ms"]) >= 0


def test_only_as_many_endpoints_are_leased_as_fiso_would_try() -> None:
    lease = decide(Rig(failing(OK), an_entry(max_attempts=1)))
    assert len(lease["endpoints"]) == 1


def test_a_size_can_be_stated_instead_of_sending_a_body() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig, x_fiso_request_size="2000000")
    assert counts(report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0]), request_size_bytes=2000000))) == (
        1,
        0,
        0,
    )
    assert records(rig)[0].decision.features["request_size_bytes"] == 2000000
    refused = rig.send(http_event(path="/v1/decide/word-count", x_fiso_request_size="-1"))
    assert problem_of(refused)["status"] == 400


def test_the_first_call_under_a_lease_is_recorded_like_a_proxied_one() -> None:
    proxied, leased = Rig(failing(OK)), Rig(failing(OK))
    proxied.send(http_event(body=BODY, x_fiso_user_region="us-east-1"))
    expected = proxied.only_record
    lease = decide(leased, x_fiso_user_region="us-east-1")
    attempt = answered(ids(lease)[0], latency_ms=expected.result.execution_time_ms)
    leased.clock.advance(1)
    report(leased, lease["token"], an_outcome(0, attempt))
    (record,) = records(leased)
    own = {"invocation_id": record.invocation_id, "overhead_ms": None, "lease_id": lease["lease_id"]}
    assert to_document(record) == to_document(expected) | own


def test_a_failover_by_the_client_is_recorded_like_one_by_fiso() -> None:
    away = ProviderError(Failure.UNREACHABLE, "x")
    proxied, leased = Rig(failing(away, OK)), Rig(failing(OK))
    proxied.send(http_event(body=BODY))
    expected = proxied.only_record
    lease = decide(leased)
    first, second = ids(lease)[:2]
    attempts = [
        failed(first, Failure.UNREACHABLE, latency_ms=expected.attempts[0].latency_ms),
        answered(second, latency_ms=expected.attempts[1].latency_ms),
    ]
    leased.clock.advance(1)
    report(leased, lease["token"], an_outcome(0, *attempts))
    (record,) = records(leased)
    own = {"invocation_id": record.invocation_id, "overhead_ms": None, "lease_id": lease["lease_id"]}
    assert to_document(record) == to_document(expected) | own
    assert record.decision.reason is Reason.FAILOVER


@pytest.mark.parametrize(
    ("failure", "changes", "status"),
    [
        (Failure.UNREACHABLE, {}, 503),
        (Failure.BROKEN, {}, 502),
        (Failure.TIMED_OUT, {"deadline_passed": True}, 504),
    ],
)
def test_a_failed_outcome_has_the_status_a_proxied_one_would_have(
    failure: Failure, changes: dict[str, Any], status: int
) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    report(rig, lease["token"], an_outcome(0, failed(ids(lease)[0], failure), **changes))
    assert (rig.only_record.result.response_status, rig.only_record.result.error_occurred) == (status, True)


def test_later_calls_under_a_lease_keep_its_propensities_and_score_no_prediction() -> None:
    rig = Rig(failing(OK), an_entry(exploration=0.2))
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    calls = [an_outcome(n, answered(first, after_ms=1000 * n, idle_ms=1000.0 if n else None)) for n in range(3)]
    assert counts(report(rig, lease["token"], *calls)) == (3, 0, 0)
    found = records(rig)
    assert {record.decision.lease_id for record in found} == {lease["lease_id"]}
    assert len({tuple(record.decision.candidates) for record in found}) == 1
    assert 0 < found[0].decision.candidates[0].propensity < 1
    assert [record.decision.raw_latency_ms is None for record in found] == [False, True, True]
    assert [record.decision.features["idle_seconds"] for record in found] == [86_400.0, 1.0, 1.0]


def test_a_client_that_passed_over_the_first_endpoint_is_not_taken_for_the_draw() -> None:
    rig = Rig(failing(OK), an_entry(exploration=0.2))
    lease = decide(rig)
    second = ids(lease)[1]
    report(rig, lease["token"], an_outcome(0, answered(second)))
    assert rig.only_record.decision.reason is Reason.FAILOVER
    assert {c.endpoint: c.propensity for c in rig.only_record.decision.candidates} == {
        endpoint: float(endpoint == second) for endpoint in ids(lease)
    }


def test_reporting_twice_changes_nothing() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    assert counts(report(rig, lease["token"], outcome)) == (1, 0, 0)
    before, counted = dict(rig.log.records), list(rig.metrics.values)
    assert counts(report(rig, lease["token"], outcome)) == (0, 1, 0)
    assert (rig.log.records, rig.metrics.values) == (before, counted)


def test_a_number_cannot_be_claimed_again_with_another_outcome() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))
    verdict = report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0], latency_ms=1.0)))
    assert verdict["problems"][0]["code"] == "conflict"
    assert rig.only_record.result.execution_time_ms == 50.0


def test_the_fold_and_the_training_set_take_leased_records() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    report(rig, lease["token"], *(an_outcome(n, answered(first, after_ms=100 * n, billed_ms=40.0)) for n in range(4)))
    ingest(records(rig), states=rig.stores.states, archive=InMemoryArchive(), batch_id="b")
    (state,) = rig.stores.states.of_function(FunctionName("word-count")).values()
    assert (state.endpoint, state.attempts, state.latency_ms) == (first, 4, 50.0)
    data = dataset.build(records(rig))
    assert (len(data), data.skipped) == (4, 0)
    assert int(isfinite(data.served_latency_ms).sum()) == 1  # a prediction is judged by the call it was made for only
    assert set(data.feature_names) == set(features.NAMES)


def test_a_key_that_is_new_elsewhere_is_looked_for_when_it_is_met() -> None:
    rig, other = Rig(failing(OK)), Rig(failing(OK))
    decide(rig)
    rotated = Keyring.parsed(f"k2:{'b' * 32} k1:{'a' * 32}")
    other.lease_keys.keys = rotated
    lease = decide(other)
    rig.lease_keys.keys = rotated
    rig.clock.advance(10)
    assert counts(report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))) == (1, 0, 0)


def test_without_a_key_leases_are_away_and_the_rest_works() -> None:
    rig = Rig(failing(OK))
    rig.lease_keys.keys = None
    for path in ("/v1/decide/word-count", "/v1/outcomes"):
        body = json.dumps({"leases": [{"token": "x", "outcomes": [{}]}]})
        problem = problem_of(rig.send(http_event(path=path, body=body)))
        assert problem["status"] == 503
        assert "lease-key" in problem["detail"]
    assert rig.send(http_event())["statusCode"] == 200


def test_an_unknown_function_has_no_lease() -> None:
    assert problem_of(Rig(failing(OK)).send(http_event(path="/v1/decide/nobody")))["status"] == 404


def test_an_observed_function_leases_its_home_first() -> None:
    lease = decide(Rig(failing(OK), an_entry(mode=Mode.OBSERVE, home="azure")))
    assert (ids(lease)[0], lease["reason"]) == ("azure", "policy")


def test_while_the_log_is_away_a_report_can_be_sent_again() -> None:
    rig = Rig(failing(OK))
    rig.stores.log.before = away("throttled")
    lease = decide(rig)
    body = json.dumps({"leases": [{"token": lease["token"], "outcomes": [an_outcome(0, answered(ids(lease)[0]))]}]})
    assert problem_of(rig.send(http_event(path="/v1/outcomes", body=body)))["status"] == 503
    rig.stores.log.before = answering
    assert counts(json.loads(rig.send(http_event(path="/v1/outcomes", body=body))["body"])) == (1, 0, 0)


def test_breakers_of_the_environment_do_not_hear_of_a_clients_failures() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    failures = [an_outcome(n, failed(ids(lease)[0], Failure.UNREACHABLE)) for n in range(10)]
    report(rig, lease["token"], *failures)
    assert decide(rig)["endpoints"][0]["is_demoted"] is False
    assert replace(records(rig)[0]).attempts[0].failure is Failure.UNREACHABLE
