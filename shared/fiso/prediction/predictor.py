"""Predictions: the model's word on one candidate, corrected by what the stream has seen since the model was trained.

Pure: the price comes in as a function of the predicted duration. Standard library only.
"""

from collections.abc import Callable, Sequence

from fiso.domain.decision import Prediction, PredictionSource
from fiso.domain.endpoint import Endpoint
from fiso.domain.state import EndpointState
from fiso.prediction import baseline
from fiso.prediction.artifact import Model

SHORTEST_MS, LONGEST_MS = 0.1, 900_000.0
"""No call is faster than a loopback's, none outlasts the clouds' longest timeout (15 minutes)."""
LARGEST_CORRECTION = 50.0
HALF_TRUSTED = 1.0
SYNTHETIC_HALF_TRUSTED = 0.05
"""Residuals after which a correction counts half: n are trusted n / (n + this). By argument: the variance of one call
around its endpoint's mean (about a factor 1.3) over that of the model's error (about 1.3, too, for one trained on the
log; a factor of 3 to 10 for one that has never seen the function)."""
MODEL_CALLS = 5.0
"""How many seen calls the model's success probability counts for."""


def predict(
    *,
    model: Model | None,
    endpoint: Endpoint,
    features: tuple[float, ...],
    state: EndpointState | None,
    price: Callable[[float], float | None],
    siblings_ms: float | None = None,
) -> Prediction:
    """What to expect of one candidate; labelled as baseline while there is no model.

    `siblings_ms` is what the other copies say of one that was never called; it stands in until its first answer.

    `price` turns a duration in ms into USD, or None for an endpoint without a price. The model's own cost target stays
    in `model_cost_usd` as it was learned: a synthetic model's is 10,000 times a true price.
    """
    if model is None:
        return _by_baseline(endpoint, features, state, price)
    output = model.predict(features)
    raw_ms = _bounded(output.latency_ms)
    is_known = state is not None and state.warm_answers > 0
    unknown_ms = raw_ms if siblings_ms is None else siblings_ms
    latency_ms = _bounded(raw_ms * correction(state, model) if is_known else unknown_ms)
    return Prediction(
        endpoint=endpoint.id,
        latency_ms=latency_ms,
        cost_usd=price(latency_ms),
        success_probability=baseline.success(
            state, features, prior=output.success_probability, prior_calls=MODEL_CALLS
        ),
        source=PredictionSource.MODEL,
        features=features,
        raw_latency_ms=raw_ms,
        model_cost_usd=None if output.cost_usd is None else max(0.0, output.cost_usd),
    )


def correction(state: EndpointState | None, model: Model) -> float:
    """The factor on the raw latency: the folded ratio of actual to predicted, shrunk to 1 while it rests on little.

    A ratio counts only for the model it was measured against.
    """
    if state is None or state.residual_model_version != model.version or state.residual_ratio <= 0:
        return 1.0
    half = SYNTHETIC_HALF_TRUSTED if model.is_synthetic else HALF_TRUSTED
    trust = state.residual_count / (state.residual_count + half)
    return min(LARGEST_CORRECTION, max(1 / LARGEST_CORRECTION, float(state.residual_ratio**trust)))


def _by_baseline(
    endpoint: Endpoint, row: Sequence[float], state: EndpointState | None, price: Callable[[float], float | None]
) -> Prediction:
    expected = baseline.expect(endpoint, row, state)
    latency_ms = _bounded(expected.latency_ms)
    return Prediction(
        endpoint=endpoint.id,
        latency_ms=latency_ms,
        cost_usd=price(latency_ms),
        success_probability=expected.success_probability,
        source=PredictionSource.BASELINE,
        features=tuple(row),
        raw_latency_ms=latency_ms,
    )


def _bounded(latency_ms: float) -> float:
    return min(LONGEST_MS, max(SHORTEST_MS, latency_ms))
