import numpy as np
import pytest

from fiso.learning import evaluate
from fiso.prediction.artifact import LATENCY
from tests.models import generated_halves, trained


def test_errors_are_the_textbooks() -> None:
    found = evaluate.errors(np.array([2.0, 2.0, 8.0]), np.array([1.0, 2.0, 4.0]))
    assert found is not None
    assert found.rows == 3
    assert found.mean_absolute == pytest.approx(5 / 3)
    assert found.r2 == pytest.approx(1 - 17 / (14 / 3))
    # two of three are off by a factor of 2: the geometric mean is the cube root of 4
    assert found.geometric == pytest.approx(4 ** (1 / 3))


def test_rows_without_a_truth_do_not_count() -> None:
    found = evaluate.errors(np.array([2.0, 5.0]), np.array([1.0, np.nan]))
    assert found is not None
    assert (found.rows, found.mean_absolute) == (1, 1.0)


def test_nothing_known_is_no_error_of_zero() -> None:
    assert evaluate.errors(np.array([1.0]), np.array([np.nan])) is None
    assert evaluate.latency_error(np.array([np.nan]), np.array([1.0])) is None


def test_a_constant_truth_has_no_r2() -> None:
    found = evaluate.errors(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert found is not None
    assert found.r2 is None


def test_too_slow_and_too_fast_by_the_same_factor_are_equally_wrong() -> None:
    actual = np.array([100.0])
    assert evaluate.latency_error(np.array([200.0]), actual) == evaluate.latency_error(np.array([50.0]), actual)


def test_an_impossible_prediction_counts_as_serving_would_bound_it() -> None:
    assert evaluate.latency_error(np.array([-5.0]), np.array([0.1])) == pytest.approx(1.0)


def test_every_provider_is_reported_beside_all() -> None:
    held_out = generated_halves().held_out
    report = evaluate.by_target({LATENCY: trained().fit_of(LATENCY).predict(held_out.features)}, held_out)
    groups = report[LATENCY]
    assert set(groups) == {"all", "aws", "azure", "gcp"}
    assert groups["all"].rows == sum(groups[name].rows for name in ("aws", "azure", "gcp")) == len(held_out)
