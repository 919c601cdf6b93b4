"""Constraints: what decides before any score, in this order. Pure.

eligibility   which endpoints may serve at all, and why each other one may not. Fails closed: nobody may be left.
limits        who is predicted to be slower or dearer than the operator accepts. Fails open, for it rests on a guess:
              when no available candidate is predicted to keep a limit, refusing would turn a slow hour, or a model that
              errs, into an outage; so the limit is left out for that request, and a note says so.
tiers         among whom is chosen, and who stands behind for failover. Nothing explores into a later tier.
control       stretches of time in which every request of a function goes to its home endpoint, to measure savings.

Where endpoints may be: docs/decisions/0012-where-endpoints-may-be.md
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Exclusion, Note, Prediction, Score
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.policy import Mode, Policy
from fiso.domain.request import UNSTEERED, Steering


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The candidates, in catalog order, and every endpoint left out with its reason."""

    candidates: tuple[Endpoint, ...]
    exclusions: tuple[Exclusion, ...]


def eligible(entry: CatalogEntry, wish: Steering = UNSTEERED) -> Eligibility:
    """Split a function's endpoints into candidates and exclusions. Each exclusion names the first rule that applies; a
    caller's wish only ever excludes more."""
    candidates: list[Endpoint] = []
    exclusions: list[Exclusion] = []
    for endpoint in entry.endpoints:
        broken = _refusal(endpoint, entry) or next(_broken_rules(endpoint, entry.policy), None)
        if broken is None and wish.exclude:
            broken = _unwished(endpoint, wish.exclude)
        if broken is None:
            candidates.append(endpoint)
        else:
            exclusions.append(broken)
    return Eligibility(candidates=tuple(candidates), exclusions=tuple(exclusions))


def _refusal(endpoint: Endpoint, entry: CatalogEntry) -> Exclusion | None:
    for code, found in (("address_refused", entry.refused), ("quarantined", entry.quarantined)):
        if endpoint.id in found:
            return Exclusion(endpoint=endpoint.id, code=code, detail=found[endpoint.id])
    return None


def _unwished(endpoint: Endpoint, excluded: frozenset[str]) -> Exclusion | None:
    named = next((name for name in (endpoint.id, endpoint.provider, endpoint.region) if name in excluded), None)
    if named is None:
        return None
    return Exclusion(endpoint=endpoint.id, code="wish_excluded", detail=f"the request excludes {named}")


def _broken_rules(endpoint: Endpoint, policy: Policy) -> Iterator[Exclusion]:
    provider, region = endpoint.provider, endpoint.region

    def out(code: str, detail: str) -> Exclusion:
        return Exclusion(endpoint=endpoint.id, code=code, detail=detail)

    if policy.residency and region not in policy.residency:
        yield out("residency", f"region {region} is outside the residency {_listed(policy.residency)}")
    if provider in policy.denied_providers:
        yield out("provider_denied", f"provider {provider} is denied")
    if policy.allowed_providers and provider not in policy.allowed_providers:
        yield out("provider_not_allowed", f"provider {provider} is not among {_listed(policy.allowed_providers)}")
    if region in policy.denied_regions:
        yield out("region_denied", f"region {region} is denied")
    if policy.allowed_regions and region not in policy.allowed_regions:
        yield out("region_not_allowed", f"region {region} is not among {_listed(policy.allowed_regions)}")
    if policy.mode is Mode.PIN and endpoint.id != policy.pinned:
        yield out("not_pinned", f"traffic is pinned to {policy.pinned}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The predictions that are left, in the order given; the exclusions; and a note per limit that was left out."""

    kept: tuple[Prediction, ...]
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    code: str
    is_met: Callable[[Prediction], bool]
    excess: Callable[[Prediction], str]
    asked: str


def limited(
    predictions: Sequence[Prediction], policy: Policy, *, deprioritised: Collection[EndpointId] = ()
) -> Limited:
    """Apply `max_p95_ms`, then `max_cost_usd` to those left: where no candidate keeps both, time goes before money.

    Never leaves nobody, nor only candidates that are `deprioritised` (behind an open breaker) while others were
    there. A candidate without a price keeps no cost limit. Modes observe and pin say which endpoint is called, so no
    limit is applied in them.
    """
    left, exclusions, notes = tuple(predictions), list[Exclusion](), list[Note]()
    for limit in _limits(policy):
        kept = tuple(prediction for prediction in left if limit.is_met(prediction))
        if len(kept) == len(left):
            continue
        if _leaves_nobody(kept, left, deprioritised):
            detail = f"nobody available is predicted to keep {limit.asked}: the limit was left out"
            notes.append(Note(code=f"{limit.code}_left_out", detail=detail))
            continue
        exclusions += [
            Exclusion(endpoint=p.endpoint, code=limit.code, detail=f"predicted {limit.excess(p)}, beyond {limit.asked}")
            for p in left
            if p not in kept
        ]
        left = kept
    return Limited(kept=left, exclusions=tuple(exclusions), notes=tuple(notes))


def affordable(predictions: Sequence[Prediction], max_cost_usd: float | None) -> Limited:
    """Apply a request's own `x-fiso-max-cost`. It may leave nobody: who names a price for one request wants no dearer
    one. A candidate without a price keeps no price."""
    if max_cost_usd is None:
        return Limited(kept=tuple(predictions))
    kept, exclusions = list[Prediction](), list[Exclusion]()
    for p in predictions:
        if p.price_usd is not None and p.price_usd <= max_cost_usd:
            kept.append(p)
            continue
        detail = f"predicted {_price(p)}, and the request may cost {max_cost_usd:g} USD at most"
        exclusions.append(Exclusion(endpoint=p.endpoint, code="wish_max_cost", detail=detail))
    return Limited(kept=tuple(kept), exclusions=tuple(exclusions))


def _price(prediction: Prediction) -> str:
    return "without a price" if prediction.price_usd is None else f"{prediction.price_usd:.3g} USD"


def tail_ms(prediction: Prediction) -> float:
    """The predicted p95; where none is known yet, the expected latency, which is the least that it can be taken for."""
    return prediction.latency_ms if prediction.p95_ms is None else prediction.p95_ms


def _limits(policy: Policy) -> list[_Limit]:
    found: list[_Limit] = []
    if policy.mode is not Mode.ROUTE:
        return found
    slowest_ms, dearest_usd = policy.max_p95_ms, policy.max_cost_usd
    if slowest_ms is not None:
        found.append(
            _Limit(
                code="max_p95_ms",
                is_met=lambda p: tail_ms(p) <= slowest_ms,
                excess=lambda p: f"p95 {tail_ms(p):.0f} ms",
                asked=f"max_p95_ms {slowest_ms:g}",
            )
        )
    if dearest_usd is not None:
        found.append(
            _Limit(
                code="max_cost_usd",
                is_met=lambda p: p.price_usd is not None and p.price_usd <= dearest_usd,
                excess=_price,
                asked=f"max_cost_usd {dearest_usd:g}",
            )
        )
    return found


def _leaves_nobody(
    kept: Sequence[Prediction], left: Sequence[Prediction], deprioritised: Collection[EndpointId]
) -> bool:
    if not kept:
        return True
    return all(p.endpoint in deprioritised for p in kept) and not all(p.endpoint in deprioritised for p in left)


Tiers = Sequence[frozenset[EndpointId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered:
    """`first`: the earliest tier in which somebody is available, to choose among. `behind`: everybody else, in the
    order of failover: later tiers one after the other, then the deprioritised ones, again by tier. Within a tier as
    given."""

    first: tuple[Score, ...]
    behind: tuple[Score, ...]


def tiered(scores: Sequence[Score], tiers: Tiers, *, deprioritised: Collection[EndpointId] = ()) -> Tiered:
    """Split scores, given best first. `deprioritised` are not available (an open breaker), unless nobody else is there.

    Endpoints that no tier names belong to the last one. `first` is empty only when there are no scores.
    """
    if not tiers and not deprioritised:
        return Tiered(first=tuple(scores), behind=())
    out = deprioritised if any(score.endpoint not in deprioritised for score in scores) else ()

    def turn(score: Score) -> tuple[bool, int]:
        return score.endpoint in out, tier_of(score.endpoint, tiers)

    in_turn = sorted(scores, key=turn)  # stable: within a turn the order of the scores stays
    first = tuple(score for score in in_turn if turn(score) == turn(in_turn[0]))
    return Tiered(first=first, behind=tuple(in_turn[len(first) :]))


def tier_of(endpoint: EndpointId, tiers: Tiers) -> int:
    """The index of an endpoint's tier; one past the last for an endpoint that no tier names."""
    return next((index for index, tier in enumerate(tiers) if endpoint in tier), len(tiers))


_RANGE = 2**64


# Blocks, not single requests (a switchback design): a thin trickle of control requests would find the home endpoint
# colder than full traffic does, and flatter the router. A block should be longer than the clouds keep an idle copy warm
# (5 to 20 minutes). Whole blocks are compared, by their number: one in which home was unavailable is still control.
def is_control(function: str, at: datetime, *, share: float, block_s: int) -> bool:
    """Whether a time lies in a control block of the function: the same answer in every environment.

    Every block is drawn for itself with probability `share` by a hash of function and block number, so the draws of
    functions are independent, and raising the share only adds blocks.
    """
    if share <= 0:
        return False
    seed = f"{function}\n{block_of(at, block_s=block_s)}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big") < share * _RANGE


def block_of(at: datetime, *, block_s: int) -> int:
    """The number of the block that a time (aware) lies in, counted from 1970."""
    return int(at.timestamp() // block_s)
