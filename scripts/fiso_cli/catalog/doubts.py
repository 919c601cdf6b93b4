"""Doubts: what a declared function may ask for and probably did not mean."""

from collections.abc import Iterator

from fiso.billing import tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import FLEX_SIZES_MB, Endpoint, EndpointId, Provider
from fiso.domain.fields import Place
from fiso.domain.policy import Mode, Objective, Policy, Scoring, Weights
from fiso.domain.strategy import CandidateField, RequestField, Strategy
from fiso.routing.constraints import eligible
from fiso.routing.strategies import endpoint_facts, holds
from fiso_cli.catalog.rules import Problem

LONGEST_KEEP_ALIVE_S = 1_200
"""How long the clouds keep an idle copy warm, at most: 5 to 20 minutes."""

Found = Iterator[tuple[Place, str]]


def of_entry(entry: CatalogEntry) -> Iterator[Problem]:
    """What is allowed and probably not meant."""
    for index, endpoint in enumerate(entry.endpoints):
        for key, message in _price_doubts(endpoint):
            yield Problem(place=("functions", entry.name, "endpoints", index, key), message=message)
    for find in (_empty_regions, _unused, _never_reached, _control_doubts, _canary_doubts, _strategy_doubts):
        for place, message in find(entry):
            yield Problem(place=("functions", entry.name, "policy", *place), message=message)


def _price_doubts(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    prices = tariff.current()
    rate, listed = prices.rate(endpoint), prices.lists[endpoint.provider]
    if endpoint.region not in listed.areas:
        yield (
            "region",
            f"{endpoint.provider} has no {endpoint.region} that FISO knows: priced like its neighbours",
        )
    elif rate is None or rate.is_estimated:
        yield "region", f"no price of its own for {endpoint.provider} {endpoint.region}: priced like its neighbours"
    if endpoint.plan is None and endpoint.provider is Provider.AZURE and endpoint.memory_mb not in FLEX_SIZES_MB:
        yield (
            "memory_mb",
            f"{endpoint.memory_mb} is no size of {endpoint.sold_as}: the legacy plan is plan: consumption",
        )


def _empty_regions(entry: CatalogEntry) -> Found:
    policy, regions = entry.policy, {endpoint.region for endpoint in entry.endpoints}
    named = {"allow": policy.allowed_regions, "deny": policy.denied_regions, "residency": policy.residency}
    for key, listed in named.items():
        for region in sorted(listed - regions):
            yield (key,), f"no endpoint is in {region}"


def _unused(entry: CatalogEntry) -> Found:
    policy, default = entry.policy, Policy(version=0)
    if policy.objective is Objective.WEIGHTED and policy.latency_objective_ms is not None:
        yield ("latency_objective_ms",), "is not used: objective is weighted, not cheapest_within"
    if policy.objective is Objective.CHEAPEST_WITHIN:
        if policy.weights != Weights():
            yield ("weights",), "are not used: objective is cheapest_within"
        if policy.scoring is not Scoring.RELATIVE:
            yield ("scoring",), "is not used: objective is cheapest_within"
    if not policy.control_share and policy.control_block_s != default.control_block_s:
        yield ("control_block_s",), "is not used: control_share is 0"
    if policy.mode is not Mode.ROUTE:
        limits = {"max_p95_ms": policy.max_p95_ms, "max_cost_usd": policy.max_cost_usd}
        for key, limit in limits.items():
            if limit is not None:
                yield (key,), f"is not applied in mode {policy.mode}"


def _never_reached(entry: CatalogEntry) -> Found:
    policy = entry.policy
    objective_ms = policy.latency_objective_ms if policy.objective is Objective.CHEAPEST_WITHIN else None
    for key, limit_ms in (("latency_objective_ms", objective_ms), ("max_p95_ms", policy.max_p95_ms)):
        if limit_ms is not None and limit_ms >= policy.timeout_ms:
            yield (key,), f"is not below timeout_ms {policy.timeout_ms}: whatever is slower has timed out"
    if policy.max_p95_ms is not None and objective_ms is not None and objective_ms >= policy.max_p95_ms:
        yield ("latency_objective_ms",), "is not below max_p95_ms: whoever is not excluded keeps it"
    ids = frozenset(endpoint.id for endpoint in entry.endpoints)
    if policy.tiers and policy.tiers[0] >= ids:
        yield ("tiers",), "have no effect: the first one holds every endpoint"


def _control_doubts(entry: CatalogEntry) -> Found:
    policy = entry.policy
    if not policy.control_share:
        return
    if policy.mode is not Mode.ROUTE:
        yield ("control_share",), f"is not used in mode {policy.mode}"
        return
    why = {exclusion.endpoint: exclusion.detail for exclusion in eligible(entry).exclusions}
    if policy.home in why:
        yield ("control_share",), f"never takes effect: home must not be called ({why[policy.home]})"
    if policy.control_block_s < LONGEST_KEEP_ALIVE_S:
        yield ("control_block_s",), f"is shorter than the {LONGEST_KEEP_ALIVE_S} s that clouds keep a copy warm"


def _canary_doubts(entry: CatalogEntry) -> Found:
    canary = entry.policy.canary
    if canary is None:
        return
    if entry.policy.mode is not Mode.ROUTE:
        yield ("canary",), f"is not used in mode {entry.policy.mode}"
        return
    found = eligible(entry)
    why = {exclusion.endpoint: exclusion.detail for exclusion in found.exclusions}
    if canary.endpoint in why:
        yield ("canary",), f"gets no request: {canary.endpoint} must not be called ({why[canary.endpoint]})"
    elif len(found.candidates) == 1:
        yield ("canary",), f"has nothing to be compared with: {canary.endpoint} is the only endpoint that may be called"


def _strategy_doubts(entry: CatalogEntry) -> Found:
    for index, strategy in enumerate(entry.policy.strategies):
        place: Place = ("strategies", index)
        types = [condition for condition in strategy.when if condition.field is RequestField.FUNCTION_TYPE]
        if not all(holds(condition, entry.function_type) for condition in types):
            yield place, f"{strategy.name} never applies: the function's type is {entry.function_type}"
            continue
        moved = _may_move(strategy, entry)
        if not moved:
            yield place, f"{strategy.name} never applies: it matches no endpoint here"
        elif len(moved) == len(entry.endpoints) and not _asks_what_is_predicted(strategy):
            yield place, f"{strategy.name} has no effect: it matches every endpoint here"


def _may_move(strategy: Strategy, entry: CatalogEntry) -> list[EndpointId]:
    """The endpoints that its conditions on facts (not on predictions) let through."""
    facts = {endpoint.id: endpoint_facts(endpoint) for endpoint in entry.endpoints}
    return [
        endpoint
        for endpoint, known in facts.items()
        if all(holds(c, known[c.field]) for c in strategy.candidates if c.field in known)
    ]


def _asks_what_is_predicted(strategy: Strategy) -> bool:
    return any(condition.field is CandidateField.COLD_PROBABILITY for condition in strategy.candidates)
