"""Deciding: from a request and what is known to a Decision. Pure: no network, clock or randomness.

eligible -> features -> predictions -> scores -> propensities -> ranking

What does not depend on the draw and on health is worked out once per context and kept for a few minutes
(`decision_cache`); a decision in a context seen before is a look-up and a draw.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import TypeAlias

from fiso.billing.measured_use import Used
from fiso.billing.tariff import Tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, Exclusion, Note, Prediction, Purpose, RankedCandidate, Reason, Score
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.errors import MalformedRequest, NothingAvailable
from fiso.domain.policy import CostSource, Mode, Objective, Policy
from fiso.domain.request import UNSTEERED, InvocationRequest, Prefer, Steering
from fiso.domain.state import EndpointState
from fiso.domain.steering import ArmDraw, Wish
from fiso.prediction import features
from fiso.prediction.artifact import Model
from fiso.prediction.beliefs import Belief, beliefs
from fiso.prediction.predictor import Candidate, predict
from fiso.routing import canaries, constraints, scoring, selection, strategies
from fiso.routing.canaries import Standing
from fiso.services.request.decision_cache import CacheKeyInputs, DecisionCache, sized_bytes
from fiso.services.request.steered import Choice, Situation, choose
from fiso_client.core.breaker import Breaker

NO_MODEL = "baseline"
USUAL_LAG_S = 7.0
"""The stream's batch window and delivery, and how old a state may be that is read beside a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """Everything a decision may know, as it was read: it can be stored and the decision made again.

    `in_flight` is the function's load where somebody states it (a replay); None leaves it to Little's law. `used` is
    what FISO itself called this month, where prices depend on it. `router_region` is where FISO itself runs, as far as
    that is known; `lag_s` how long it takes until a call that has ended is in the states that decisions are made from.
    `arm` where `model` or the entry's policy is that of an arm that was drawn.
    """

    entry: CatalogEntry
    snapshot_version: int
    tariff: Tariff
    states: Mapping[EndpointId, EndpointState] = field(default_factory=dict)
    breakers: Mapping[EndpointId, Breaker] = field(default_factory=dict)
    model: Model | None = None
    in_flight: float | None = None
    router_region: str | None = None
    lag_s: float = USUAL_LAG_S
    used: Used = ()
    arm: ArmDraw | None = None


NOBODY: frozenset[EndpointId] = frozenset()
ALL_BACK: Mapping[EndpointId, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    endpoints: Mapping[EndpointId, Endpoint]
    predictions: Mapping[EndpointId, Prediction]
    deprioritised: frozenset[EndpointId]

    def ranked(
        self, scores: Sequence[Score], chances: Sequence[float], tried_for: Sequence[Purpose | None] = ()
    ) -> list[RankedCandidate]:
        return [
            RankedCandidate(
                endpoint=self.endpoints[score.endpoint],
                prediction=self.predictions[score.endpoint],
                score=score,
                propensity=chance,
                is_deprioritised=score.endpoint in self.deprioritised,
                tried_for=purpose,
            )
            for score, chance, purpose in zip_longest(scores, chances, tried_for)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidates:
    """What a context makes of the candidates: `scores` in the order of the ranking, best first.

    `chances` are the propensities of the first ones, `ranked` all of them with everything that belongs to them.
    `is_held_apart`: a canary stands behind the others, and has no chance of its own among them.
    """

    candidates: Candidates
    exclusions: tuple[Exclusion, ...]
    notes: tuple[Note, ...]
    scores: tuple[Score, ...]
    chances: tuple[float, ...]
    ranked: tuple[RankedCandidate, ...]
    is_held_apart: bool = False


RankingCache: TypeAlias = DecisionCache[RankedCandidates, list[Belief]]


def decide(
    request: InvocationRequest, inputs: DecisionInputs, *, now: datetime, draw: float, cache: RankingCache | None = None
) -> Decision:
    """The Decision for one request. `draw` is uniform in [0, 1). `NothingAvailable` when no endpoint is eligible,
    `MalformedRequest` for a wish that the policy lets nobody have."""
    if request.steering is not UNSTEERED:
        _refuse_unpermitted(request.steering, inputs.entry)
    deprioritised = _deprioritised(request, inputs, now)
    policy = inputs.entry.policy
    canary = _canary(inputs, now) if policy.canary else None
    held = canary.draw.endpoint if canary else None
    # Health is never cached: a breaker that opens must change the very next decision, so what it changes is worked out
    # anew, and not kept.
    if cache is None or deprioritised:
        ranked_candidates = rank_candidates(request, inputs, now, cache=cache, deprioritised=deprioritised, held=held)
    else:
        key_inputs = cache_key_inputs(request, inputs, now, held=held)
        ranked_candidates = cache.get(
            request, key_inputs, now, lambda: rank_candidates(request, inputs, now, cache=cache, held=held)
        )
    home = _home(ranked_candidates, inputs, now, deprioritised)
    returning = _returning(inputs.breakers, now) if inputs.breakers else ALL_BACK
    steered = None
    if (canary or returning or policy.affinity) and home is None and policy.mode is not Mode.PIN:
        situation = Situation(
            request=request,
            policy=policy,
            scores=ranked_candidates.scores,
            chances=ranked_candidates.chances,
            deprioritised=deprioritised,
            returning=returning,
            canary=canary if ranked_candidates.is_held_apart else None,
        )
        steered = choose(situation, draw)
        ranking, reason = _steered_ranking(ranked_candidates, steered), steered.reason
    else:
        ranking, reason = _choose(ranked_candidates, policy, home, draw)
    decision = Decision(
        function=inputs.entry.name,
        decided_at=now,
        ranking=ranking,
        exclusions=ranked_candidates.exclusions,
        notes=(*ranked_candidates.notes, *_priced_by_use(inputs.used)) if inputs.used else ranked_candidates.notes,
        reason=reason,
        policy_version=policy.version,
        snapshot_version=inputs.snapshot_version,
        model_version=inputs.model.version if inputs.model else NO_MODEL,
        tariff_version=inputs.tariff.version,
        latency_measure=policy.latency_measure,
    )
    return decision if steered is None else replace(decision, is_sticky=steered.is_sticky, canary=steered.canary)


def _priced_by_use(used: Used) -> Iterator[Note]:
    for provider, use in used:
        seen = f"{use.requests:,.0f} requests, {use.gb_seconds:,.0f} GB-s and {use.transfer_gb:,.0f} GB of data"
        seen += " a month of this function, called by FISO"
        yield Note(code="measured_use", detail=f"{provider} is priced by at least {seen}; what else runs is declared")


def _canary(inputs: DecisionInputs, now: datetime) -> Standing | None:
    """Where the policy's canary stands; None where there is none any more."""
    policy = inputs.entry.policy
    if policy.canary is None or policy.mode is not Mode.ROUTE:
        return None
    state = inputs.states.get(policy.canary.endpoint)
    return canaries.standing(policy.canary, state.canary if state else None, now)


def _returning(breakers: Mapping[EndpointId, Breaker], now: datetime) -> Mapping[EndpointId, float]:
    """The shares of those whose breaker has just closed."""
    return {
        id: share
        for id, breaker in breakers.items()
        if breaker.returned_at is not None and (share := breaker.share(now)) < 1
    }


def cache_key_inputs(
    request: InvocationRequest, inputs: DecisionInputs, now: datetime, *, held: EndpointId | None = None
) -> CacheKeyInputs:
    """What of the inputs makes a cache key, and which of the policy's strategies hold for the request."""
    return CacheKeyInputs(
        entry=inputs.entry,
        snapshot_version=inputs.snapshot_version,
        states=inputs.states,
        model=inputs.model,
        in_flight=inputs.in_flight,
        strategies=_holding(request, inputs.entry, now) if inputs.entry.policy.strategies else (),
        held=held,
    )


def _refuse_unpermitted(wish: Steering, entry: CatalogEntry) -> None:
    """A wish that were left out might send a request where its caller wanted it not to go."""
    made = {
        Wish.MAX_COST: wish.max_cost_usd is not None,
        Wish.PREFER: wish.prefer is not None,
        Wish.EXCLUDE: bool(wish.exclude),
    }
    for kind, is_made in made.items():
        if is_made and kind not in entry.policy.wishes:
            header = f"x-fiso-{kind.value.replace('_', '-')}"
            raise MalformedRequest(f"the policy of {entry.name} lets no caller send {header}")


def _holding(request: InvocationRequest, entry: CatalogEntry, now: datetime) -> tuple[bool, ...]:
    asked = strategies.request_facts(request, function_type=entry.function_type, now=now)
    return tuple(strategies.holds_for_request(strategy, asked) for strategy in entry.policy.strategies)


def rank_candidates(
    request: InvocationRequest,
    inputs: DecisionInputs,
    now: datetime,
    *,
    cache: RankingCache | None = None,
    deprioritised: frozenset[EndpointId] = NOBODY,
    held: EndpointId | None = None,
) -> RankedCandidates:
    """Predict and score every candidate; `NothingAvailable` when there is none.

    Hard constraints, then tiers, then what scores best. Those deprioritised stand last; `held`, a canary, behind all
    that are available.
    """
    entry, policy = inputs.entry, inputs.entry.policy
    chosen_from = constraints.eligible(entry, request.steering)
    if not chosen_from.candidates or _has_lost_home(request, entry, chosen_from):
        raise _nobody(entry, chosen_from.exclusions)
    predictions = _predictions(request, chosen_from.candidates, inputs, now, cache)
    within = constraints.affordable(predictions, request.steering.max_cost_usd)
    if not within.kept:
        raise _nobody(entry, (*chosen_from.exclusions, *within.exclusions))
    rank = partial(ranking_of, request, entry, now=now, deprioritised=deprioritised)
    apart = _apart(held, within.kept, rank, deprioritised) if held else None
    ranking = apart or rank(within.kept)
    candidates = Candidates(
        endpoints={endpoint.id: endpoint for endpoint in chosen_from.candidates},
        predictions={prediction.endpoint: prediction for prediction in predictions},
        deprioritised=deprioritised,
    )
    # Only among the earliest available tier, and of those who keep the objective: nothing explores beyond what the
    # operator asks for. The fallbacks' chance is 0, and is logged as such.
    chances, tried_for = selection.chances_of(
        ranking.primary,
        exploration=policy.exploration,
        seen=_seen(ranking.primary),
        unfolded=features.unfolded(now, inputs.states.values(), inputs.lag_s),
    )
    scores = (*ranking.primary, *ranking.fallback)
    return RankedCandidates(
        candidates=candidates,
        exclusions=(*chosen_from.exclusions, *within.exclusions, *ranking.exclusions),
        notes=ranking.notes,
        scores=scores,
        chances=chances,
        ranked=tuple(candidates.ranked(scores, (*chances, *(0.0 for _ in ranking.fallback)), tried_for)),
        is_held_apart=apart is not None,
    )


def _has_lost_home(request: InvocationRequest, entry: CatalogEntry, found: constraints.Eligibility) -> bool:
    """Whether a wish excludes the one endpoint that mode observe lets be called."""
    if entry.policy.mode is not Mode.OBSERVE or not request.steering.exclude:
        return False
    return all(endpoint.id != entry.policy.home for endpoint in found.candidates)


def _nobody(entry: CatalogEntry, exclusions: Sequence[Exclusion]) -> NothingAvailable:
    reasons = "; ".join(f"{e.endpoint}: {e.detail}" for e in exclusions)
    return NothingAvailable(f"no endpoint of {entry.name} is eligible: {reasons}")


def features_of(
    endpoint: Endpoint, request: InvocationRequest, inputs: DecisionInputs, now: datetime
) -> tuple[float, ...]:
    """The feature snapshot of one endpoint for this very request."""
    state = inputs.states.get(endpoint.id)
    return features.snapshot(
        function_type=inputs.entry.function_type,
        endpoint=endpoint,
        request_size_bytes=len(request.body),
        now=now,
        state=state,
        in_flight=features.in_flight(now, state) if inputs.in_flight is None else inputs.in_flight,
    )


def _predictions(
    request: InvocationRequest,
    endpoints: Sequence[Endpoint],
    inputs: DecisionInputs,
    now: datetime,
    cache: RankingCache | None,
) -> list[Prediction]:
    seen = [features_of(endpoint, request, inputs, now) for endpoint in endpoints]
    loads = [row[features.IN_FLIGHT_AT] for row in seen]

    def believe() -> list[Belief]:
        return beliefs(
            endpoints, inputs.states, loads=loads, tariff=inputs.tariff, now=now, router_region=inputs.router_region
        )

    believed = believe() if cache is None else cache.beliefs(inputs.entry, inputs.states, loads, now, believe)
    candidates = [
        Candidate(endpoint, inputs.states.get(endpoint.id), belief, row)
        for endpoint, row, belief in zip(endpoints, seen, believed, strict=True)
    ]
    predictions = predict(candidates, model=inputs.model, stay=features.stay(now, inputs.states.values()))
    return _with_transfer(predictions, endpoints, request, inputs)


def _with_transfer(
    predictions: list[Prediction], endpoints: Sequence[Endpoint], request: InvocationRequest, inputs: DecisionInputs
) -> list[Prediction]:
    """With what the request costs on its way out of the router's cloud, and an answer of the copy's usual size out of
    its own: nobody knows the size before. A copy that has not answered yet is taken to answer like its siblings."""
    if inputs.router_region is None:
        return predictions
    router = (Provider.AWS, inputs.router_region)
    known = {state.endpoint: state.answer_bytes for state in inputs.states.values() if state.answer_bytes is not None}
    usual = sum(known.values()) / len(known) if known else 0.0
    sent = sized_bytes(len(request.body))
    priced = []
    for prediction, endpoint in zip(predictions, endpoints, strict=True):
        usd = inputs.tariff.transfer_usd(
            router,
            (endpoint.provider, endpoint.region),
            request_bytes=sent,
            response_bytes=known.get(endpoint.id, usual),
        )
        priced.append(replace(prediction, transfer_usd=usd) if usd else prediction)
    return priced


def _deprioritised(request: InvocationRequest, inputs: DecisionInputs, now: datetime) -> frozenset[EndpointId]:
    """Who stands last for now: behind an open breaker, or over a capped share.

    Nobody is when all that are eligible would be, since one must always be tried.
    """
    breakers = inputs.breakers
    if not breakers:
        return NOBODY
    out = frozenset(
        endpoint.id
        for endpoint in inputs.entry.endpoints
        if endpoint.id in breakers and breakers[endpoint.id].is_unavailable(now)
    )
    if not out:
        return NOBODY
    eligible = {endpoint.id for endpoint in constraints.eligible(inputs.entry, request.steering).candidates}
    return out if not eligible <= out else NOBODY


def _home(
    ranked_candidates: RankedCandidates, inputs: DecisionInputs, now: datetime, deprioritised: frozenset[EndpointId]
) -> Reason | None:
    """Why the home endpoint is called whatever scores best, if it is: the mode says so, or a control block does."""
    policy = inputs.entry.policy
    if policy.home not in {score.endpoint for score in ranked_candidates.scores}:
        return None
    if policy.mode is Mode.OBSERVE:
        return Reason.POLICY
    # A control block sends nobody into an open breaker; it stays control all the same, since blocks are compared whole.
    if policy.mode is Mode.PIN or policy.home in deprioritised or not policy.control_share:
        return None
    in_block = constraints.is_control(
        inputs.entry.name, now, share=policy.control_share, block_s=policy.control_block_s
    )
    return Reason.CONTROL if in_block else None


def _choose(
    ranked_candidates: RankedCandidates, policy: Policy, home: Reason | None, draw: float
) -> tuple[tuple[RankedCandidate, ...], Reason]:
    if home is not None:
        order = sorted(ranked_candidates.scores, key=lambda score: score.endpoint != policy.home)
        return tuple(ranked_candidates.candidates.ranked(order, [1.0, *(0.0 for _ in order[1:])])), home
    chosen = selection.picked(ranked_candidates.chances, draw)
    reason = Reason.POLICY if policy.mode is Mode.PIN else Reason.EXPLORE if chosen else Reason.SCORE
    return _chosen_first(ranked_candidates.ranked, chosen), reason


def _steered_ranking(ranked_candidates: RankedCandidates, choice: Choice) -> tuple[RankedCandidate, ...]:
    ranked = [
        replace(candidate, propensity=chance)
        for candidate, chance in zip(ranked_candidates.ranked, choice.chances, strict=True)
    ]
    return _chosen_first(tuple(ranked), choice.index)


def _chosen_first(ranked: tuple[RankedCandidate, ...], chosen: int) -> tuple[RankedCandidate, ...]:
    return ranked if not chosen else (ranked[chosen], *ranked[:chosen], *ranked[chosen + 1 :])


def _seen(scores: Sequence[Score]) -> float:
    return sum(score.observations for score in scores)


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
    """Hard constraints on what is predicted, then tiers, then what scores best, or what the request prefers."""
    limited = constraints.limited(predictions, entry.policy, deprioritised=deprioritised)
    scores = _scores(request, entry, limited.kept, now)
    split = constraints.tiered(scores, entry.policy.tiers, deprioritised=deprioritised)
    primary = scoring.keeping(split.first)
    return Ranking(
        primary=primary,
        fallback=(*split.first[len(primary) :], *split.behind),
        exclusions=limited.exclusions,
        notes=(*limited.notes, *_preference_notes(request.steering.prefer)),
    )


def _preference_notes(prefer: Prefer | None) -> tuple[Note, ...]:
    if prefer is None:
        return ()
    return (Note(code=f"wish_prefers_{prefer}", detail=f"the request prefers {prefer}: it has the weight of both"),)


def _apart(
    held: EndpointId,
    predictions: Sequence[Prediction],
    rank: Callable[[Sequence[Prediction]], Ranking],
    deprioritised: frozenset[EndpointId],
) -> Ranking | None:
    """The ranking of the others, with a canary behind those that are available, for failover. None where the canary is
    all there is: it is then called like any other copy."""
    others = [prediction for prediction in predictions if prediction.endpoint != held]
    if len(others) == len(predictions) or all(p.endpoint in deprioritised for p in others):
        return None
    rest, whole = rank(others), rank(predictions)
    own = [score for score in (*whole.primary, *whole.fallback) if score.endpoint == held]
    ready = [score for score in rest.fallback if score.endpoint not in deprioritised]
    return Ranking(
        primary=rest.primary,
        fallback=(*ready, *own, *rest.fallback[len(ready) :]),
        exclusions=(*rest.exclusions, *(each for each in whole.exclusions if each.endpoint == held)),
        notes=rest.notes,
    )


def _scores(
    request: InvocationRequest, entry: CatalogEntry, predictions: Sequence[Prediction], now: datetime
) -> list[Score]:
    """The policy's weights or its objective, and the strategies that hold. Best first."""
    policy, endpoints = entry.policy, {endpoint.id: endpoint for endpoint in entry.endpoints}
    predicted = {prediction.endpoint: prediction for prediction in predictions}
    by_model = policy.cost_source is CostSource.MODEL
    objective_ms = policy.latency_objective_ms if policy.objective is Objective.CHEAPEST_WITHIN else None
    prefer = request.steering.prefer
    if objective_ms is not None and prefer is not Prefer.LATENCY:
        scores = scoring.by_cost(predictions, objective_ms=objective_ms, cost_by_model=by_model)
    else:
        near = {id: scoring.affinity(endpoints[id].provider, request.user_region) for id in predicted}
        scores = scoring.score(
            predictions,
            near,
            weights=policy.weights if prefer is None else scoring.preferring(policy.weights, prefer),
            scoring=policy.scoring,
            cost_by_model=by_model,
            measure=policy.latency_measure,
        )
    if policy.strategies:
        asked = strategies.request_facts(request, function_type=entry.function_type, now=now)
        known = {id: strategies.Candidate(endpoint=endpoints[id], prediction=predicted[id]) for id in predicted}
        scores = strategies.adjusted(scores, policy.strategies, asked, known)
    return scores if objective_ms is None else scoring.within(scores, predicted, objective_ms=objective_ms)
