import numpy as np
import pytest
from scipy.stats import t

from fiso.learning.dataset import Floats
from fiso.learning.intervals import Sketch, difference, difference_of_shares

VALUES = np.array([3.0, 5.0, 4.0, 8.0, 6.0, 7.0, 2.0, 5.0])


def mean_of(values: Floats, sample_size: float | None = None) -> Sketch:
    influences = (values - values.mean()) / len(values)
    return Sketch(value=float(values.mean()), influences=influences, sample_size=sample_size or len(values))


def test_of_a_plain_mean_it_is_students_interval() -> None:
    found = mean_of(VALUES).estimate()
    half = t.ppf(0.975, 7) * VALUES.std(ddof=1) / np.sqrt(8)
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 5.0 - half, 5.0 + half))


def test_few_effective_draws_widen_it() -> None:
    ample, few = mean_of(VALUES).estimate(), mean_of(VALUES, sample_size=3.0).estimate()
    assert few.high - few.low > 1.5 * (ample.high - ample.low)


def test_what_two_values_share_cancels_in_their_difference() -> None:
    found = difference(mean_of(VALUES + 2), mean_of(VALUES))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_no_failure_seen_is_not_that_none_can_be() -> None:
    # Wilson's upper limit for 0 of 100: z^2 / (n + z^2) = 3.8415 / 103.8415
    found = mean_of(np.zeros(100)).share()
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.036995, rel=1e-4)
    assert mean_of(np.zeros(100)).estimate().high == 0.0


def test_a_share_stays_within_its_bounds() -> None:
    found = Sketch(value=-0.02, influences=np.array([0.01, -0.01, 0.02, -0.02]), sample_size=60.0).share()
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 0.2


def test_two_shares_without_failures_may_still_differ() -> None:
    # Newcombe's method 10 with 0 of 100 and 0 of 50: the limits are Wilson's upper ones
    found = difference_of_shares(mean_of(np.zeros(100), 50.0), mean_of(np.zeros(100)))
    assert found.value == 0.0
    assert found.low == pytest.approx(-0.036995, rel=1e-4)
    assert found.high == pytest.approx(3.841459 / 53.841459, rel=1e-4)


def test_one_cluster_has_no_interval() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        mean_of(np.array([1.0])).estimate()
