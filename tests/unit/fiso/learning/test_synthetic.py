import numpy as np
import pytest

from fiso.learning import synthetic
from fiso.prediction.features import NAMES


def test_the_set_is_the_briefs_own() -> None:
    """The numbers that the brief's pandas code makes with numpy's global seed 42; weekdays are one more."""
    data = synthetic.generate()
    assert len(data) == 10_000
    first, last = data.features[0].tolist(), data.features[-1].tolist()
    assert first == pytest.approx([2, 1, 1104.3942275824427, 4, 11, 9, 129.9160121997524, 0.8637158630947593])
    assert last == pytest.approx([2, 4, 1459.5618834186696, 1, 2, 3, 169.1865164457401, 0.29324448774657025])
    assert data.latency_ms[[0, -1]].tolist() == pytest.approx([260.0886993431407, 240.7654992486076])
    assert data.cost_usd[[0, -1]].tolist() == pytest.approx([0.026157696674709376, 0.024126671003397368])


def test_it_has_the_briefs_eight_features_and_says_that_it_is_synthetic() -> None:
    data = synthetic.generate(50)
    assert data.feature_names == NAMES[:8]
    assert data.is_synthetic


def test_costs_are_ten_thousand_times_true_prices() -> None:
    data = synthetic.generate()
    per_second = np.sum(data.cost_usd) / np.sum(data.latency_ms) * 1000
    assert per_second / synthetic.COST_SCALE == pytest.approx(1e-5, rel=0.01)
