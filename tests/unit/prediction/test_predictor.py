from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.decision import Prediction, PredictionSource
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.state import EndpointState
from fiso.prediction import artifact, features, predictor
from fiso.prediction.artifact import Model
from fiso.prediction.ensemble import LEAF
from tests.builders import NOW, an_endpoint
from tests.models import a_target, an_artifact, opened

MODEL = opened(an_artifact())
SLOWER = EndpointState(
    function=FunctionName("word-count"),
    endpoint=EndpointId("aws"),
    attempts=50,
    latency_ms=180.0,
    residual_ratio=2.0,
    residual_count=45,
    residual_model_version=MODEL.version,
    last_called_at=NOW,
    warm_answers=45,
)


def predicted(model: Model | None, state: EndpointState | None, siblings_ms: float | None = None) -> Prediction:
    row = features.snapshot(function_type="text", endpoint=an_endpoint(), request_size_bytes=500, now=NOW, state=state)
    return predictor.predict(
        model=model,
        endpoint=an_endpoint(),
        features=row,
        state=state,
        price=lambda latency_ms: latency_ms * 1e-8,
        siblings_ms=siblings_ms,
    )


def test_the_model_speaks_for_an_endpoint_without_state() -> None:
    prediction = predicted(MODEL, None)
    assert prediction.source is PredictionSource.MODEL
    assert (prediction.latency_ms, prediction.raw_latency_ms) == (100.0, 100.0)
    assert prediction.success_probability == 0.99


def test_the_latency_is_corrected_by_what_was_seen_and_the_raw_one_kept() -> None:
    prediction = predicted(MODEL, SLOWER)
    assert prediction.raw_latency_ms == 100.0
    assert prediction.latency_ms == pytest.approx(100.0 * 2 ** (45 / 46))


def test_a_correction_measured_against_another_model_does_not_count() -> None:
    assert predicted(MODEL, replace(SLOWER, residual_model_version="another")).latency_ms == 100.0


def test_few_residuals_correct_little() -> None:
    factors = [predictor.correction(replace(SLOWER, residual_count=count), MODEL) for count in (0, 1, 5, 500)]
    assert factors[0] == 1.0
    assert factors[1] == pytest.approx(2**0.5)
    assert factors == sorted(factors)
    assert factors[-1] < 2.0


def test_a_synthetic_model_is_corrected_by_the_first_answer_already() -> None:
    synthetic = opened(an_artifact(is_synthetic=True))
    assert predictor.correction(replace(SLOWER, residual_count=1), synthetic) > 1.9


def test_what_the_siblings_say_stands_in_until_the_first_answer() -> None:
    assert predicted(MODEL, None, siblings_ms=40.0).latency_ms == 40.0
    assert predicted(MODEL, None, siblings_ms=40.0).raw_latency_ms == 100.0
    assert predicted(MODEL, SLOWER, siblings_ms=40.0).latency_ms > 100.0


def test_the_price_is_that_of_the_corrected_duration_and_the_models_own_cost_stays_raw() -> None:
    prediction = predicted(MODEL, SLOWER)
    assert prediction.cost_usd == pytest.approx(prediction.latency_ms * 1e-8)
    assert prediction.model_cost_usd == 0.02


def test_an_endpoint_without_a_price_is_unpriced() -> None:
    row = features.snapshot(function_type="t", endpoint=an_endpoint(), request_size_bytes=1, now=NOW, state=None)
    prediction = predictor.predict(model=MODEL, endpoint=an_endpoint(), features=row, state=None, price=lambda _: None)
    assert prediction.cost_usd is None


def test_recent_errors_lower_the_models_success_probability() -> None:
    assert predicted(MODEL, replace(SLOWER, error_rate=0.4)).success_probability < 0.8
    assert predicted(MODEL, replace(SLOWER, consecutive_failures=1)).success_probability < 0.7


def test_without_a_model_the_baseline_answers_under_its_own_name() -> None:
    prediction = predicted(None, SLOWER)
    assert prediction.source is PredictionSource.BASELINE
    assert prediction.latency_ms == prediction.raw_latency_ms == 180.0
    assert prediction.model_cost_usd is None


@given(
    latency=st.floats(allow_nan=False, allow_infinity=False),
    ratio=st.floats(min_value=0, max_value=1e300),
    count=st.integers(min_value=0, max_value=10**9),
)
def test_no_model_and_no_residual_makes_an_impossible_latency(latency: float, ratio: float, count: int) -> None:
    targets = [a_target(artifact.LATENCY, [(LEAF, latency)]), a_target(artifact.SUCCESS, [(LEAF, 1.0)])]
    state = replace(SLOWER, residual_ratio=ratio, residual_count=count)
    prediction = predicted(opened(an_artifact(targets=targets)), state)
    assert predictor.SHORTEST_MS <= prediction.latency_ms <= predictor.LONGEST_MS
    assert predictor.SHORTEST_MS <= prediction.raw_latency_ms <= predictor.LONGEST_MS
