"""Objectives: what else than the weights can make a candidate the best. Pure.

cheapest within: of the candidates whose p95 keeps the latency objective the cheapest, else the one with the lowest p95.
Two steps, so that strategies can come between: `by_cost` scores everybody, `within` puts those who miss behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.limits import tail_ms
from fiso.routing.scoring import step


def by_cost(predictions: Sequence[Prediction], *, objective_ms: float, cost_by_model: bool = False) -> list[Score]:
    """Scores as the cheapest's cost over one's own, in [0, 1], best first; ties keep the order of endpoint ids.

    The cheapest is looked for among those who keep the objective (all, when none does), so that gaps between them are
    shares of the best, as in `scoring`; who is cheaper and misses gets 1. Without a price: 0.
    """
    costs = {p.endpoint: p.model_cost_usd if cost_by_model else p.cost_usd for p in predictions}
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
        observations=prediction.observations,
    )


def _share(best: float | None, own: float | None) -> float:
    """best/own, at most 1, and 0 for one without a price."""
    if best is None or own is None:
        return 0.0
    return 1.0 if own <= best else best / own
