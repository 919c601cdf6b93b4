"""Figures over rows, on rows written by hand."""

from typing import Any

import pytest

from tests.lab.chaos.rig import measures
from tests.lab.chaos.rig.load import Control, with_control
from tests.lab.chaos.rig.rows import Row, answered


def a_row(intended_s: float, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "at": intended_s + 0.1,
        "intended_s": intended_s,
        "latency_ms": 100.0,
        "status": 200,
        "phase": measures.FAULT,
        "environment": 0,
        "attempts": 1,
    }
    return Row(**(fields | changes))


def test_what_a_fault_catches_under_way_belongs_to_it() -> None:
    early, caught = a_row(0, phase=measures.BASELINE), a_row(0.95, phase=measures.BASELINE)
    rows = [early, caught, a_row(1.0)]
    assert measures.healthy(rows) == [early]
    assert measures.faulted(rows) == [caught, rows[2]]


def test_latency_is_compared_with_the_baselines_own() -> None:
    before = [a_row(i / 100, phase=measures.BASELINE) for i in range(400)]
    after = [a_row(10 + i / 100, latency_ms=140.0) for i in range(400)]
    figure = measures.added([*before, *after], 0.99, 30, name="added p99")
    assert (figure.value, figure.bound, figure.is_met) == (40.0, 40.0, False)


@pytest.mark.parametrize(("seconds", "probes"), [(0, 0), (1.59, 0), (1.6, 1), (4.8, 2), (11.2, 3), (72, 6)])
def test_probes_follow_the_breakers_waits(seconds: float, probes: int) -> None:
    assert measures.probes_within(seconds) == probes


def test_failed_tries_are_counted_per_environment_less_probes() -> None:
    failed = (("aws", "unreachable"), ("gcp", None))
    at_once = [a_row(i / 10, tried=failed) for i in range(6)]
    assert measures.failed_tries(at_once, "aws").value == 6
    assert measures.failed_tries([*at_once, a_row(2.0, tried=failed)], "aws").value == 6
    assert measures.failed_tries([a_row(i / 10, tried=failed, environment=i) for i in range(6)], "aws").value == 1
    assert measures.failed_tries(at_once, "gcp").value == 0


def test_a_breaker_that_opens_and_closes_counts_twice() -> None:
    rows = [a_row(s, open_breakers=("aws",) if 10 <= s < 20 else ()) for s in range(0, 61, 5)]
    assert measures.breaker_changes(rows, 12).value == 2


def test_recovery_is_the_first_second_that_is_well() -> None:
    rows = [a_row(10 + i / 10, status=200 if i >= 25 else 503) for i in range(60)]
    assert measures.seconds_until_well(rows, 10) == 3
    assert measures.seconds_until_well([a_row(1, status=503)], 0) == float("inf")


def test_the_preferred_provider_is_the_one_called_most_of_late() -> None:
    rows = [a_row(i, provider="aws" if i < 6 else "gcp") for i in range(10)]
    assert measures.preferred(rows) == "gcp"


def test_a_request_whose_environment_died_was_answered_by_nobody() -> None:
    fields = {"at": 1.0, "intended_s": 0.5, "latency_ms": 3.0, "phase": "fault", "environment": 4}
    assert answered(fields, None).status == 0


def test_a_problem_says_what_is_not_known() -> None:
    fields = {"at": 1.0, "intended_s": 0.5, "latency_ms": 3.0, "phase": "fault", "environment": 4}
    response = {
        "statusCode": 504,
        "headers": {"content-type": "application/problem+json", "retry-after": "2", "x-fiso-attempts": "1"},
        "body": '{"detail": "the deadline passed", "unknown_outcome": true}',
    }
    row = answered(fields, {"response": response, "served_ms": 2.0})
    assert (row.status, row.is_unknown, row.has_retry_after, row.attempts) == (504, True, True, 1)


def test_what_the_machine_held_up_is_left_out_by_the_control_beside_it_whatever_became_of_it() -> None:
    fates = [200, 504, 200, 504, 200]
    rows = [a_row(number, status=status) for number, status in enumerate(fates)]
    begun = 100.0
    slow, usual = Control(sent_s=101.9, answered_s=102.2), Control(sent_s=104.1, answered_s=104.102)
    kept, share = measures.undisturbed(with_control(rows, [slow, usual], begun))
    assert [row.intended_s for row in kept] == [0, 3, 4]
    assert (share.value, share.n, share.is_met) == (0.6, 5, True)
    assert "2 left out" in share.name


def test_a_machine_that_was_held_up_throughout_says_nothing_of_fiso() -> None:
    rows = with_control([a_row(0)], [Control(sent_s=0.0, answered_s=5.0)], 0.0)
    assert not measures.undisturbed(rows)[1].is_met
