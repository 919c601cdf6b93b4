"""Predictions: what the states make one expect of a candidate, told apart request by request by the model. Pure.

    folded levels and siblings (a belief)  x  the model's shape, as far as it proved true  +  the chance of a cold start

The model knows what a request's size or hour changes; how fast a copy is at all, the last minutes know better. So a
raw prediction counts by how far it lies from what the model said of the answers that made the belief: the recent
residual per endpoint and load corrects it. While a model is new, or never told anything right, the belief stands alone.
"""

from collections.abc import Sequence
from math import exp, log, sqrt
from typing import NamedTuple

from fiso.domain.decision import Prediction, PredictionSource, Spread
from fiso.domain.endpoint import Endpoint
from fiso.domain.state import EndpointState
from fiso.prediction import features as feature_set
from fiso.prediction.artifact import Model, ModelOutput
from fiso.prediction.beliefs import Belief
from fiso.routing import levels

SHORTEST_MS, LONGEST_MS = 0.1, 900_000.0
"""No call is faster than a loopback's, none outlasts the clouds' longest timeout (15 minutes)."""
LARGEST_SHAPE = log(50.0)
SHAPE_PRIOR = 0.25
"""Evidence (a variance of logarithms) that speaks for no shape at all: that of a single answer's noise."""
MODEL_CALLS = 5.0
"""How many seen calls the model's success probability counts for."""
IDLE_AT = feature_set.NAMES.index("idle_seconds")


class Candidate(NamedTuple):
    """A copy as it stands before a request: its state, if it has one, what is believed of it, and its features."""

    endpoint: Endpoint
    state: EndpointState | None
    belief: Belief
    features: tuple[float, ...]


def predict(candidates: Sequence[Candidate], *, model: Model | None, stay: float = 1.0) -> list[Prediction]:
    """What to expect of each candidate; labelled as baseline while there is no model.

    `stay`: calls that an instance, once started, is expected to answer. A start for idleness is paid once for all of
    them, so that share of it counts where candidates are compared; the latency expected of this call has it whole.
    """
    stay = max(1.0, stay)
    truth = levels.curve_truth((item.endpoint.provider, item.state) for item in candidates if item.state is not None)
    if model is None:
        return [_predicted(candidate, None, "", stay, truth) for candidate in candidates]
    outputs = model.predict_all([candidate.features for candidate in candidates])
    return [
        _predicted(candidate, output, model.version, stay, truth)
        for candidate, output in zip(candidates, outputs, strict=True)
    ]


def _predicted(candidate: Candidate, output: ModelOutput | None, version: str, stay: float, truth: float) -> Prediction:
    endpoint, state, belief, features = candidate
    factor = exp(_shape(state, belief, version, output)) if output else 1.0
    usual_ms = _bounded(belief.warm_ms * factor)
    warm_ms = _bounded(usual_ms * belief.tail.mean)
    idle_cold = levels.cold_after_idle(endpoint.provider, features[IDLE_AT], state, truth)
    cold = 1 - (1 - belief.busy_cold) * (1 - idle_cold)
    # A start for idleness is paid once and used by all calls that follow. Charged whole, it would keep a router at a
    # slower warm copy for ever (docs/decisions/0005-prediction-in-layers.md). A start under load comes with each call.
    share_of_start = belief.busy_cold + (1 - belief.busy_cold) * idle_cold / stay
    latency_ms = _bounded(warm_ms + cold * belief.start_ms)
    compared_ms = _bounded(warm_ms + share_of_start * belief.start_ms)
    spread = Spread(
        warm_ms=usual_ms,
        variation=belief.variation,
        cold=cold,
        start_ms=belief.start_ms,
        p95_ratio=belief.tail.p95,
    )
    return Prediction(
        endpoint=endpoint.id,
        latency_ms=latency_ms,
        cost_usd=_cost(belief, factor, share_of_start),
        success_probability=_success(state, features, output),
        source=PredictionSource.MODEL if output else PredictionSource.BASELINE,
        features=features,
        raw_latency_ms=_bounded(output.latency_ms) if output else latency_ms,
        model_cost_usd=None if output is None or output.cost_usd is None else max(0.0, output.cost_usd),
        compared_ms=compared_ms,
        compared_cold=share_of_start,
        deviation=_deviation(belief, warm_ms, share_of_start * belief.start_ms, belief.warm_variance),
        cost_deviation=_deviation(
            belief, belief.warm_usd, share_of_start * (belief.start_usd or 0), belief.usd_variance
        ),
        spread=spread,
        observations=belief.answers,
        tries=belief.tries,
        tried_loss=belief.tried_loss,
        is_new=belief.is_new,
    )


def _shape(state: EndpointState | None, belief: Belief, version: str, output: ModelOutput) -> float:
    """How far this request is expected to lie from the belief, as a logarithm.

    Ridge regression of answers on raw predictions, both around their level's mean; a slope outside [0, 1] is noise.
    """
    if state is None:
        return 0.0
    raw_log, xx, xy = belief.raw_log, state.shape_xx, state.shape_xy
    if state.shape_model_version != version:
        rival = state.rival
        if rival is None or rival.model_version != version:
            return 0.0
        raw_log, xx, xy = belief.rival_log, rival.xx, rival.xy
    if raw_log is None:
        return 0.0
    # SHAPE_PRIOR pulls towards 0, "the model tells no requests apart", until answers have shown that it does. Above 1
    # it would be trusted more than it trusts itself, below 0 to say the opposite of what it says.
    slope = min(1.0, max(0.0, xy / (xx + SHAPE_PRIOR)))
    told = log(_bounded(output.latency_ms)) - raw_log
    return min(LARGEST_SHAPE, max(-LARGEST_SHAPE, slope * told))


def _cost(belief: Belief, factor: float, share_of_start: float) -> float | None:
    if belief.warm_usd is None:
        return None
    return belief.warm_usd * factor + share_of_start * (belief.start_usd or 0.0)


def _success(state: EndpointState | None, features: tuple[float, ...], output: ModelOutput | None) -> float:
    if output is None:
        return chance(state, features, prior=USUAL_SUCCESS, prior_calls=USUAL_CALLS)
    return chance(state, features, prior=output.success_probability, prior_calls=MODEL_CALLS)


def _deviation(belief: Belief, warm: float | None, start: float, warm_variance: float) -> float:
    """The standard deviation of the logarithm of warm + start, to first order."""
    if not warm:
        return 0.0
    total = warm + start
    return sqrt((warm / total) ** 2 * warm_variance + (start / total) ** 2 * belief.start_variance)


def _bounded(latency_ms: float) -> float:
    if SHORTEST_MS <= latency_ms <= LONGEST_MS:
        return latency_ms
    return min(LONGEST_MS, max(SHORTEST_MS, latency_ms))


USUAL_SUCCESS = 0.9995
"""Of an endpoint nothing is known of: the monthly uptime that all three clouds' agreements name (99.95 %)."""
USUAL_CALLS = 2.0
"""How many calls that counts for, against those that were seen (additive smoothing)."""
REMEMBERED_CALLS = 1 / levels.WEIGHT
"""How many calls the folded error rate remembers."""
FORGIVEN_S = 300.0
"""An error rate fades with this time constant while an endpoint is not called, so that it is tried again."""
RUN_FORGIVEN_S = 60.0
"""The same for a run of failures."""


def chance(state: EndpointState | None, row: Sequence[float], *, prior: float, prior_calls: float) -> float:
    """The chance of success: `prior`, counted as `prior_calls` calls, blended with the recent error rate.

    k failures in a row divide it by 1 + k / 2 (so one costs a third), less so the longer ago the last one was.
    """
    if state is None or not state.attempts:
        return prior
    seen = min(float(state.attempts), REMEMBERED_CALLS)
    if state.error_rate <= 0 and not state.consecutive_failures:
        return (prior * prior_calls + seen) / (prior_calls + seen)
    idle_s = row[IDLE_AT]
    rate = min(1.0, max(0.0, state.error_rate)) * levels.decay(idle_s, FORGIVEN_S)
    likely = (prior * prior_calls + (1 - rate) * seen) / (prior_calls + seen)
    run = state.consecutive_failures * levels.decay(idle_s, RUN_FORGIVEN_S)
    return likely / (1 + run / 2)
