"""What is reported under leases and not believed: item by item, and never FISO's own failure."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from fiso.testing.endpoints import OK
from fiso_client.core.failures import Failure
from tests.builders import NOW, failing
from tests.functional.lease_reports import an_outcome, answered, counts, decide, failed, ids, report
from tests.functional.orchestrator_rig import BY_IAM, Rig, http_event, problem_of, signed

IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "NaN": {"latency_ms": float("nan")},
    "infinite": {"latency_ms": float("inf")},
    "negative": {"latency_ms": -1},
    "no time at all": {"latency_ms": 0},
    "above 15 minutes": {"latency_ms": 900_001},
    "before the lease": {"after_ms": -1},
    "in the future": {"after_ms": 120_000},
    "ends in the future": {"latency_ms": 120_000},
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
    verdict = json.loads(Rig(failing(OK), access=BY_IAM).send(signed(event))["body"])
    assert [problem["code"] for problem in verdict["problems"]] == ["foreign"]


@pytest.mark.parametrize(
    ("after", "code"), [(timedelta(minutes=62), None), (timedelta(minutes=62, seconds=1), "too_late")]
)
def test_outcomes_are_accepted_until_an_hour_after_expiry_and_a_minute_for_skewed_clocks(
    after: timedelta, code: str | None
) -> None:
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
