from dataclasses import replace
from datetime import timedelta
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.decision import Prediction, PredictionSource
from fiso.domain.state import EndpointState
from fiso.prediction import artifact, predictor
from fiso.prediction.artifact import Model
from fiso.prediction.beliefs import Belief
from fiso.prediction.ensemble import LEAF
from fiso.prediction.predictor import Candidate
from fiso.routing.tails import Tail
from tests.builders import NOW, a_feature_row, a_state, an_endpoint
from tests.models import a_target, an_artifact, opened

MODEL = opened(an_artifact())  # says 100 ms
STATE = a_state(
    attempts=50,
    latency_ms=180.0,
    last_called_at=NOW,
    warm_answers=45,
    shape_model_version=MODEL.version,
    shape_xx=75.0,
    shape_xy=75.0,
)
BELIEF = Belief(
    warm_ms=180.0,
    warm_variance=0.01,
    variation=0.2,
    tail=Tail(mean=1.0, p95=0.0),
    answers=45.0,
    tries=3,
    tried_loss=0.5,
    is_new=False,
    busy_cold=0.0,
    start_ms=600.0,
    start_variance=0.04,
    warm_usd=2e-6,
    usd_variance=0.01,
    start_usd=1e-5,
    raw_log=log(50.0),
)


def predicted(
    model: Model | None = MODEL, state: EndpointState | None = STATE, belief: Belief = BELIEF, stay: float = 1.0
) -> Prediction:
    row = a_feature_row(state, size=500)
    candidate = Candidate(endpoint=an_endpoint(), state=state, belief=belief, features=row)
    (prediction,) = predictor.predict([candidate], model=model, stay=stay)
    return prediction


def test_a_request_that_the_model_tells_apart_is_expected_that_much_longer_where_the_model_proved_true() -> None:
    # twice what the model said of the answers behind the belief, to the power 75 / 75.25
    prediction = predicted()
    assert prediction.latency_ms == pytest.approx(180 * 2 ** (75 / 75.25))
    assert prediction.cost_usd == pytest.approx(2e-6 * 2 ** (75 / 75.25))
    assert (prediction.raw_latency_ms, prediction.source) == (100.0, PredictionSource.MODEL)
    assert prediction.model_cost_usd == 0.02


@pytest.mark.parametrize(
    ("state", "belief"),
    [
        (None, BELIEF),
        (replace(STATE, shape_model_version="another"), BELIEF),
        (replace(STATE, shape_xy=-20.0), BELIEF),
        (replace(STATE, shape_xx=0.0, shape_xy=0.0), BELIEF),
        (STATE, replace(BELIEF, raw_log=None)),
    ],
)
def test_a_model_that_proved_nothing_leaves_the_belief_alone(state: EndpointState | None, belief: Belief) -> None:
    sure = replace(belief, start_ms=0.0)
    assert predicted(state=state, belief=sure).latency_ms == pytest.approx(180.0)


def test_a_start_counts_whole_in_what_is_expected_and_spread_over_the_stay_in_what_is_compared() -> None:
    never_called = predicted(state=None, stay=100.0)
    assert never_called.cold_probability == 1.0
    assert never_called.latency_ms == pytest.approx(180 + 600)
    assert never_called.compared_ms == pytest.approx(180 + 600 / 100)
    assert never_called.cost_usd == pytest.approx(2e-6 + 1e-5 / 100)


def test_starts_under_load_are_not_spread() -> None:
    busy = predicted(belief=replace(BELIEF, busy_cold=0.4, raw_log=None), stay=100.0)
    assert busy.latency_ms == busy.compared_ms == pytest.approx(180 + 240)
    assert busy.p50_ms is not None
    assert busy.p95_ms is not None
    assert busy.p50_ms < 400 < busy.p95_ms


def test_a_prediction_says_how_sure_it_is() -> None:
    prediction = predicted()
    assert prediction.deviation == pytest.approx(0.1)
    assert (prediction.observations, prediction.variation) == (45.0, 0.2)


def test_an_endpoint_without_a_price_is_unpriced() -> None:
    assert predicted(belief=replace(BELIEF, warm_usd=None, start_usd=None)).cost_usd is None


def test_recent_errors_lower_the_models_success_probability() -> None:
    assert predicted(state=None).success_probability == 0.99
    assert predicted(state=replace(STATE, error_rate=0.4)).success_probability < 0.8
    assert predicted(state=replace(STATE, consecutive_failures=1)).success_probability < 0.7


def test_without_a_model_the_baseline_answers_under_its_own_name() -> None:
    prediction = predicted(model=None)
    assert prediction.source is PredictionSource.BASELINE
    assert prediction.latency_ms == prediction.raw_latency_ms == 180.0
    assert prediction.model_cost_usd is None


@given(
    latency=st.floats(allow_nan=False, allow_infinity=False),
    raw_log=st.floats(-700, 700),
    evidence=st.floats(min_value=0, max_value=1e300),
    warm_ms=st.floats(1e-300, 1e300),
)
def test_nothing_makes_an_impossible_latency(latency: float, raw_log: float, evidence: float, warm_ms: float) -> None:
    targets = [a_target(artifact.LATENCY, [(LEAF, latency)]), a_target(artifact.SUCCESS, [(LEAF, 1.0)])]
    state = replace(STATE, shape_xx=evidence, shape_xy=evidence)
    belief = replace(BELIEF, raw_log=raw_log, warm_ms=warm_ms)
    prediction = predicted(opened(an_artifact(targets=targets)), state, belief)
    for value in (prediction.latency_ms, prediction.raw_latency_ms, prediction.compared_ms, prediction.p95_ms):
        assert value is not None
        assert predictor.SHORTEST_MS <= value <= predictor.LONGEST_MS


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
