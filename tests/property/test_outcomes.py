"""Whatever is reported: an answer below 500, and a log that holds only what can be true."""

import json
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fiso.codecs.record import from_document, to_document
from fiso.domain.record import InvocationRecord
from fiso.routing.fold import fold
from fiso.testing.rig import Rig, http_event
from fiso_client.core.failures import Failure
from tests.builders import NOW

RIG = Rig()
LEASE = json.loads(RIG.send(http_event(path="/v1/decide/word-count"))["body"])
RIG.clock.now = NOW + timedelta(minutes=10)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ENDPOINTS = [row["id"] for row in LEASE["endpoints"]]
attempts = st.fixed_dictionaries(
    {
        "endpoint": st.sampled_from(ENDPOINTS),
        "after_ms": st.floats(0, 500_000),
        "latency_ms": st.floats(0.001, 100_000),
        "status": st.integers(100, 599),
    },
    optional={
        "cold_start": st.booleans(),
        "billed_ms": st.floats(0, 900_000),
        "idle_ms": st.floats(0, 1e9),
        "is_function_error": st.booleans(),
    },
)
outcomes = st.fixed_dictionaries(
    {
        "number": st.integers(0, 50),
        "request_size_bytes": st.integers(0, 10**6),
        "response_size_bytes": st.integers(0, 10**6),
        "attempts": st.lists(attempts, min_size=1, max_size=1),
    },
    optional={"deadline_passed": st.just(False)},
)
numbers = st.floats() | st.integers() | st.sampled_from([0, -1, 0.0, 599, 600, 900_000, 900_001, 10**400])


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """An outcome that could be true, but for one field of it or of its attempt."""
    outcome: dict[str, Any] = draw(outcomes)
    part = draw(st.sampled_from([outcome, outcome["attempts"][0]]))
    name = draw(st.sampled_from(sorted({*part, "failure", "deadline_passed", "billed_ms", "idle_ms"})))
    part[name] = draw(numbers | anything | st.sampled_from([failure.value for failure in Failure]))
    return outcome


def reporting(outcome: dict[str, Any]) -> dict[str, Any]:
    return {"leases": [{"token": LEASE["token"], "outcomes": [outcome]}]}


tokens = st.just(LEASE["token"]) | st.text(max_size=20) | anything
groups = st.fixed_dictionaries({"token": tokens, "outcomes": st.lists(outcomes | damaged() | anything, max_size=4)})
reports = st.fixed_dictionaries({"leases": st.lists(groups | anything, max_size=3)}) | anything


@given(outcomes)
def test_what_can_be_true_is_accepted(outcome: dict[str, Any]) -> None:
    answer = RIG.send(http_event(path="/v1/outcomes", body=json.dumps(reporting(outcome))))
    assert json.loads(answer["body"])["accepted"] == 1
    (record,) = RIG.stores.log.records.values()
    assert isinstance(record, InvocationRecord)
    assert_possible(record)
    RIG.stores.log.records.clear()


@given(damaged().map(reporting) | reports)
def test_no_report_is_fisos_failure_and_nothing_impossible_is_kept(report: Any) -> None:
    answer = RIG.send(http_event(path="/v1/outcomes", body=json.dumps(report)))
    assert answer["statusCode"] < 500
    if answer["statusCode"] == 200:
        verdict = json.loads(answer["body"])
        assert verdict["rejected"] == len(verdict["problems"])
    for record in RIG.stores.log.records.values():
        assert isinstance(record, InvocationRecord)
        assert_possible(record)
    RIG.stores.log.records.clear()


def assert_possible(record: InvocationRecord) -> None:
    assert record.result.execution_time_ms is not None
    assert 0 < record.result.execution_time_ms <= 900_000
    assert NOW <= record.timestamp <= RIG.clock.now + timedelta(seconds=2)
    assert record.result.cost_usd is not None
    assert 0 <= record.result.cost_usd < 1
    assert abs(sum(candidate.propensity for candidate in record.decision.candidates) - 1) < 1e-9
    assert isinstance(from_document(json.loads(json.dumps(to_document(record), allow_nan=False))), InvocationRecord)
    for state in fold({}, record).values():
        assert state.latency_ms is None or state.latency_ms > 0
