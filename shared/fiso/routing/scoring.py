"""Scores: how good each candidate looks for one request, as numbers that can be compared and explained.

By the policy's weights (`score`), or by an objective: the cheapest of the candidates whose p95 keeps it, else the one
with the lowest p95. That takes two steps, so that strategies can come between: `by_cost` scores everybody, `within`
puts those who miss behind.

Pure: data in, data out. Knows nothing of clouds, clocks, stores or models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import LatencyMeasure, Scoring, Weights
from fiso.domain.request import Prefer
from fiso.routing.constraints import tail_ms


def score(
    predictions: Sequence[Prediction],
    affinities: Mapping[EndpointId, float],
    *,
    weights: Weights,
    scoring: Scoring,
    cost_by_model: bool = False,
    measure: LatencyMeasure = LatencyMeasure.MEAN,
) -> list[Score]:
    """Score every candidate by the latency that the policy measures, best first; ties keep the order of endpoint ids.

    Costs are the tariff's, or with `cost_by_model` the trained cost target's.
    """
    if not predictions:
        return []
    costs = [p.model_price_usd if cost_by_model else p.price_usd for p in predictions]
    latencies = [compared_ms(prediction, measure) for prediction in predictions]
    terms_of = (_relative if scoring is Scoring.RELATIVE else _reciprocal)(latencies, costs)
    total = weights.latency + weights.cost + weights.reliability + weights.region_affinity
    divisor = total if scoring is Scoring.RELATIVE else 1.0
    by_latency, by_cost = weights.latency, weights.cost
    by_reliability, by_region = weights.reliability, weights.region_affinity
    scores = []
    for prediction, (latency, cost) in zip(predictions, terms_of, strict=True):
        reliability, near = prediction.success_probability, affinities[prediction.endpoint]
        timely, cheap = by_latency * latency, by_cost * cost
        weighed = timely + cheap + by_reliability * reliability + by_region * near
        scores.append(
            Score(
                endpoint=prediction.endpoint,
                value=weighed / divisor,
                terms={"latency": latency, "cost": cost, "reliability": reliability, "region_affinity": near},
                learnable=_learnable(prediction, timely, cheap, weighed),
                doubt=(timely * prediction.deviation + cheap * prediction.cost_deviation) / weighed if weighed else 0.0,
                observations=prediction.observations,
                tries=prediction.tries,
                tried_loss=prediction.tried_loss,
                is_new=prediction.is_new,
            )
        )
    scores.sort(key=lambda s: (-s.value, s.endpoint))
    return scores


def preferring(weights: Weights, prefer: Prefer) -> Weights:
    """Latency or cost with the weight of both, or with all weight where neither had any."""
    both = weights.latency + weights.cost or 1.0
    is_latency = prefer is Prefer.LATENCY
    return replace(weights, latency=both if is_latency else 0.0, cost=0.0 if is_latency else both)


def compared_ms(prediction: Prediction, measure: LatencyMeasure = LatencyMeasure.MEAN) -> float:
    """The latency that a candidate is compared by; the expected one where no percentile is known."""
    if measure is LatencyMeasure.P95 and prediction.compared_p95_ms is not None:
        return prediction.compared_p95_ms
    return prediction.latency_ms if prediction.compared_ms is None else prediction.compared_ms


def _learnable(prediction: Prediction, latency: float, cost: float, value: float) -> float:
    """To first order: each term's share of the score times how far one more call would move its logarithm."""
    if value <= 0:
        return 0.0
    variation = prediction.variation
    moved = latency * step(prediction.deviation, variation) if latency else 0.0
    return (moved + cost * step(prediction.cost_deviation, variation) if cost else moved) / value


def step(deviation: float, variation: float) -> float:
    """How far one more call moves an estimate: s^2 / sqrt(s^2 + v^2), of a call that scatters by v (Frazier et al.,
    A knowledge-gradient policy for sequential information collection, 2008)."""
    return deviation**2 / sqrt(deviation**2 + variation**2) if deviation else 0.0


Costs = Sequence[float | None]


def _relative(latencies: Sequence[float], costs: Costs) -> list[tuple[float, float]]:
    """Latency and cost terms as best/own in [0, 1]: twice as slow as the fastest is 1/2. Unpriced gets 0."""
    fastest = min(latencies)
    cheapest = min((cost for cost in costs if cost is not None), default=None)
    return [(fastest / latency, _share(cheapest, cost)) for latency, cost in zip(latencies, costs, strict=True)]


def _reciprocal(latencies: Sequence[float], costs: Costs) -> list[tuple[float, float]]:
    """The brief's terms, unbounded: 100 / latency_ms and 0.001 / cost_usd. Unpriced gets 0, and so does a cost of 0.

    With true prices near 1e-6 USD the cost term is about 1,000 and leaves the others without a say; kept by name.
    """
    # A cost of 0 gets no term: 0.001 / 0 would win against everything, for an endpoint that cannot be free.
    return [(100 / latency, 0.001 / cost if cost else 0.0) for latency, cost in zip(latencies, costs, strict=True)]


def _share(best: float | None, own: float | None) -> float:
    """best/own, with 1 for a candidate that matches a best of zero, and 0 for one without a price."""
    if best is None or own is None:
        return 0.0
    return 1.0 if own <= best else best / own


DEFAULT_USER_REGION = "us-east-1"
UNLISTED = 0.5

AFFINITY: Mapping[str, Mapping[Provider, float]] = {
    "us-east-1": {Provider.AWS: 1.0, Provider.AZURE: 0.8, Provider.GCP: 0.7},
    "us-west-2": {Provider.GCP: 1.0, Provider.AWS: 0.9, Provider.AZURE: 0.7},
    "eu-west-1": {Provider.AZURE: 1.0, Provider.AWS: 0.8, Provider.GCP: 0.8},
}


def affinity(provider: Provider, user_region: str | None) -> float:
    """In [0, 1]. A request that names no region counts as from us-east-1; an unlisted region gives 0.5 to all."""
    return AFFINITY.get(user_region or DEFAULT_USER_REGION, {}).get(provider, UNLISTED)


def by_cost(predictions: Sequence[Prediction], *, objective_ms: float, cost_by_model: bool = False) -> list[Score]:
    """Scores as the cheapest's cost over one's own, in [0, 1], best first; ties keep the order of endpoint ids.

    The cheapest is looked for among those who keep the objective (all, when none does), so that gaps between them are
    shares of the best, as in `score`; who is cheaper and misses gets 1. Without a price: 0.
    """
    costs = {p.endpoint: p.model_price_usd if cost_by_model else p.price_usd for p in predictions}
    keeping = [p for p in predictions if tail_ms(p) <= objective_ms] or predictions
    known = (costs[p.endpoint] for p in keeping)
    cheapest = min((cost for cost in known if cost is not None), default=None)
    scores = [_score(p, _share(cheapest, costs[p.endpoint])) for p in predictions]
    return sorted(scores, key=lambda s: (-s.value, s.endpoint))


def within(
    scores: Sequence[Score], predictions: Mapping[EndpointId, Prediction], *, objective_ms: float
) -> list[Score]:
    """The scores of those who keep the objective as they are; behind them those who miss it, by p95, best first.

    Who misses gets objective / p95 times the lowest score that keeps it (times 1 when none does): below all of them,
    and the lower the wider it misses. What a strategy did to a score that misses does not count. The terms say whether
    the objective is kept (`within_objective`).
    """
    tails = {score.endpoint: tail_ms(predictions[score.endpoint]) for score in scores}
    floor = min((score.value for score in scores if tails[score.endpoint] <= objective_ms), default=1.0)
    placed = [_placed(score, tails[score.endpoint], objective_ms, floor) for score in scores]
    return sorted(placed, key=lambda s: (-s.terms["within_objective"], -s.value, tails[s.endpoint], s.endpoint))


def keeping(scores: Sequence[Score]) -> tuple[Score, ...]:
    """Of scores that `within` placed, those who keep the objective; everybody when none does.

    Only these may be tried: nothing explores beyond what the operator asks for.
    """
    return tuple(score for score in scores if score.terms.get("within_objective", 1.0)) or tuple(scores)


def _placed(score: Score, own_ms: float, objective_ms: float, floor: float) -> Score:
    if own_ms <= objective_ms:
        return replace(score, terms={**score.terms, "within_objective": 1.0})
    return replace(score, value=floor * objective_ms / own_ms, terms={**score.terms, "within_objective": 0.0})


def _score(prediction: Prediction, share: float) -> Score:
    return Score(
        endpoint=prediction.endpoint,
        value=share,
        terms={"cost": share},
        learnable=step(prediction.cost_deviation, prediction.variation),
        doubt=prediction.cost_deviation,
        observations=prediction.observations,
        tries=prediction.tries,
        tried_loss=prediction.tried_loss,
        is_new=prediction.is_new,
    )
