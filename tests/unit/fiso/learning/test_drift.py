"""Drift: what raises an alarm, what does not, and what is said where nothing can be told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from fiso.codecs.run import RUNS
from fiso.domain.drift import DriftKind, DriftReport
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.learning import drift
from fiso.learning.drift import Calls, Group
from fiso.prediction import features
from tests.builders import a_record
from tests.lab import drift as lab

FIRST: Group = (FunctionName("function-0"), EndpointId("endpoint-0"))
DAYS = 16


def a_report(calls: dict[Group, Calls], *, day: int = DAYS, learned_day: int | None = None) -> DriftReport:
    return lab.looked_at(calls, range(day, day + 1), learned_day=learned_day).reports[0]


def test_a_step_is_drift_of_that_endpoint_alone_on_the_day_and_the_one_who_learned_it_is_at_rest() -> None:
    calls = lab.slower(lab.world(1, DAYS + 2), FIRST, since_day=DAYS - 1)
    report = a_report(calls)
    told = [one for one in report.findings if one.is_drift]
    assert {(one.function_name, one.endpoint) for one in told} == {FIRST}
    assert {one.kind for one in told} == {DriftKind.FEATURE, DriftKind.CONCEPT, DriftKind.ERROR}
    concept = next(one for one in told if one.kind is DriftKind.CONCEPT)
    assert concept.effect == pytest.approx(np.log(lab.STEP), abs=0.2)
    assert report.is_drift
    assert report.drifting == len(told) == 3
    assert not a_report(calls, day=DAYS + 1).is_drift, "the champion has learned the new days"
    assert a_report(calls, day=DAYS + 1, learned_day=DAYS - 2).is_drift, "and one that has not is reminded"


@pytest.mark.parametrize("seed", range(2))
def test_days_nights_and_weekends_are_no_drift(seed: int) -> None:
    alarms = lab.looked_at(lab.world(seed, DAYS), range(8, DAYS + 1, 2))
    assert alarms.alarms == 0, [report.reason for report in alarms.reports if report.is_drift]


def _scaled(name: str, factor: float) -> Callable[[Calls], Calls]:
    def change(of: Calls) -> Calls:
        changed = of.features.copy()
        changed[_last_day(of), drift.WATCHED.index(name)] += np.log(factor)
        return replace(of, features=changed)

    return change


def _last_day(of: Calls) -> drift.Mask:
    late: drift.Mask = of.at >= lab.START.timestamp() + (DAYS - 1) * drift.DAY_S
    return late


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_scaled("request_size_bytes", 3.0), "request_size_bytes"),
        (_scaled("memory_mb", 2.0), "memory_mb"),
        (lambda of: replace(of, failed=np.where(_last_day(of), 1.0, of.failed)), "failure"),
        (lambda of: replace(of, log_ms=of.log_ms - np.where(_last_day(of), np.log(2), 0.0)), "concept"),
    ],
    ids=["larger requests", "another size of instance", "failing", "twice as fast"],
)
def test_each_kind_of_change_is_found_by_its_name(change: Callable[[Calls], Calls], what: str) -> None:
    calls = lab.world(2, DAYS)
    report = a_report(calls | {FIRST: change(calls[FIRST])})
    assert what in {one.feature or one.kind for one in report.findings if one.is_drift}, report.reason


def test_what_no_change_is() -> None:
    """Less error than before, twice the traffic, a mix that routing changed, and rows of a clock that is ahead."""
    calls = lab.world(3, DAYS)
    last = _last_day(calls[FIRST])
    better = replace(calls[FIRST], said_log_ms=np.where(last, calls[FIRST].log_ms, calls[FIRST].said_log_ms))
    assert not a_report(calls | {FIRST: better}).is_drift
    gone = lab.masked(calls[FIRST], ~last)
    assert not a_report(calls | {FIRST: gone}).is_drift
    ahead = replace(calls[FIRST], at=calls[FIRST].at + np.where(last, 10 * drift.DAY_S, 0.0))
    assert not drift.report(calls | {FIRST: ahead}, now=lab.START + timedelta(days=DAYS)).is_drift


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ({}, "too few days to compare with: 0 of the 7 that are needed"),
        (lab.world(1, 5), "too few days to compare with: 4 of the 7 that are needed"),
        (lab.world(1, DAYS, calls_a_day=8), "no endpoint has 30 calls a day: there is nothing to compare"),
    ],
    ids=["nothing", "a young stage", "a quiet one"],
)
def test_what_cannot_be_told_is_said(calls: dict[Group, Calls], reason: str) -> None:
    days = round(max((float(of.at.max()) for of in calls.values()), default=0) - lab.START.timestamp()) // 86_400 + 1
    report = drift.report(calls, now=lab.START + timedelta(days=max(days, 0)))
    assert report.reason == reason
    assert not report.is_drift
    assert RUNS.from_document(DriftReport, RUNS.to_document(report)) == report


def test_calls_are_what_fiso_saw_and_a_failure_or_a_cold_start_has_no_time() -> None:
    seen = dict.fromkeys(features.NAMES, 1.0)
    kept = a_record(1, features=seen, execution_time_ms=100.0, raw_latency_ms=50.0)
    cold = a_record(2, features=seen, cold_start=True)
    failed = a_record(3, features=seen, error_occurred=True)
    reported = a_record(4, features=seen, lease_id="lease")
    broken = [a_record(5, features=seen | {"in_flight": value}) for value in (np.nan, -1.0)]
    (calls,) = drift.calls_of([kept, cold, failed, reported, *broken]).values()
    assert len(calls.at) == 3
    assert np.isfinite(calls.log_ms).tolist() == [True, False, False]
    assert np.exp(calls.log_ms[0] - calls.said_log_ms[0]) == pytest.approx(2.0)
    assert calls.failed.tolist() == [0.0, 0.0, 1.0]
