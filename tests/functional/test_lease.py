"""Leases through the handler: decide, call, report; a record is like a proxied one; what cannot be true is refused."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from numpy import isfinite

from fiso.billing import tariff
from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import PLANS, EndpointId
from fiso.domain.terms import Account, Terms
from fiso.learning import dataset
from fiso.prediction import features
from fiso.testing.clock import START
from fiso.testing.endpoints import OK
from fiso.testing.memory import answering, away
from fiso.testing.rig import PLACES, Rig, http_event, word_count
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import failing
from tests.edge import (
    BODY,
    BY_IAM,
    an_outcome,
    answered,
    by_time,
    counts,
    decide,
    failed,
    ids,
    problem_of,
    report,
    report_of,
    signed,
)

pytestmark = pytest.mark.usefixtures("each_door")


def test_a_lease_names_where_to_call_and_nothing_happens() -> None:
    rig = Rig()
    lease = decide(rig, x_fiso_user_region="eu-west-1")
    assert set(ids(lease)) == set(PLACES)
    assert lease["endpoints"][0]["address"] == f"https://{lease['endpoints'][0]['provider']}.example"
    assert sum(row["propensity"] for row in lease["endpoints"]) == pytest.approx(1)
    assert (lease["expires_in_ms"], lease["idempotent"]) == (60_000, "yes")
    assert rig.calls == []
    assert rig.stores.log.records == {}


def test_every_answer_says_what_fiso_took() -> None:
    rig = Rig()
    for path in ("/v1/invoke/word-count", "/v1/decide/word-count", "/v1/outcomes", "/v1/decide/nobody"):
        headers = rig.send(http_event(path=path, body='{"leases": []}'))["headers"]
        assert len(headers["x-fiso-invocation-id"]) == 36
        assert float(headers["x-fiso-overhead-ms"]) >= 0


def test_only_as_many_endpoints_are_leased_as_fiso_would_try() -> None:
    lease = decide(Rig(word_count(max_attempts=1)))
    assert len(lease["endpoints"]) == 1


def test_a_size_can_be_stated_instead_of_sending_a_body() -> None:
    rig = Rig()
    lease = decide(rig, x_fiso_request_size="2000000")
    outcome = an_outcome(0, answered(ids(lease)[0]), request_size_bytes=2000000)
    assert counts(report(rig, lease["token"], outcome)) == (1, 0, 0)
    assert by_time(rig)[0].decision.features["request_size_bytes"] == 2000000
    refused = rig.send(http_event(path="/v1/decide/word-count", x_fiso_request_size="-1"))
    assert problem_of(refused)["status"] == 400


def test_the_first_call_under_a_lease_is_recorded_like_a_proxied_one() -> None:
    proxied, leased = Rig(), Rig()
    proxied.send(http_event(body=BODY, x_fiso_user_region="us-east-1"))
    expected = proxied.only_record
    lease = decide(leased, x_fiso_user_region="us-east-1")
    attempt = answered(ids(lease)[0], latency_ms=expected.result.execution_time_ms, shape="text/plain")
    leased.clock.advance(1)
    report(leased, lease["token"], an_outcome(0, attempt))
    (record,) = by_time(leased)
    own = {"invocation_id": record.invocation_id, "overhead_ms": None, "lease_id": lease["lease_id"]}
    assert to_document(record) == to_document(expected) | own


def test_a_leased_call_costs_what_the_catalogs_plan_and_terms_say() -> None:
    entry = word_count()
    managed = tuple(replace(endpoint, plan=PLANS[endpoint.provider][1]) for endpoint in entry.endpoints)
    half = Account(discount=0.5)
    entry = replace(entry, endpoints=managed, prices=Terms(aws=half, azure=half, gcp=half))
    rig = Rig(entry)
    lease = decide(rig)
    rig.clock.advance(1)
    report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0], latency_ms=100.0)))
    whole = tariff.current().cost_usd(entry.endpoint(EndpointId(ids(lease)[0])), 100.0)
    assert whole is not None
    assert by_time(rig)[0].result.cost_usd == pytest.approx(0.5 * whole)


def test_a_failover_by_the_client_is_recorded_like_one_by_fiso() -> None:
    away = ProviderError(Failure.UNREACHABLE, "x")
    proxied, leased = Rig(respond=failing(away, OK)), Rig()
    proxied.send(http_event(body=BODY))
    expected = proxied.only_record
    lease = decide(leased)
    first, second = ids(lease)[:2]
    attempts = [
        failed(first, Failure.UNREACHABLE, latency_ms=expected.attempts[0].latency_ms, evidence="x"),
        answered(second, latency_ms=expected.attempts[1].latency_ms, shape=OK.shape),
    ]
    leased.clock.advance(1)
    report(leased, lease["token"], an_outcome(0, *attempts))
    (record,) = by_time(leased)
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
    rig = Rig()
    lease = decide(rig)
    report(rig, lease["token"], an_outcome(0, failed(ids(lease)[0], failure), **changes))
    assert (rig.only_record.result.response_status, rig.only_record.result.error_occurred) == (status, True)


def test_later_calls_under_a_lease_keep_its_propensities_and_score_no_prediction() -> None:
    rig = Rig(word_count(exploration=0.2))
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    calls = [an_outcome(n, answered(first, after_ms=1000 * n, idle_ms=1000.0 if n else None)) for n in range(3)]
    assert counts(report(rig, lease["token"], *calls)) == (3, 0, 0)
    found = by_time(rig)
    assert {record.decision.lease_id for record in found} == {lease["lease_id"]}
    assert len({tuple(record.decision.candidates) for record in found}) == 1
    assert 0 < found[0].decision.candidates[0].propensity < 1
    assert [record.decision.raw_latency_ms is None for record in found] == [False, True, True]
    assert [record.decision.features["idle_seconds"] for record in found] == [86_400.0, 1.0, 1.0]


def test_a_client_that_passed_over_the_first_endpoint_is_not_taken_for_the_draw() -> None:
    rig = Rig(word_count(exploration=0.2))
    lease = decide(rig)
    second = ids(lease)[1]
    report(rig, lease["token"], an_outcome(0, answered(second)))
    assert rig.only_record.decision.reason is Reason.FAILOVER
    assert {c.endpoint: c.propensity for c in rig.only_record.decision.candidates} == {
        endpoint: float(endpoint == second) for endpoint in ids(lease)
    }


def test_reporting_twice_changes_nothing() -> None:
    rig = Rig()
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    assert counts(report(rig, lease["token"], outcome)) == (1, 0, 0)
    before, counted = dict(rig.stores.log.records), list(rig.metrics.values)
    assert counts(report(rig, lease["token"], outcome)) == (0, 1, 0)
    assert (rig.stores.log.records, rig.metrics.values) == (before, counted)


def test_a_number_cannot_be_claimed_again_with_another_outcome() -> None:
    rig = Rig()
    lease = decide(rig)
    report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))
    verdict = report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0], latency_ms=1.0)))
    assert verdict["problems"][0]["code"] == "conflict"
    assert rig.only_record.result.execution_time_ms == 50.0


def test_a_report_that_another_version_has_taken_already_is_repeated_and_no_contradiction() -> None:
    """Its answer was lost, and the deployment moved meanwhile: that version's record knows of no plan."""
    rig = Rig()
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    report(rig, lease["token"], outcome)
    written = rig.only_record
    older = replace(written, attempts=tuple(replace(each, plan=None) for each in written.attempts))
    assert older != written
    rig.stores.log.records[written.invocation_id] = older
    assert counts(report(rig, lease["token"], outcome)) == (0, 1, 0)
    assert rig.only_record == older


def test_the_fold_and_the_training_set_take_leased_records() -> None:
    rig = Rig()
    lease = decide(rig)
    rig.clock.advance(30)
    first = ids(lease)[0]
    report(rig, lease["token"], *(an_outcome(n, answered(first, after_ms=100 * n, billed_ms=40.0)) for n in range(4)))
    rig.fold()
    (state,) = rig.states.values()
    assert (state.endpoint, state.attempts, state.latency_ms) == (first, 4, 50.0)
    data = dataset.build(by_time(rig))
    assert (len(data), data.skipped) == (4, 0)
    assert int(isfinite(data.served_latency_ms).sum()) == 1  # a prediction is judged by the call it was made for only
    assert set(data.feature_names) == set(features.NAMES)


def test_a_key_that_is_new_elsewhere_is_looked_for_when_it_is_met() -> None:
    rig, other = Rig(), Rig()
    decide(rig)
    rotated = Keyring.parsed(f"k2:{'b' * 32} k1:{'a' * 32}")
    other.stores.lease_keys.keys = rotated
    lease = decide(other)
    rig.stores.lease_keys.keys = rotated
    rig.clock.advance(10)
    assert counts(report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))) == (1, 0, 0)


def test_without_a_key_leases_are_away_and_the_rest_works() -> None:
    rig = Rig()
    rig.stores.lease_keys.keys = None
    for path in ("/v1/decide/word-count", "/v1/outcomes"):
        problem = rig.request("POST", path, body=report_of("x", {})).document
        assert problem["status"] == 503
        assert "lease-key" in problem["detail"]
    assert rig.invoke("word-count").status == 200
    assert rig.request("GET", "/healthz").document["parts"]["leases"]["is"] == "missing"


def test_while_the_log_is_away_a_report_can_be_sent_again() -> None:
    rig = Rig()
    rig.stores.log.before = away("throttled")
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    assert rig.request("POST", "/v1/outcomes", body=report_of(lease["token"], outcome)).status == 503
    rig.stores.log.before = answering
    assert counts(report(rig, lease["token"], outcome)) == (1, 0, 0)


def test_breakers_of_the_environment_do_not_hear_of_a_clients_failures() -> None:
    rig = Rig()
    lease = decide(rig)
    failures = [an_outcome(n, failed(ids(lease)[0], Failure.UNREACHABLE)) for n in range(10)]
    report(rig, lease["token"], *failures)
    assert decide(rig)["endpoints"][0]["is_demoted"] is False
    assert by_time(rig)[0].attempts[0].failure is Failure.UNREACHABLE


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "NaN": {"latency_ms": float("nan")},
    "infinite": {"latency_ms": float("inf")},
    "negative": {"latency_ms": -1},
    "no time at all": {"latency_ms": 0},
    "above 15 minutes": {"latency_ms": 900_001},
    "before the lease": {"after_ms": -1},
    "in the future": {"after_ms": 120_000},
    "ends in the future": {"latency_ms": 120_000},
    "a little in the future": {"after_ms": 1_001},
    "ends a little in the future": {"after_ms": 500, "latency_ms": 501},
    "as far ahead as a wrong clock may be": {"after_ms": 59_000},
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
    rig = Rig()
    lease = decide(rig)
    first = ids(lease)[0]
    verdict = report(rig, lease["token"], an_outcome(0, answered(first) | changes), an_outcome(1, answered(first)))
    assert counts(verdict) == (1, 0, 1)
    assert [(problem["item"], problem["number"]) for problem in verdict["problems"]] == [(0, 0)]
    assert len(rig.stores.log.records) == 1


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
    rig = Rig()
    lease = decide(rig)
    outcome = None if changes is None else an_outcome(0, answered(ids(lease)[0])) | changes
    assert counts(report(rig, lease["token"], outcome)) == (0, 0, 1)
    assert rig.stores.log.records == {}


def test_an_answer_may_be_held_against_a_siblings_and_no_endpoint_is_called_twice() -> None:
    rig = Rig()
    lease = decide(rig)
    first, second = ids(lease)[:2]
    twice = an_outcome(0, failed(first, Failure.BROKEN), answered(first))
    onwards = an_outcome(1, answered(first), answered(second))
    assert counts(report(rig, lease["token"], twice, onwards)) == (1, 0, 1)


def test_a_lease_is_good_for_its_own_caller_only() -> None:
    lease = decide(Rig())
    body = report_of(lease["token"], an_outcome(0, answered(ids(lease)[0])))
    verdict = json.loads(Rig(settings=BY_IAM).send(signed(http_event(path="/v1/outcomes", body=body)))["body"])
    assert [problem["code"] for problem in verdict["problems"]] == ["foreign"]


@pytest.mark.parametrize(
    ("after", "code"), [(timedelta(hours=7, minutes=2), None), (timedelta(hours=7, minutes=2, seconds=1), "too_late")]
)
def test_outcomes_are_accepted_until_an_hour_after_the_longest_outage_and_a_minute_for_skewed_clocks(
    after: timedelta, code: str | None
) -> None:
    rig = Rig()
    lease = decide(rig)
    rig.clock.now = START + after
    verdict = report(rig, lease["token"], an_outcome(0, answered(ids(lease)[0])))
    assert [problem["code"] for problem in verdict["problems"]] == ([code] if code else [])


@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 413), (1000, 413)])
def test_a_hundred_outcomes_are_taken_at_once_and_no_more(count: int, status: int) -> None:
    rig = Rig()
    lease = decide(rig)
    outcomes = [an_outcome(n, answered(ids(lease)[0])) for n in range(count)]
    answer = rig.request("POST", "/v1/outcomes", body=report_of(lease["token"], *outcomes))
    assert answer.status == answer.document.get("status", 200) == status
    assert len(rig.records) == (100 if status == 200 else 0)


@pytest.mark.parametrize("token", ["", "x", "fl1.k1.e30.x", "\ud800", "y" * 9000])
def test_a_token_that_nobody_signed_costs_its_outcomes_and_no_others(token: str) -> None:
    rig = Rig()
    lease = decide(rig)
    outcome = an_outcome(0, answered(ids(lease)[0]))
    groups = [{"token": token, "outcomes": [outcome]}, {"token": lease["token"], "outcomes": [outcome]}]
    answer = rig.send(http_event(path="/v1/outcomes", body=json.dumps({"leases": groups})))
    assert counts(json.loads(answer["body"])) == (1, 0, 1)


def test_no_more_calls_are_believed_than_a_client_can_have_made() -> None:
    rig = Rig()
    lease = decide(rig)
    call = answered(ids(lease)[0])
    assert counts(report(rig, lease["token"], an_outcome(1_001, call))) == (0, 0, 1)
    rig.clock.advance(2)
    assert counts(report(rig, lease["token"], an_outcome(3_000, call), an_outcome(3_001, call))) == (1, 0, 1)
