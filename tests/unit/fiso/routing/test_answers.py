from math import log

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.routing.fold import fold
from tests.builders import a_record, an_attempt

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
