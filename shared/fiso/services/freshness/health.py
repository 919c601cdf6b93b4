"""Health: how each part of FISO is, for `/healthz`. No address, tenant or function is named: anybody may ask."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fiso.codecs.typed import Document
from fiso.services.freshness.cached import STALE_S

LONGEST_STALE_S = 86_400.0
"""A catalog older than a day goes on serving, and is said to be too old."""


class Level(StrEnum):
    """How a part is. Only `missing` keeps requests from being answered."""

    OK = "ok"
    STALE = "stale"
    FALLBACK = "fallback"
    BASELINE = "baseline"
    SPILLING = "spilling"
    UNREAD = "unread"
    OFF = "off"
    MISSING = "missing"


HEALTHY = frozenset({Level.OK, Level.UNREAD, Level.OFF})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """One part. `reason` says why it is not well; `is_vital`: without the part no request is answered."""

    part: str
    level: Level
    reason: str | None = None
    age_s: float | None = None
    is_vital: bool = False

    @property
    def is_healthy(self) -> bool:
        return self.level in HEALTHY

    @property
    def stops_everything(self) -> bool:
        return self.is_vital and self.level is Level.MISSING


def snapshot_health(age_s: float | None, *, has_copy: bool) -> PartHealth:
    if age_s is None:
        level = Level.STALE if has_copy else Level.MISSING
        reason = "its store does not answer, the copy serves" if has_copy else "none could be read, or published"
        return PartHealth(part="snapshot", level=level, reason=reason, is_vital=True)
    if age_s <= STALE_S:
        return PartHealth(part="snapshot", level=Level.OK, age_s=age_s, is_vital=True)
    too_old = age_s > LONGEST_STALE_S
    reason = "older than a day, the last one serves on" if too_old else "its store does not answer, the last one serves"
    return PartHealth(part="snapshot", level=Level.STALE, reason=reason, age_s=age_s, is_vital=True)


def states_health(readings: Iterable[tuple[float | None, str | None]]) -> PartHealth:
    """The endpoint states', over all functions that were asked for: age, and the problem of the last read."""
    seen = list(readings)
    if not seen:
        return PartHealth(part="states", level=Level.UNREAD)
    oldest_s = max((age_s for age_s, _ in seen if age_s is not None), default=None)
    if not any(problem for _, problem in seen):
        return PartHealth(part="states", level=Level.OK, age_s=oldest_s)
    return PartHealth(part="states", level=Level.STALE, reason="their store does not answer", age_s=oldest_s)


def model_health(*, has_model: bool, problem: str | None) -> PartHealth:
    if not has_model:
        return PartHealth(part="model", level=Level.BASELINE, reason=problem or "no model was packaged or published")
    level = Level.OK if problem is None else Level.FALLBACK
    return PartHealth(part="model", level=level, reason=problem and f"{problem}, the one before serves")


def log_health(*, is_spilling: bool) -> PartHealth:
    reason = "the table takes no records, they go to the function's own log" if is_spilling else None
    return PartHealth(part="log", level=Level.SPILLING if is_spilling else Level.OK, reason=reason)


def lease_health(*, is_set_up: bool, has_keys: bool | None) -> PartHealth:
    """Leasing's. `has_keys` None: nobody asked for a lease here yet."""
    if not is_set_up:
        return PartHealth(part="leases", level=Level.OFF, reason="no parameter with keys is named")
    if has_keys is None:
        return PartHealth(part="leases", level=Level.UNREAD)
    reason = None if has_keys else "the keys could not be read"
    return PartHealth(part="leases", level=Level.OK if has_keys else Level.MISSING, reason=reason)


def tokens_health(*, can_check: bool, has_keys: bool, is_failing: bool) -> PartHealth:
    """That of checking callers' tokens. `has_keys` of the issuer; `is_failing`: its last read failed, or hangs."""
    level, reason = Level.OK if has_keys else Level.UNREAD, None
    if not can_check:
        level, reason = Level.MISSING, "what checks tokens is not installed"
    elif is_failing and has_keys:
        level, reason = Level.STALE, "the issuer does not answer, its last keys serve"
    elif is_failing:
        level, reason = Level.MISSING, "the issuer's keys could not be read"
    return PartHealth(part="tokens", level=level, reason=reason, is_vital=True)


def status_of(parts: Iterable[PartHealth]) -> str:
    """`ok`, `degraded` while requests are answered all the same, or `unavailable`."""
    seen = list(parts)
    if any(part.stops_everything for part in seen):
        return "unavailable"
    return "ok" if all(part.is_healthy for part in seen) else "degraded"


def is_fit(parts: Iterable[PartHealth]) -> bool:
    """Whether requests are better served here than in another region: nothing vital is missing or served stale, and
    neither is what decisions are made on. What merely is not set up, or has not been asked for yet, does not count."""
    seen = list(parts)
    return status_of(seen) != "unavailable" and not any(part.level in (Level.STALE, Level.SPILLING) for part in seen)


def health_document(part: PartHealth) -> Document:
    """One part as a document; what is not known is left out."""
    age_s = None if part.age_s is None else round(part.age_s, 1)
    fields: Document = {"is": part.level.value, "reason": part.reason, "age_s": age_s}
    return {name: value for name, value in fields.items() if value is not None}
