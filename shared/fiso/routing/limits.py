"""Limits: candidates that are predicted to be slower or dearer than the operator accepts.

A limit fails open, unlike residency and denials (see `eligibility`): it is about a guess. When no candidate that is
available is predicted to keep it, refusing would turn a slow hour, or a model that errs, into an outage; so the limit
is left out for that request, and a note says so. Pure.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from fiso.domain.decision import Exclusion, Note, Prediction
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode, Policy


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
                is_met=lambda p: p.cost_usd is not None and p.cost_usd <= dearest_usd,
                excess=lambda p: "without a price" if p.cost_usd is None else f"{p.cost_usd:.3g} USD",
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
