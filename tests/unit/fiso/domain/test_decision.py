import pytest

from fiso.domain.decision import Spread, log_normal_quantile, normal_quantile


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.0), (0.95, 1.644854), (0.99, 2.326348), (0.05, -1.644854)])
def test_normal_quantiles(share: float, expected: float) -> None:
    assert normal_quantile(share) == pytest.approx(expected, abs=5e-4)


def test_a_log_normal_quantile_by_hand() -> None:
    # cv 1: variance ln 2 = .693147, median 100 / sqrt(2), 95 %: * exp(.832555 * 1.644854)
    assert log_normal_quantile(100, 1.0, 0.5) == pytest.approx(70.7107, rel=1e-3)
    assert log_normal_quantile(100, 1.0, 0.95) == pytest.approx(278.09, rel=2e-3)
    assert log_normal_quantile(100, 0.0, 0.95) == 100


def test_starts_that_are_rarer_than_one_in_twenty_are_beyond_the_95th_percentile() -> None:
    rare = Spread(warm_ms=100, variation=0.1, cold=0.02, start_ms=5_000)
    frequent = Spread(warm_ms=100, variation=0.1, cold=0.5, start_ms=5_000)
    certain = Spread(warm_ms=100, variation=0.1, cold=1.0, start_ms=5_000)
    assert rare.quantile(0.95) < 130
    assert frequent.quantile(0.95) > 5_000
    assert frequent.quantile(0.4) < 120
    assert certain.quantile(0.5) > 3_000


def test_quantiles_never_fall() -> None:
    spread = Spread(warm_ms=100, variation=0.3, cold=0.2, start_ms=900)
    found = [spread.quantile(share / 100) for share in range(1, 100)]
    assert found == sorted(found)


@pytest.mark.parametrize("p95_ms", [101.0, 150.0, 300.0, 380.0])
def test_a_spread_through_a_mean_and_a_percentile_has_them(p95_ms: float) -> None:
    spread = Spread.through(100.0, p95_ms)
    assert spread.warm_ms == 100.0
    assert spread.quantile(0.95) == pytest.approx(p95_ms, rel=1e-3)
