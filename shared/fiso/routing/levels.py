"""Levels: what one endpoint's answers come to at one level of load, folded answer by answer. Pure.

Load is kept in octaves (1, 2 to 3, 4 to 7, ... in flight): what changes with it changes with its logarithm. A mean
remembers about the last 100 answers; a sudden change is noticed by a control chart over the last few (EWMA chart;
Roberts, Technometrics 1959) and begins the level anew, so that a brown-out is believed within some ten answers and a
steady cloud keeps a steady mean. Chosen by argument and on generated worlds, fitted to no measured data.
"""

from bisect import bisect_right
from dataclasses import replace
from datetime import datetime
from math import log, log2, sqrt

from fiso.domain.state import LoadLevel
from fiso.routing.ewma import blend

HIGHEST_BUCKET = 12
SLOWEST_WEIGHT = 0.01
RECENT_WEIGHT = 0.1
SETTLED = 30
"""Warm answers before a change can be told from chance."""
LIMIT = 3.5
"""How many standard errors the recent mean must be off: by chance about once in 2,000 answers."""
LEAST_ERROR = 0.05
"""A difference of less than a few per cent is no change, however steady the answers are."""
USUAL_VARIATION = 0.5
VARIATION_CALLS = 3
"""The coefficient of variation of a single answer while few were seen, and how many answers that counts for."""

IDLE_BINS = (120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Upper ends, in seconds, of the classes of idle time; one more class lies above."""


def load_bucket(in_flight: float) -> int:
    """The octave of a load: 0 up to 1 in flight, 1 from 2, 2 from 4, ..."""
    return min(HIGHEST_BUCKET, int(log2(in_flight))) if in_flight >= 2 else 0


def idle_bin(idle_s: float) -> int:
    """The class of an idle time."""
    return bisect_right(IDLE_BINS, idle_s)


def variation(level: LoadLevel) -> float:
    """The coefficient of variation of one warm answer, shrunk to the usual one while it rests on little."""
    seen = min(level.warm, 1 / SLOWEST_WEIGHT)
    spread = max(0.0, level.latency_square / level.latency_ms**2 - 1) if level.warm > 1 else 0.0
    return sqrt((VARIATION_CALLS * USUAL_VARIATION**2 + seen * spread) / (VARIATION_CALLS + seen))


def with_answer(level: LoadLevel, *, is_cold: bool, unexplained: float) -> LoadLevel:
    """One more answer of either kind. `unexplained`: the chance that idleness would not have made it cold."""
    weight = max(SLOWEST_WEIGHT, 1 / (level.answers + 1)) * unexplained
    return replace(level, answers=level.answers + 1, cold_share=blend(level.cold_share, float(is_cold), weight))


def with_warm(
    level: LoadLevel, *, latency_ms: float, cost_usd: float | None, raw_log: float | None, at: datetime
) -> LoadLevel:
    """One more warm answer; the level begins anew when the recent ones tell of a change."""
    warm = level.warm + 1
    weight = max(SLOWEST_WEIGHT, 1 / warm)
    after = replace(
        level,
        warm=warm,
        latency_ms=blend(level.latency_ms, latency_ms, weight),
        latency_square=blend(level.latency_square, latency_ms**2, weight),
        recent_ms=blend(level.recent_ms, latency_ms, max(RECENT_WEIGHT, 1 / warm)),
        cost_usd=level.cost_usd if cost_usd is None else blend(level.cost_usd, cost_usd, weight),
        raw_log=level.raw_log if raw_log is None else blend(level.raw_log, raw_log, weight),
        last_at=at if level.last_at is None else max(at, level.last_at),
    )
    return _begun_anew(after, at) if _has_changed(after) else after


def _has_changed(level: LoadLevel) -> bool:
    if level.warm <= SETTLED:
        return False
    error = variation(level) * sqrt(RECENT_WEIGHT / (2 - RECENT_WEIGHT))
    return abs(log(level.recent_ms / level.latency_ms)) > LIMIT * max(error, LEAST_ERROR)


def _begun_anew(level: LoadLevel, at: datetime) -> LoadLevel:
    """As if only the answers that the recent mean remembers had been seen; how they vary is kept."""
    return replace(
        level,
        warm=int(1 / RECENT_WEIGHT),
        latency_ms=level.recent_ms,
        latency_square=level.recent_ms**2 * (1 + variation(level) ** 2),
        changed_at=at,
    )
