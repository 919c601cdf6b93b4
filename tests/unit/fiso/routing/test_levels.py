import random
from math import log

import pytest

from fiso.domain.state import LoadLevel
from fiso.routing import levels
from tests.builders import NOW


def answered(level: LoadLevel, *latencies_ms: float, cost_usd: float | None = 1e-6) -> LoadLevel:
    for latency_ms in latencies_ms:
        counted = levels.with_answer(level, is_cold=False, unexplained=1.0)
        level = levels.with_warm(counted, latency_ms=latency_ms, cost_usd=cost_usd, raw_log=log(50), at=NOW)
    return level


def test_loads_are_kept_in_octaves() -> None:
    assert [levels.load_bucket(load) for load in (0, 0.5, 1, 1.9, 2, 3.9, 4, 50, 64, 1e9)] == [
        0, 0, 0, 0, 1, 1, 2, 5, 6, levels.HIGHEST_BUCKET,
    ]  # fmt: skip


def test_idle_times_fall_into_classes() -> None:
    assert [levels.idle_bin(idle_s) for idle_s in (0, 119, 120, 700, 3_599, 3_600, 86_400)] == [0, 0, 1, 3, 5, 6, 6]


def test_a_level_is_the_mean_of_its_answers() -> None:
    level = answered(LoadLevel(), 100, 200, 300)
    assert (level.answers, level.warm) == (3, 3)
    assert level.latency_ms == pytest.approx(200)
    assert level.cost_usd == pytest.approx(1e-6)
    assert level.raw_log == pytest.approx(log(50))


def test_an_unknown_bill_leaves_the_known_ones() -> None:
    assert answered(answered(LoadLevel(), 100), 100, cost_usd=None).cost_usd == pytest.approx(1e-6)


def test_the_variation_of_few_answers_is_the_usual_one() -> None:
    assert levels.variation(answered(LoadLevel(), 100)) == pytest.approx(levels.USUAL_VARIATION * (3 / 4) ** 0.5)
    steady = answered(LoadLevel(), *[100.0] * 97)
    assert levels.variation(steady) == pytest.approx(levels.USUAL_VARIATION * (3 / 100) ** 0.5)


def test_a_steady_endpoint_keeps_one_level() -> None:
    rng = random.Random(1)
    level = answered(LoadLevel(), *[rng.lognormvariate(4, 0.4) for _ in range(2000)])
    assert (level.warm, level.changed_at) == (2000, None)


def test_a_brown_out_is_believed_within_ten_answers_and_noted() -> None:
    rng = random.Random(2)
    level = answered(LoadLevel(), *[100 * rng.lognormvariate(0, 0.2) for _ in range(500)])
    level = answered(level, *[500 * rng.lognormvariate(0, 0.2) for _ in range(10)])
    assert level.changed_at == NOW
    assert level.latency_ms > 250
    assert level.warm < 30


def test_the_cold_share_counts_starts_as_far_as_idleness_does_not_explain_them() -> None:
    level = levels.with_answer(LoadLevel(answers=9), is_cold=True, unexplained=1.0)
    assert level.cold_share == pytest.approx(0.1)
    assert levels.with_answer(LoadLevel(answers=9), is_cold=True, unexplained=0.0).cold_share == 0.0
