"""The quorum: what at least QUORUM tenants say of a copy, which is all of their reports that counts for others. Pure.

A copy keeps what each of the last MOST_SAID tenants reported last, whatever else they report. Of nine, of which three
lie, the median is between two answers of honest tenants, and near their middle. Fewer can invite others to try a copy
once that they praise. docs/decisions/0020-whose-word-counts.md
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import exp, inf, log
from statistics import median

from fiso.domain.state import LoadLevel, TenantAnswer
from fiso.routing import levels

MOST_LIARS = 3
QUORUM = 3 * MOST_LIARS
FEWEST_NEWER = MOST_LIARS + 2
"""Answers since a tenant's own before they outdate its mean: two of them are honest."""
FEWEST_INVITING = 2
"""One tenant alone moves nobody, ever."""
MOST_SAID = 16
SAID_WITHIN = timedelta(hours=6)
"""What was seen has faded by then (`prediction.beliefs`)."""
MARGIN = 1.25
"""How far a tenant's mean may lie outside of what the others say before it is taken for outdated."""
BESIDE_WEIGHT = 0.1
MOST_PRAISED = 2.0
"""An invitation promises no more than half of the best time that is known."""

Said = Sequence[TenantAnswer]


def with_answer(said: Said, answer: TenantAnswer) -> tuple[TenantAnswer, ...]:
    """The newest answers of the tenants heard last; an older one than its tenant's is no news."""
    if any(known.tenant == answer.tenant and known.at > answer.at for known in said):
        return tuple(said)
    others = [known for known in said if known.tenant != answer.tenant]
    newest = sorted([*others, answer], key=lambda one: one.at)[-MOST_SAID:]
    return tuple(sorted(newest, key=lambda one: one.tenant))


def to(tenant: str, said: Said, caught: Collection[str] = ()) -> Said:
    """What others say to a tenant, as far as they are trusted and it is news."""
    told = [a for a in said if a.tenant != tenant and a.tenant not in caught]
    newest = max((answer.at for answer in told), default=None)
    return [] if newest is None else [a for a in told if newest - a.at <= SAID_WITHIN]


def of(told: Said, bucket: int) -> Said:
    """The good answers at a load; empty where fewer than QUORUM tell of one."""
    found = [answer for answer in told if answer.bucket == bucket and answer.latency_ms is not None]
    return found if len(found) >= QUORUM else []


def heard_at(told: Said) -> datetime:
    """A moment that an honest tenant's newest answer is not older than, however far ahead the liars' are."""
    return sorted(answer.at for answer in told)[-1 - MOST_LIARS]


def median_ms(told: Said) -> float:
    return median(answer.latency_ms for answer in told if answer.latency_ms is not None)


def level(told: Said) -> LoadLevel:
    """The others' word where a tenant has none of its own: worth one answer of each."""
    costs = [answer.cost_usd for answer in told if answer.cost_usd is not None]
    cost_usd = median(costs) if len(costs) >= QUORUM else None
    return replace(_level(median_ms(told), answers=len(told)), cost_usd=cost_usd, last_at=heard_at(told))


def beside(known: float | None, told: Said, latency_ms: float) -> float | None:
    """How a tenant's answers compare with the others', as a mean logarithm: it may be nearer to a copy than they."""
    return levels.blend(known, log(latency_ms / median_ms(told)), BESIDE_WEIGHT) if told else known


def updated(own: LoadLevel, told: Said, usually: float | None) -> LoadLevel:
    """A tenant's own mean, moved as far as FEWEST_NEWER of the newer answers, and half of them, agree that the copy has
    changed."""
    newer = sorted(a.latency_ms for a in told if a.latency_ms and (own.last_at is None or a.at > own.last_at))
    if len(newer) < FEWEST_NEWER:
        return own
    at_edge = min(len(newer) - FEWEST_NEWER, (len(newer) - 1) // 2)
    usual = exp(usually or 0.0)
    low_ms, high_ms = newer[at_edge] * usual / MARGIN, newer[-1 - at_edge] * usual * MARGIN
    latency_ms = min(max(own.latency_ms, low_ms), high_ms)
    if latency_ms == own.latency_ms:
        return own
    moved = latency_ms / own.latency_ms
    return replace(
        own,
        warm=min(own.warm, len(newer)),
        latency_ms=latency_ms,
        latency_square=own.latency_square * moved**2,
        recent_ms=latency_ms,
        cost_usd=None if own.cost_usd is None else own.cost_usd * moved,
        last_at=heard_at(told),
    )


def invitation(told: Said, best_ms: float) -> tuple[int, LoadLevel] | None:
    """A level of a copy that others praise, where a tenant knows none that takes less than `best_ms`: enough to try it
    once. It takes MOST_LIARS more who tried it in vain to end that: as many alone must not keep it from all. What they
    speak ill of is as if they had said nothing: nobody would ever find out."""
    praise = sorted((a for a in told if a.latency_ms and a.latency_ms < best_ms), key=lambda a: a.latency_ms or inf)
    if len(praise) < FEWEST_INVITING or len(told) >= 2 * len(praise) + MOST_LIARS:
        return None
    says = praise[len(praise) // 2]
    latency_ms = max(says.latency_ms or best_ms, best_ms / MOST_PRAISED)
    return says.bucket, _level(latency_ms, answers=1)


def _level(latency_ms: float, *, answers: int) -> LoadLevel:
    return LoadLevel(
        answers=answers,
        warm=answers,
        latency_ms=latency_ms,
        latency_square=latency_ms**2 * (1 + levels.USUAL_VARIATION**2),
        recent_ms=latency_ms,
    )
