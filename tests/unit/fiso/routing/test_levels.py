import random
from math import log

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction import features
from fiso.routing import levels
from fiso.routing.fold import fold
from tests.builders import NOW, a_record, a_state, an_attempt


def answered(level: LoadLevel, *latencies_ms: float, cost_usd: float | None = 1e-6) -> LoadLevel:
    for latency_ms in latencies_ms:
        counted = levels.answered(level, is_cold=False, unexplained=1.0)
        level = levels.warmed(counted, latency_ms=latency_ms, cost_usd=cost_usd, raw_log=log(50), at=NOW)
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
    level = levels.answered(LoadLevel(answers=9), is_cold=True, unexplained=1.0)
    assert level.cold_share == pytest.approx(0.1)
    assert levels.answered(LoadLevel(answers=9), is_cold=True, unexplained=0.0).cold_share == 0.0


@pytest.mark.parametrize("provider", Provider)
def test_the_published_chance_never_falls_with_idle_time(provider: Provider) -> None:
    curve = [levels.cold_after_idle(provider, idle_s, None) for idle_s in (0, 200, 400, 900, 1500, 3000, 90_000)]
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == (0, 1)
    assert len(levels.COLD_AFTER_IDLE[provider]) == len(levels.IDLE_BINS) + 1


def test_an_endpoints_own_calls_outweigh_the_curve() -> None:
    kept_warm = a_state(idle_calls=(0, 0, 0, 27, 0, 0, 0), idle_colds=(0,) * 7)
    # 3 published cold starts among 30 calls
    assert levels.cold_after_idle(Provider.AWS, 900, kept_warm) == pytest.approx(0.1)
    assert levels.cold_after_idle(Provider.AWS, 5_000, kept_warm) == 1


AWS = EndpointId("aws")


def an_answer(number: int, latency_ms: float, *, raw_ms: float = 100.0, **changes: object) -> InvocationRecord:
    load = changes.pop("in_flight", 1.0)
    idle_s = changes.pop("idle_s", 0.0)
    cold = changes.pop("cold", False)
    row = dict.fromkeys(features.NAMES, 1.0) | {"in_flight": load, "idle_seconds": idle_s}
    attempt = an_attempt(latency_ms=latency_ms, cold_start=cold, cost_usd=latency_ms * 1e-8)
    return a_record(number, features=row, raw_latency_ms=raw_ms, cold_start=cold, attempts=(attempt,), **changes)


def folded(*records: InvocationRecord) -> EndpointState:
    states: dict[EndpointId, EndpointState] = {}
    for record in records:
        states = fold(states, record)
    return states[AWS]


def test_every_load_has_a_level_of_its_own() -> None:
    state = folded(an_answer(1, 100), an_answer(2, 900, in_flight=50.0), an_answer(3, 300))
    assert {bucket: level.latency_ms for bucket, level in state.levels.items()} == {0: 200.0, 5: 900.0}
    assert state.levels[5].cost_usd == pytest.approx(9e-6)


def test_a_start_is_measured_apart_and_counted_by_idle_time() -> None:
    state = folded(an_answer(1, 100), an_answer(2, 2_000, cold=True, idle_s=4_000.0), an_answer(3, 1_000, cold=True))
    assert state.levels[0].latency_ms == 100
    assert state.cold_latency_ms == 1_500
    assert (state.idle_calls, state.idle_colds) == ((2, 0, 0, 0, 0, 0, 1), (1, 0, 0, 0, 0, 0, 1))
    assert state.levels[0].cold_share == pytest.approx(1 / 3)  # the long silence explains the other one


def test_the_shape_is_true_as_far_as_answers_follow_what_the_model_told_apart() -> None:
    state = folded(*[an_answer(n, 100 * factor, raw_ms=50 * factor) for n, factor in enumerate([1, 4] * 50)])
    assert state.shape_xy / state.shape_xx == pytest.approx(1, abs=0.1)
    blind = folded(*[an_answer(n, 100, raw_ms=50 * factor) for n, factor in enumerate([1, 4] * 50)])
    assert blind.shape_xy / blind.shape_xx == pytest.approx(0, abs=1e-9)


def test_a_new_model_starts_its_shape_afresh_and_leaves_the_levels() -> None:
    state = folded(*[an_answer(n, 100, raw_ms=50 + n) for n in range(9)], an_answer(9, 100, model_version="m2"))
    assert (state.shape_model_version, state.shape_xx, state.shape_xy) == ("m2", 0.0, 0.0)
    assert state.levels[0].raw_log == pytest.approx(log(100))
    assert (state.levels[0].warm, state.levels[0].latency_ms) == (10, 100.0)


def test_a_baseline_and_an_error_teach_no_shape() -> None:
    state = folded(an_answer(1, 100, prediction_source="baseline"), an_answer(2, 100, error_occurred=True))
    assert state.levels[0].raw_log is None
    assert state.levels[0].warm == 2


def test_a_published_curve_counts_as_far_as_the_copies_of_a_function_follow_it() -> None:
    never = a_state(idle_calls=(0, 0, 9, 0, 0, 0, 0), idle_colds=(0,) * 7)
    always = a_state(idle_calls=(0, 0, 9, 0, 0, 0, 0), idle_colds=(0, 0, 9, 0, 0, 0, 0))
    busy = a_state(idle_calls=(99, 0, 0, 0, 0, 0, 0), idle_colds=(50, 0, 0, 0, 0, 0, 0))
    assert levels.curve_truth([]) == 1.0
    assert levels.curve_truth([(Provider.AWS, never)]) == pytest.approx(0.1)  # 1 of 10, worked by hand
    assert levels.curve_truth([(Provider.AWS, always)]) == 1.0
    assert levels.curve_truth([(Provider.AWS, busy)]) == 1.0  # starts under load are none after a silence
    assert levels.cold_after_idle(Provider.AWS, 900, None, truth=0.1) == pytest.approx(0.1)
