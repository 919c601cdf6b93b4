from dataclasses import replace
from datetime import timedelta

import pytest

from fiso.domain.state import EndpointState
from fiso.prediction import predictor
from tests.builders import NOW, a_feature_row, a_state

CALLED = a_state(attempts=100, latency_ms=42.0, last_called_at=NOW)


def chance(state: EndpointState | None, *, after: timedelta = timedelta()) -> float:
    row = a_feature_row(state, now=NOW + after)
    return predictor.chance(state, row, prior=predictor.USUAL_SUCCESS, prior_calls=predictor.USUAL_CALLS)


def test_an_endpoint_never_called_has_the_promised_chance() -> None:
    assert chance(None) == predictor.USUAL_SUCCESS


def test_the_error_rate_lowers_success_by_what_was_seen() -> None:
    failing = replace(CALLED, error_rate=0.5)
    # (2 * .9995 + .5 * 10) / 12, worked by hand
    assert chance(failing) == pytest.approx(0.5832500)


def test_one_error_in_few_calls_is_no_certainty() -> None:
    once = replace(CALLED, attempts=1, error_rate=1.0)
    assert 0.6 < chance(once) < 0.7


def test_failures_in_a_row_lower_success_more_and_more() -> None:
    chances = [chance(replace(CALLED, consecutive_failures=run)) for run in range(6)]
    assert chances == sorted(chances, reverse=True)
    assert chances[1] == pytest.approx(chances[0] * 2 / 3)
    assert chances[5] < 0.3


def test_failures_are_forgiven_with_time_so_that_the_endpoint_is_tried_again() -> None:
    down = replace(CALLED, consecutive_failures=5, error_rate=0.5)
    chances = [chance(down, after=timedelta(minutes=minutes)) for minutes in (0, 1, 5, 60)]
    assert chances == sorted(chances)
    assert chances[-1] > 0.99
