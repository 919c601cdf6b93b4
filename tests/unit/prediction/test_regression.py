import numpy as np
import pytest

from fiso.prediction import regression


def test_one_observation_is_shrunk_by_its_noise() -> None:
    # prior variance 1, noise 3: a quarter of the residual is believed, a quarter of the variance gone
    known = regression.fit([[1.0]], [3.0], [2.0])
    assert known.mean([1.0]) == pytest.approx(0.5)
    (root,) = known.whitened([1.0])
    assert root**2 == pytest.approx(0.25)


def test_nothing_seen_says_nothing() -> None:
    known = regression.fit([], [], [])
    assert known.mean([]) == 0.0
    assert known.whitened([]) == []


@pytest.mark.parametrize("count", [1, 2, 5, 12, 36])
def test_it_agrees_with_the_textbook_formula(count: int) -> None:
    rng = np.random.default_rng(count)
    half = rng.normal(size=(count, count))
    covariance, noise = half @ half.T, rng.uniform(0.01, 1, count)
    residuals, cross = rng.normal(size=count), rng.normal(size=count)
    inverse = np.linalg.inv(covariance + np.diag(noise))
    known = regression.fit(covariance.tolist(), noise.tolist(), residuals.tolist())
    assert known.mean(cross.tolist()) == pytest.approx(cross @ inverse @ residuals)
    assert np.square(known.whitened(cross.tolist())).sum() == pytest.approx(cross @ inverse @ cross)
