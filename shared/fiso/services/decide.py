"""Deciding: from a request and what is known of the world to a Decision. Pure: no network, clock or randomness.

eligible -> features -> predictions -> scores -> propensities -> ranking
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fiso.billing.tariff import Tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, Prediction, RankedCandidate, Reason, Score
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.errors import NothingAvailable
from fiso.domain.policy import CostSource, Mode, Policy
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.prediction.beliefs import beliefs
from fiso.prediction.predictor import Candidate, predict
from fiso.routing import affinity, eligibility, scoring, selection
from fiso.routing.breaker import CLOSED, Breaker, BreakerState

NO_MODEL = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything a decision may know, as it was read: it can be stored and the decision made again.

    `in_flight` is the function's load where somebody states it (a replay); None leaves it to Little's law.
    """

    entry: CatalogEntry
    snapshot_version: int
    tariff: Tariff
    states: Mapping[EndpointId, EndpointState] = field(default_factory=dict)
    breakers: Mapping[EndpointId, Breaker] = field(default_factory=dict)
    model: Model | None = None
    in_flight: float | None = None


def decide(request: InvocationRequest, world: World, *, now: datetime, draw: float) -> Decision:
    """The Decision for one request. `draw` is uniform in [0, 1). `NothingAvailable` when no endpoint is eligible."""
    entry = world.entry
    chosen_from = eligibility.eligible(entry)
    if not chosen_from.candidates:
        reasons = "; ".join(f"{e.endpoint}: {e.detail}" for e in chosen_from.exclusions)
        raise NothingAvailable(f"no endpoint of {entry.name} is eligible: {reasons}")
    predictions = _predictions(request, chosen_from.candidates, world, now)
    scores = _score(request, chosen_from.candidates, predictions, entry.policy)
    demoted = _demoted(chosen_from.candidates, world.breakers, now)
    picks = _Picks(policy=entry.policy, demoted=demoted, seen=sum(p.observations for p in predictions), draw=draw)
    ranking, reason = _rank(chosen_from.candidates, predictions, scores, picks)
    return Decision(
        function=entry.name,
        decided_at=now,
        ranking=ranking,
        exclusions=chosen_from.exclusions,
        reason=reason,
        policy_version=entry.policy.version,
        snapshot_version=world.snapshot_version,
        model_version=world.model.version if world.model else NO_MODEL,
        tariff_version=world.tariff.version,
    )


def _predictions(
    request: InvocationRequest, endpoints: Sequence[Endpoint], world: World, now: datetime
) -> list[Prediction]:
    states = [world.states.get(endpoint.id) for endpoint in endpoints]
    loads = [features.in_flight(now, state) if world.in_flight is None else world.in_flight for state in states]
    believed = beliefs(endpoints, world.states, loads=loads, tariff=world.tariff, now=now)
    stay = features.stay(now, world.states.values())
    predictions = []
    for endpoint, state, load, belief in zip(endpoints, states, loads, believed, strict=True):
        seen = features.snapshot(
            function_type=world.entry.function_type,
            endpoint=endpoint,
            request_size_bytes=len(request.body),
            now=now,
            state=state,
            in_flight=load,
        )
        candidate = Candidate(endpoint=endpoint, state=state, belief=belief)
        predictions.append(predict(candidate, seen, model=world.model, stay=stay))
    return predictions


def _score(
    request: InvocationRequest, candidates: Sequence[Endpoint], predictions: Sequence[Prediction], policy: Policy
) -> list[Score]:
    near = {endpoint.id: affinity.affinity(endpoint.provider, request.user_region) for endpoint in candidates}
    by_model = policy.cost_source is CostSource.MODEL
    return scoring.score(predictions, near, weights=policy.weights, scoring=policy.scoring, cost_by_model=by_model)


def _demoted(
    candidates: Sequence[Endpoint], breakers: Mapping[EndpointId, Breaker], now: datetime
) -> frozenset[EndpointId]:
    """Candidates behind an open breaker; nobody when all are, since one must always be tried."""
    ids = {endpoint.id for endpoint in candidates}
    opened = {id for id in ids if breakers.get(id, CLOSED).state(now) is BreakerState.OPEN}
    return frozenset() if opened == ids else frozenset(opened)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picks:
    """What the choice among scored candidates depends on."""

    policy: Policy
    demoted: frozenset[EndpointId]
    seen: float
    draw: float


def _rank(
    candidates: Sequence[Endpoint], predictions: Sequence[Prediction], scores: Sequence[Score], picks: _Picks
) -> tuple[tuple[RankedCandidate, ...], Reason]:
    policy, demoted = picks.policy, picks.demoted
    first, last = _split(scores, demoted)
    if policy.mode is Mode.OBSERVE and policy.home in {s.endpoint for s in scores}:
        first, last = _home_first(scores, policy)
        chances, chosen, reason = (1.0, *(0.0 for _ in first[1:])), 0, Reason.POLICY
    else:
        picked = selection.choose(first, exploration=policy.exploration, draw=picks.draw, seen=picks.seen)
        chances, chosen = picked.propensities, picked.chosen
        reason = Reason.POLICY if policy.mode is Mode.PIN else Reason.EXPLORE if chosen else Reason.SCORE
    order = [chosen, *(index for index in range(len(first)) if index != chosen)]
    endpoints = {endpoint.id: endpoint for endpoint in candidates}
    predicted = {prediction.endpoint: prediction for prediction in predictions}

    def candidate(score: Score, propensity: float) -> RankedCandidate:
        return RankedCandidate(
            endpoint=endpoints[score.endpoint],
            prediction=predicted[score.endpoint],
            score=score,
            propensity=propensity,
            is_demoted=score.endpoint in demoted,
        )

    ranking = [candidate(first[index], chances[index]) for index in order]
    ranking.extend(candidate(score, 0.0) for score in last)
    return tuple(ranking), reason


def _split(scores: Sequence[Score], demoted: frozenset[EndpointId]) -> tuple[list[Score], list[Score]]:
    return [s for s in scores if s.endpoint not in demoted], [s for s in scores if s.endpoint in demoted]


def _home_first(scores: Sequence[Score], policy: Policy) -> tuple[list[Score], list[Score]]:
    home = [s for s in scores if s.endpoint == policy.home]
    return home, [s for s in scores if s.endpoint != policy.home]
