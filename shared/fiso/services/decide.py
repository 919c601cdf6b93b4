"""Deciding: from a request and what is known of the world to a Decision. Pure: no network, clock or randomness.

eligible -> features -> predictions -> scores -> propensities -> ranking

What does not depend on the draw and on health is worked out once per context and kept for a few minutes
(`services.contexts`); a decision in a context seen before is a look-up and a draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from fiso.billing.tariff import Tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, Exclusion, Prediction, RankedCandidate, Reason, Score
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.errors import NothingAvailable
from fiso.domain.policy import CostSource, Mode, Policy
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.prediction.beliefs import Belief, beliefs
from fiso.prediction.predictor import Candidate, predict
from fiso.routing import affinity, eligibility, scoring, selection
from fiso.routing.breaker import CLOSED, Breaker, BreakerState
from fiso.services.contexts import Contexts, Surroundings

NO_MODEL = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything a decision may know, as it was read: it can be stored and the decision made again.

    `in_flight` is the function's load where somebody states it (a replay); None leaves it to Little's law.
    `router_region` is where FISO itself runs, as far as that is known.
    """

    entry: CatalogEntry
    snapshot_version: int
    tariff: Tariff
    states: Mapping[EndpointId, EndpointState] = field(default_factory=dict)
    breakers: Mapping[EndpointId, Breaker] = field(default_factory=dict)
    model: Model | None = None
    in_flight: float | None = None
    router_region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a context makes of the candidates: `scores` best first, and the rest that goes with them.

    `chances` are the propensities while nobody is demoted, `rankings` the orders that follow from each first choice.
    """

    endpoints: Mapping[EndpointId, Endpoint]
    exclusions: tuple[Exclusion, ...]
    predictions: Mapping[EndpointId, Prediction]
    scores: tuple[Score, ...]
    chances: tuple[float, ...]
    rankings: tuple[tuple[RankedCandidate, ...], ...]


DecisionContexts: TypeAlias = Contexts[Outlook, list[Belief]]


def decide(
    request: InvocationRequest, world: World, *, now: datetime, draw: float, contexts: DecisionContexts | None = None
) -> Decision:
    """The Decision for one request. `draw` is uniform in [0, 1). `NothingAvailable` when no endpoint is eligible."""
    if contexts is None:
        outlook = look(request, world, now)
    else:
        outlook = contexts.get(request, surroundings(world), now, lambda: look(request, world, now, contexts))
    policy = world.entry.policy
    demoted = _demoted(outlook.scores, world.breakers, now) if world.breakers else frozenset()
    ranking, reason = _rank(outlook, policy, demoted, draw)
    return Decision(
        function=world.entry.name,
        decided_at=now,
        ranking=ranking,
        exclusions=outlook.exclusions,
        reason=reason,
        policy_version=policy.version,
        snapshot_version=world.snapshot_version,
        model_version=world.model.version if world.model else NO_MODEL,
        tariff_version=world.tariff.version,
    )


def surroundings(world: World) -> Surroundings:
    """What of the world makes a context."""
    return Surroundings(
        entry=world.entry,
        snapshot_version=world.snapshot_version,
        states=world.states,
        model=world.model,
        in_flight=world.in_flight,
    )


def look(request: InvocationRequest, world: World, now: datetime, contexts: DecisionContexts | None = None) -> Outlook:
    """Predict and score every candidate; `NothingAvailable` when there is none."""
    entry = world.entry
    chosen_from = eligibility.eligible(entry)
    if not chosen_from.candidates:
        reasons = "; ".join(f"{e.endpoint}: {e.detail}" for e in chosen_from.exclusions)
        raise NothingAvailable(f"no endpoint of {entry.name} is eligible: {reasons}")
    predictions = _predictions(request, chosen_from.candidates, world, now, contexts)
    scores = _score(request, chosen_from.candidates, predictions, entry.policy)
    endpoints = {endpoint.id: endpoint for endpoint in chosen_from.candidates}
    predicted = {prediction.endpoint: prediction for prediction in predictions}
    chances = selection.propensities(scores, exploration=entry.policy.exploration, seen=_seen(scores))
    ranked = _ranked(scores, chances, endpoints, predicted)
    return Outlook(
        endpoints=endpoints,
        exclusions=chosen_from.exclusions,
        predictions=predicted,
        scores=tuple(scores),
        chances=chances,
        rankings=tuple(_chosen_first(ranked, index) for index in range(len(ranked))),
    )


def features_of(endpoint: Endpoint, request: InvocationRequest, world: World, now: datetime) -> tuple[float, ...]:
    """The feature snapshot of one endpoint for this very request."""
    state = world.states.get(endpoint.id)
    return features.snapshot(
        function_type=world.entry.function_type,
        endpoint=endpoint,
        request_size_bytes=len(request.body),
        now=now,
        state=state,
        in_flight=features.in_flight(now, state) if world.in_flight is None else world.in_flight,
    )


def _predictions(
    request: InvocationRequest,
    endpoints: Sequence[Endpoint],
    world: World,
    now: datetime,
    contexts: DecisionContexts | None,
) -> list[Prediction]:
    seen = [features_of(endpoint, request, world, now) for endpoint in endpoints]
    loads = [row[features.IN_FLIGHT_AT] for row in seen]

    def believe() -> list[Belief]:
        return beliefs(
            endpoints, world.states, loads=loads, tariff=world.tariff, now=now, router_region=world.router_region
        )

    believed = believe() if contexts is None else contexts.beliefs(surroundings(world), loads, now, believe)
    candidates = [
        Candidate(endpoint, world.states.get(endpoint.id), belief, row)
        for endpoint, row, belief in zip(endpoints, seen, believed, strict=True)
    ]
    return predict(candidates, model=world.model, stay=features.stay(now, world.states.values()))


def _score(
    request: InvocationRequest, candidates: Sequence[Endpoint], predictions: Sequence[Prediction], policy: Policy
) -> list[Score]:
    near = {endpoint.id: affinity.affinity(endpoint.provider, request.user_region) for endpoint in candidates}
    by_model = policy.cost_source is CostSource.MODEL
    return scoring.score(predictions, near, weights=policy.weights, scoring=policy.scoring, cost_by_model=by_model)


def _demoted(scores: Sequence[Score], breakers: Mapping[EndpointId, Breaker], now: datetime) -> frozenset[EndpointId]:
    """Candidates behind an open breaker; nobody when all are, since one must always be tried."""
    opened = {s.endpoint for s in scores if breakers.get(s.endpoint, CLOSED).state(now) is BreakerState.OPEN}
    return frozenset() if len(opened) == len(scores) else frozenset(opened)


def _rank(
    outlook: Outlook, policy: Policy, demoted: frozenset[EndpointId], draw: float
) -> tuple[tuple[RankedCandidate, ...], Reason]:
    if policy.mode is Mode.OBSERVE and policy.home is not None and policy.home in outlook.endpoints:
        return _called_first(outlook, policy.home, demoted), Reason.POLICY
    if demoted:
        first = [s for s in outlook.scores if s.endpoint not in demoted]
        chances = selection.propensities(first, exploration=policy.exploration, seen=_seen(outlook.scores))
        chosen = selection.picked(chances, draw)
        ranked = _ranked(first, chances, outlook.endpoints, outlook.predictions)
        behind = [s for s in outlook.scores if s.endpoint in demoted]
        last = _ranked(behind, [0.0] * len(behind), outlook.endpoints, outlook.predictions, demoted)
        return (*_chosen_first(ranked, chosen), *last), _reason(policy, chosen)
    chosen = selection.picked(outlook.chances, draw)
    return outlook.rankings[chosen], _reason(policy, chosen)


def _reason(policy: Policy, chosen: int) -> Reason:
    return Reason.POLICY if policy.mode is Mode.PIN else Reason.EXPLORE if chosen else Reason.SCORE


def _called_first(outlook: Outlook, home: EndpointId, demoted: frozenset[EndpointId]) -> tuple[RankedCandidate, ...]:
    """One endpoint for certain, the others by score behind it."""
    order = sorted(outlook.scores, key=lambda score: score.endpoint != home)
    chances = [1.0, *(0.0 for _ in order[1:])]
    return tuple(_ranked(order, chances, outlook.endpoints, outlook.predictions, demoted))


def _ranked(
    scores: Sequence[Score],
    chances: Sequence[float],
    endpoints: Mapping[EndpointId, Endpoint],
    predictions: Mapping[EndpointId, Prediction],
    demoted: frozenset[EndpointId] = frozenset(),
) -> list[RankedCandidate]:
    return [
        RankedCandidate(
            endpoint=endpoints[score.endpoint],
            prediction=predictions[score.endpoint],
            score=score,
            propensity=chance,
            is_demoted=score.endpoint in demoted,
        )
        for score, chance in zip(scores, chances, strict=True)
    ]


def _chosen_first(ranked: Sequence[RankedCandidate], chosen: int) -> tuple[RankedCandidate, ...]:
    return (ranked[chosen], *ranked[:chosen], *ranked[chosen + 1 :])


def _seen(scores: Sequence[Score]) -> float:
    """The requests seen so far that were like this one."""
    return sum(score.observations for score in scores)
