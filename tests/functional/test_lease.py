"""Leases through the handler: decide, call, report, and the record is like a proxied one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.memory import InMemoryArchive, InMemoryInvocationLog
from fiso.domain.attempt import Failure, ProviderError
from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.lease_token import Keyring
from fiso.domain.policy import Mode
from fiso.domain.record import InvocationRecord
from fiso.domain.record_codec import to_document
from fiso.learning import dataset
from fiso.prediction import features
from fiso.services.ingest import ingest
from tests.builders import NOW, OK, an_entry, failing
from tests.functional.orchestrator_rig import Rig, http_event, problem_of

BODY = '{"text": "a"}'


def decide(rig: Rig, **headers: str) -> dict[str, Any]:
    answer = rig.send(http_event(path="/v1/decide/word-count", body=BODY, **headers))
    assert answer["statusCode"] == 200, answer["body"]
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def answered(endpoint: str, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 50.0, "status": 200} | changes


def failed(endpoint: str, failure: Failure, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 5.0, "failure": failure.value} | changes


def an_outcome(number: int, *attempts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"number": number, "request_size_bytes": len(BODY), "response_size_bytes": 2, "attempts": list(attempts)}
    return fields | changes


def report(rig: Rig, token: str, *outcomes: object, event: dict[str, Any] | None = None) -> dict[str, Any]:
    body = json.dumps({"leases": [{"token": token, "outcomes": list(outcomes)}]})
    answer = rig.send((event or {}) | http_event(path="/v1/outcomes", body=body))
    assert answer["statusCode"] == 200, answer["body"]
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def counts(verdict: dict[str, Any]) -> tuple[int, int, int]:
    return verdict["accepted"], verdict["repeated"], verdict["rejected"]


def records(rig: Rig) -> list[InvocationRecord]:
    found = [record for record in rig.log.records.values() if isinstance(record, InvocationRecord)]
    return sorted(found, key=lambda record: record.timestamp)


def ids(lease: dict[str, Any]) -> list[str]:
    return [row["id"] for row in lease["endpoints"]]


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
    assert records(rig)[0].features["request_size_bytes"] == 2000000
    refused = rig.send(http_event(path="/v1/decide/word-count", x_fiso_request_size="-1"))
    assert problem_of(refused)["status"] == 400


def test_the_first_call_under_a_lease_is_recorded_like_a_proxied_one() -> None:
    proxied, leased = Rig(failing(OK)), Rig(failing(OK))
    proxied.send(http_event(body=BODY, x_fiso_user_region="us-east-1"))
    expected = proxied.only_record
    lease = decide(leased, x_fiso_user_region="us-east-1")
    attempt = answered(ids(lease)[0], latency_ms=expected.execution_time_ms)
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
    assert record.reason is Reason.FAILOVER


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
    assert (rig.only_record.response_status, rig.only_record.error_occurred) == (status, True)


def test_later_calls_under_a_lease_keep_its_propensities_and_score_no_prediction() -> None:
    rig = Rig(failing(OK), an_entry(exploration=0.2))
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    calls = [an_outcome(n, answered(first, after_ms=1000 * n, idle_ms=1000.0 if n else None)) for n in range(3)]
    assert counts(report(rig, lease["token"], *calls)) == (3, 0, 0)
    found = records(rig)
    assert {record.lease_id for record in found} == {lease["lease_id"]}
    assert len({tuple(record.candidates) for record in found}) == 1
    assert 0 < found[0].candidates[0].propensity < 1
    assert [record.raw_latency_ms is None for record in found] == [False, True, True]
    assert [record.features["idle_seconds"] for record in found] == [86_400.0, 1.0, 1.0]


def test_a_client_that_passed_over_the_first_endpoint_is_not_taken_for_the_draw() -> None:
    rig = Rig(failing(OK), an_entry(exploration=0.2))
    lease = decide(rig)
    second = ids(lease)[1]
    report(rig, lease["token"], an_outcome(0, answered(second)))
    assert rig.only_record.reason is Reason.FAILOVER
    assert {c.endpoint: c.propensity for c in rig.only_record.candidates} == {
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
    assert rig.only_record.execution_time_ms == 50.0


def test_the_fold_and_the_training_set_take_leased_records() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    report(rig, lease["token"], *(an_outcome(n, answered(first, after_ms=100 * n, billed_ms=40.0)) for n in range(4)))
    ingest(records(rig), states=rig.states, archive=InMemoryArchive(), batch_id="b")
    (state,) = rig.states.of_function(FunctionName("word-count")).values()
    assert (state.endpoint, state.attempts, state.latency_ms) == (first, 4, 50.0)
    assert state.residual_count == 1  # a prediction is judged by the call it was made for, not by later ones
    data = dataset.build(records(rig))
    assert (len(data), data.skipped) == (4, 0)
    assert set(data.feature_names) == set(features.NAMES)


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "NaN": {"latency_ms": float("nan")},
    "infinite": {"latency_ms": float("inf")},
    "negative": {"latency_ms": -1},
    "no time at all": {"latency_ms": 0},
    "above 15 minutes": {"latency_ms": 900_001},
    "before the lease": {"after_ms": -1},
    "in the future": {"after_ms": 60_000},
    "ends in the future": {"latency_ms": 60_000},
    "NaN start": {"after_ms": float("nan")},
    "status": {"status": 600},
    "status and failure": {"failure": "broken"},
    "neither": {"status": None},
    "unknown failure": {"status": None, "failure": "nonsense"},
    "another endpoint": {"endpoint": "mallory"},
    "endpoint is no text": {"endpoint": 7},
    "lone surrogate": {"endpoint": "\ud800"},
    "text for a number": {"latency_ms": "50"},
    "true for a number": {"latency_ms": True},
    "giant whole number": {"latency_ms": 10**400},
    "billed": {"billed_ms": 1e300},
    "idle": {"idle_ms": -5},
    "cold": {"cold_start": "yes"},
}


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_true_is_refused_and_the_rest_is_kept(changes: dict[str, Any]) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    first = ids(lease)[0]
    verdict = report(rig, lease["token"], an_outcome(0, answered(first) | changes), an_outcome(1, answered(first)))
    assert counts(verdict) == (1, 0, 1)
    assert [(problem["item"], problem["number"]) for problem in verdict["problems"]] == [(0, 0)]
    assert len(rig.log.records) == 1


ODD_OUTCOMES: dict[str, object] = {
    "no attempts": {"attempts": []},
    "attempts no list": {"attempts": {}},
    "six attempts": {"attempts": [{}] * 6},
    "null": None,
    "number": {"number": -1},
    "fraction": {"number": 0.5},
    "giant number": {"number": 10**30},
    "size": {"request_size_bytes": -1},
    "giant size": {"response_size_bytes": 2**60},
    "answered and late": {"deadline_passed": True},
}


@pytest.mark.parametrize("changes", ODD_OUTCOMES.values(), ids=ODD_OUTCOMES.keys())
def test_an_outcome_that_makes_no_sense_is_refused(changes: Any) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    outcome = None if changes is None else an_outcome(0, answered(ids(lease)[0])) | changes
    assert counts(report(rig, lease["token"], outcome)) == (0, 0, 1)
    assert rig.log.records == {}


def test_an_attempt_after_an_answer_or_twice_on_one_endpoint_is_refused() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    first, second = ids(lease)[:2]
    twice = an_outcome(0, failed(first, Failure.BROKEN), answered(first))
    onwards = an_outcome(1, answered(first), answered(second))
    assert counts(report(rig, lease["token"], twice, onwards)) == (0, 0, 2)


def test_a_lease_is_good_for_its_own_caller_only() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    event = http_event(
        path="/v1/outcomes",
        body=json.dumps({"leases": [{"token": lease["token"], "outcomes": [an_outcome(0, answered(ids(lease)[0]))]}]}),
    )
    event["requestContext"]["authorizer"] = {"iam": {"accountId": "mallory"}}
    verdict = json.loads(rig.send(event)["body"])
    assert [problem["code"] for problem in verdict["problems"]] == ["foreign"]


@pytest.mark.parametrize(
    ("after", "code"), [(timedelta(minutes=61), None), (timedelta(minutes=61, seconds=1), "too_late")]
)
def test_outcomes_are_accepted_until_an_hour_after_expiry(after: timedelta, code: str | None) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    rig.clock.now = NOW + after
    verdict = report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))
    assert [problem["code"] for problem in verdict["problems"]] == ([code] if code else [])


@pytest.mark.parametrize("count", [101, 1000])
def test_more_than_a_hundred_outcomes_are_too_many(count: int) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    outcomes = [an_outcome(n, answered(ids(lease)[0])) for n in range(count)]
    body = json.dumps({"leases": [{"token": lease["token"], "outcomes": outcomes}]})
    assert problem_of(rig.send(http_event(path="/v1/outcomes", body=body)))["status"] == 413
    assert rig.log.records == {}


def test_a_hundred_are_taken_at_once() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    outcomes = [an_outcome(n, answered(ids(lease)[0])) for n in range(100)]
    assert counts(report(rig, lease["token"], *outcomes)) == (100, 0, 0)
    assert len(rig.log.records) == 100


HOSTILE: Sequence[str] = (
    "",
    "{",
    "[]",
    "null",
    "{}",
    '{"leases": {}}',
    '{"leases": [null]}',
    '{"leases": [{"token": 1, "outcomes": []}]}',
    '{"leases": [{"token": "x"}]}',
    "[" * 100_000,
    '{"leases": ' + "9" * 5000 + "}",
    "\ud800",
    "x" * (2 * 2**20 + 1),
)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_report_is_the_callers_fault(body: str) -> None:
    answer = Rig(failing(OK)).send(http_event(path="/v1/outcomes", body=body))
    assert 400 <= problem_of(answer)["status"] < 500


@pytest.mark.parametrize("token", ["", "x", "fl1.k1.e30.x", "\ud800", "y" * 9000])
def test_a_token_that_nobody_signed_costs_its_outcomes_and_no_others(token: str) -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    groups = [{"token": token, "outcomes": [outcome]}, {"token": lease["token"], "outcomes": [outcome]}]
    answer = rig.send(http_event(path="/v1/outcomes", body=json.dumps({"leases": groups})))
    assert counts(json.loads(answer["body"])) == (1, 0, 1)


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


class AwayLog(InMemoryInvocationLog):
    """A log that takes nothing until it is told to."""

    is_away = True

    def close(self, record: InvocationRecord) -> bool:
        if self.is_away:
            raise StoreUnavailable("throttled")
        return super().close(record)


def test_while_the_log_is_away_a_report_can_be_sent_again() -> None:
    log = AwayLog()
    rig = Rig(failing(OK), log=log)
    lease = decide(rig)
    body = json.dumps({"leases": [{"token": lease["token"], "outcomes": [an_outcome(0, answered(ids(lease)[0]))]}]})
    assert problem_of(rig.send(http_event(path="/v1/outcomes", body=body)))["status"] == 503
    log.is_away = False
    assert counts(json.loads(rig.send(http_event(path="/v1/outcomes", body=body))["body"])) == (1, 0, 0)


def test_breakers_of_the_environment_do_not_hear_of_a_clients_failures() -> None:
    rig = Rig(failing(OK))
    lease = decide(rig)
    failures = [an_outcome(n, failed(ids(lease)[0], Failure.UNREACHABLE)) for n in range(10)]
    report(rig, lease["token"], *failures)
    assert decide(rig)["endpoints"][0]["is_demoted"] is False
    assert replace(records(rig)[0]).attempts[0].failure is Failure.UNREACHABLE
