"""Ranking: what a policy makes of predictions. Pure: hard constraints, then tiers, then what scores best."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Exclusion, Note, Prediction, Score
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import CostSource, Objective
from fiso.domain.request import InvocationRequest
from fiso.routing import affinity, limits, objectives, scoring, strategies, tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What a policy makes of predictions: whom it chooses among and who stands behind for failover, each best first;
    whom a limit excludes; what else is to be said."""

    primary: tuple[Score, ...]
    fallback: tuple[Score, ...]
    exclusions: tuple[Exclusion, ...]
    notes: tuple[Note, ...]


def ranking_of(
    request: InvocationRequest,
    entry: CatalogEntry,
    predictions: Sequence[Prediction],
    *,
    now: datetime,
    deprioritised: frozenset[EndpointId] = frozenset(),
) -> Ranking:
    """Hard constraints on what is predicted, then tiers, then what scores best."""
    limited = limits.limited(predictions, entry.policy, deprioritised=deprioritised)
    scores = _scores(request, entry, limited.kept, now)
    split = tiers.tiered(scores, entry.policy.tiers, deprioritised=deprioritised)
    primary = objectives.keeping(split.first)
    return Ranking(
        primary=primary,
        fallback=(*split.first[len(primary) :], *split.behind),
        exclusions=limited.exclusions,
        notes=limited.notes,
    )


def _scores(
    request: InvocationRequest, entry: CatalogEntry, predictions: Sequence[Prediction], now: datetime
) -> list[Score]:
    """The policy's weights or its objective, and the strategies that hold. Best first."""
    policy, endpoints = entry.policy, {endpoint.id: endpoint for endpoint in entry.endpoints}
    predicted = {prediction.endpoint: prediction for prediction in predictions}
    by_model = policy.cost_source is CostSource.MODEL
    objective_ms = policy.latency_objective_ms if policy.objective is Objective.CHEAPEST_WITHIN else None
    if objective_ms is not None:
        scores = objectives.by_cost(predictions, objective_ms=objective_ms, cost_by_model=by_model)
    else:
        near = {id: affinity.affinity(endpoints[id].provider, request.user_region) for id in predicted}
        scores = scoring.score(
            predictions, near, weights=policy.weights, scoring=policy.scoring, cost_by_model=by_model
        )
    if policy.strategies:
        asked = strategies.request_facts(request, function_type=entry.function_type, now=now)
        known = {id: strategies.Candidate(endpoint=endpoints[id], prediction=predicted[id]) for id in predicted}
        scores = strategies.adjusted(scores, policy.strategies, asked, known)
    return scores if objective_ms is None else objectives.within(scores, predicted, objective_ms=objective_ms)
