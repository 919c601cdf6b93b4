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
from fiso.domain.decision import Decision, Exclusion, Note, Prediction, RankedCandidate, Reason, Score
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.errors import NothingAvailable
from fiso.domain.policy import Mode, Policy
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.prediction.beliefs import Belief, beliefs
from fiso.prediction.predictor import Candidate, predict
from fiso.routing import control, eligibility, selection, strategies
from fiso.services.request.decision_cache import Contexts, Surroundings
from fiso.services.request.ranking import standing_of
from fiso_client.core.breaker import Breaker

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


NOBODY: frozenset[EndpointId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Who is eligible, and what is predicted of each."""

    endpoints: Mapping[EndpointId, Endpoint]
    predictions: Mapping[EndpointId, Prediction]
    demoted: frozenset[EndpointId]

    def ranked(self, scores: Sequence[Score], chances: Sequence[float]) -> list[RankedCandidate]:
        """Scores with everything that belongs to them."""
        return [
            RankedCandidate(
                endpoint=self.endpoints[score.endpoint],
                prediction=self.predictions[score.endpoint],
                score=score,
                propensity=chance,
                is_demoted=score.endpoint in self.demoted,
            )
            for score, chance in zip(scores, chances, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a context makes of the candidates: `scores` in the order of the ranking, best first.

    `chances` are the propensities of the first ones, `ranked` all of them with everything that belongs to them.
    """

    candidates: Candidates
    exclusions: tuple[Exclusion, ...]
    notes: tuple[Note, ...]
    scores: tuple[Score, ...]
    chances: tuple[float, ...]
    ranked: tuple[RankedCandidate, ...]


DecisionContexts: TypeAlias = Contexts[Outlook, list[Belief]]


def decide(
    request: InvocationRequest, world: World, *, now: datetime, draw: float, contexts: DecisionContexts | None = None
) -> Decision:
    """The Decision for one request. `draw` is uniform in [0, 1). `NothingAvailable` when no endpoint is eligible."""
    demoted = _demoted(world, now)
    if contexts is None or demoted:
        outlook = look(request, world, now, contexts=contexts, demoted=demoted)
    else:
        around = surroundings(request, world, now)
        outlook = contexts.get(request, around, now, lambda: look(request, world, now, contexts=contexts))
    policy = world.entry.policy
    ranking, reason = _choose(outlook, policy, _home(outlook, world, now, demoted), draw)
    return Decision(
        function=world.entry.name,
        decided_at=now,
        ranking=ranking,
        exclusions=outlook.exclusions,
        notes=outlook.notes,
        reason=reason,
        policy_version=policy.version,
        snapshot_version=world.snapshot_version,
        model_version=world.model.version if world.model else NO_MODEL,
        tariff_version=world.tariff.version,
    )


def surroundings(request: InvocationRequest, world: World, now: datetime) -> Surroundings:
    """What of the world makes a context, and which of the policy's strategies hold for the request."""
    policy = world.entry.policy
    asked = strategies.request_facts(request, function_type=world.entry.function_type, now=now)
    return Surroundings(
        entry=world.entry,
        snapshot_version=world.snapshot_version,
        states=world.states,
        model=world.model,
        in_flight=world.in_flight,
        strategies=tuple(strategies.holds_for_request(strategy, asked) for strategy in policy.strategies),
    )


def look(
    request: InvocationRequest,
    world: World,
    now: datetime,
    *,
    contexts: DecisionContexts | None = None,
    demoted: frozenset[EndpointId] = NOBODY,
) -> Outlook:
    """Predict and score every candidate; `NothingAvailable` when there is none.

    Hard constraints, then tiers, then what scores best. Those demoted stand last.
    """
    entry, policy = world.entry, world.entry.policy
    chosen_from = eligibility.eligible(entry)
    if not chosen_from.candidates:
        reasons = "; ".join(f"{e.endpoint}: {e.detail}" for e in chosen_from.exclusions)
        raise NothingAvailable(f"no endpoint of {entry.name} is eligible: {reasons}")
    predictions = _predictions(request, chosen_from.candidates, world, now, contexts)
    standing = standing_of(request, entry, predictions, now=now, demoted=demoted)
    candidates = Candidates(
        endpoints={endpoint.id: endpoint for endpoint in chosen_from.candidates},
        predictions={prediction.endpoint: prediction for prediction in predictions},
        demoted=demoted,
    )
    chances = selection.propensities(standing.tried, exploration=policy.exploration, seen=_seen(standing.tried))
    scores = (*standing.tried, *standing.behind)
    return Outlook(
        candidates=candidates,
        exclusions=(*chosen_from.exclusions, *standing.exclusions),
        notes=standing.notes,
        scores=scores,
        chances=chances,
        ranked=tuple(candidates.ranked(scores, (*chances, *(0.0 for _ in standing.behind)))),
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

    believed = believe() if contexts is None else contexts.beliefs(world.entry, world.states, loads, now, believe)
    candidates = [
        Candidate(endpoint, world.states.get(endpoint.id), belief, row)
        for endpoint, row, belief in zip(endpoints, seen, believed, strict=True)
    ]
    return predict(candidates, model=world.model, stay=features.stay(now, world.states.values()))


def _demoted(world: World, now: datetime) -> frozenset[EndpointId]:
    """Who stands last for now: behind an open breaker, or over a capped share.

    Nobody is when all that are eligible would be, since one must always be tried.
    """
    breakers = world.breakers
    out = frozenset(
        endpoint.id
        for endpoint in world.entry.endpoints
        if endpoint.id in breakers and breakers[endpoint.id].is_out(now)
    )
    if not out:
        return NOBODY
    eligible = {endpoint.id for endpoint in eligibility.eligible(world.entry).candidates}
    return out if not eligible <= out else NOBODY


def _home(outlook: Outlook, world: World, now: datetime, demoted: frozenset[EndpointId]) -> Reason | None:
    """Why the home endpoint is called whatever scores best, if it is: the mode says so, or a control block does."""
    policy = world.entry.policy
    if policy.home not in {score.endpoint for score in outlook.scores}:
        return None
    if policy.mode is Mode.OBSERVE:
        return Reason.POLICY
    if policy.mode is Mode.PIN or policy.home in demoted or not policy.control_share:
        return None
    in_block = control.is_control(world.entry.name, now, share=policy.control_share, block_s=policy.control_block_s)
    return Reason.CONTROL if in_block else None


def _choose(
    outlook: Outlook, policy: Policy, home: Reason | None, draw: float
) -> tuple[tuple[RankedCandidate, ...], Reason]:
    if home is not None:
        order = sorted(outlook.scores, key=lambda score: score.endpoint != policy.home)
        return tuple(outlook.candidates.ranked(order, [1.0, *(0.0 for _ in order[1:])])), home
    chosen = selection.picked(outlook.chances, draw)
    reason = Reason.POLICY if policy.mode is Mode.PIN else Reason.EXPLORE if chosen else Reason.SCORE
    return _chosen_first(outlook.ranked, chosen), reason


def _chosen_first(ranked: tuple[RankedCandidate, ...], chosen: int) -> tuple[RankedCandidate, ...]:
    return ranked if not chosen else (ranked[chosen], *ranked[:chosen], *ranked[chosen + 1 :])


def _seen(scores: Sequence[Score]) -> float:
    """The requests seen so far that were like this one."""
    return sum(score.observations for score in scores)
