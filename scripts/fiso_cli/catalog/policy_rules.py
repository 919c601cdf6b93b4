"""Rules of a declared policy that need more than one key: who is named, what needs what, what was hardly meant."""

from collections.abc import Iterator, Sequence

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode, Objective, Policy, Scoring, Weights
from fiso.domain.strategy import CandidateField, RequestField, Strategy
from fiso.routing.eligibility import eligible
from fiso.routing.strategies import endpoint_facts, holds
from fiso_cli.catalog.problems import Place, Problem
from fiso_cli.catalog.schema import DeclaredFunction, DeclaredPolicy

LONGEST_KEEP_ALIVE_S = 1_200
"""How long the clouds keep an idle copy warm, at most: 5 to 20 minutes."""

Found = Iterator[tuple[Place, str]]


def problems(function: DeclaredFunction, policy: DeclaredPolicy) -> Found:
    """What is wrong with a policy (defaults included), each with its place within the function."""
    ids = [endpoint.id for endpoint in function.endpoints]
    yield from _reference_problems(policy, ids)
    yield from _tier_problems(policy, ids)
    if policy.mode == "observe" and policy.home is None:
        yield ("policy", "home"), "is missing: mode observe calls it"
    if policy.control_share and policy.home is None:
        yield ("policy", "home"), "is missing: control_share sends its blocks there"
    if policy.objective is Objective.CHEAPEST_WITHIN and policy.latency_objective_ms is None:
        yield ("policy", "latency_objective_ms"), "is missing: objective cheapest_within needs it"
    names = [strategy.name for strategy in policy.strategies]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield ("policy", "strategies", index), f"{name!r} is already there"


def warnings(entry: CatalogEntry) -> Iterator[Problem]:
    """What is allowed and probably not meant."""
    for finders in (_unused, _never_reached, _control_doubts, _strategy_doubts):
        for place, message in finders(entry):
            yield Problem(place=("functions", entry.name, "policy", *place), message=message)


def _reference_problems(policy: DeclaredPolicy, ids: Sequence[str]) -> Found:
    named = {"home": policy.home, "mode": policy.mode.removeprefix("pin:") if policy.mode.startswith("pin:") else None}
    for key, endpoint in named.items():
        if endpoint is not None and endpoint not in ids:
            yield ("policy", key), f"no endpoint {endpoint!r} here, only {', '.join(ids)}"


def _tier_problems(policy: DeclaredPolicy, ids: Sequence[str]) -> Found:
    taken: set[str] = set()
    for number, tier in enumerate(policy.tiers):
        for position, endpoint in enumerate(tier):
            place: Place = ("policy", "tiers", number, position)
            if endpoint not in ids:
                yield place, f"no endpoint {endpoint!r} here, only {', '.join(ids)}"
            elif endpoint in taken:
                yield place, f"{endpoint!r} already stands in a tier"
            taken.add(endpoint)


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
