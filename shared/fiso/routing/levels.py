"""Levels: what the answers of one endpoint come to, folded answer by answer: load, starts, the model's shape. Pure.

Load is kept in octaves (1, 2 to 3, 4 to 7, ... in flight): what changes with it changes with its logarithm. A mean
remembers about the last 100 answers; a sudden change is noticed by a control chart over the last few (EWMA chart;
Roberts, Technometrics 1959) and begins the level anew, so that a brown-out is believed within some ten answers and a
steady cloud keeps a steady mean. Chosen by argument and on generated worlds, fitted to no measured data.

A cold start is counted and measured, and says nothing about the level of warm calls. How likely one is after idleness:
mikhail.io/serverless/coldstarts, "When does a cold start happen", snapshot of 2021-01-07, read off at the middle of
each class of idle time. Providers change this without notice, so a curve only counts as CURVE_CALLS of our own calls.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from math import exp, log, log2, sqrt

from fiso.domain.endpoint import Provider
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState, LoadLevel, RivalShape
from fiso.domain.steering import CHALLENGER
from fiso.routing.tails import CLIPPED_FROM, MOST_AT_ONCE, tailed

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
COLD_AFTER_IDLE = {
    Provider.AWS: (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    Provider.AZURE: (0.0, 0.08, 0.1, 0.2, 0.5, 0.95, 1.0),
    Provider.GCP: (0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0),
}
"""The chance of a cold start by class of idle time."""
CURVE_CALLS = 3.0
CURVE_DOUBT = 1.0
START_MS = {Provider.AWS: 650.0, Provider.AZURE: 2140.0, Provider.GCP: 1450.0}
"""What a cold start adds: medians over languages and package sizes of the same snapshot (11,642, 6,191 and 848 starts).
"""

WEIGHT = 0.1
"""An average remembers about the last 10 calls; the first ten count alike. Chosen by argument, fitted to no data."""
COLD_WEIGHT = 0.05
"""Starts are rarer: the last 20."""
LARGEST_LOSS = 100.0
"""What one try is taken to have lost at most, in calls of the best candidate."""
SHAPE_MEMORY = 0.99
"""How much of the shape's evidence one more answer leaves: the last 100."""


def blend(old: float | None, new: float, weight: float) -> float:
    """The exponentially weighted average after one more observation; the first observation stands for itself."""
    return new if old is None else old + weight * (new - old)


def decay(elapsed_s: float, time_constant_s: float) -> float:
    """How much of an average is left after a time: exp(-elapsed / constant), in (0, 1]."""
    return exp(-max(0.0, elapsed_s) / time_constant_s)


def load_bucket(in_flight: float) -> int:
    """The octave of a load: 0 up to 1 in flight, 1 from 2, 2 from 4, ..."""
    return min(HIGHEST_BUCKET, int(log2(in_flight))) if in_flight >= 2 else 0


def idle_bin(idle_s: float) -> int:
    return bisect_right(IDLE_BINS, idle_s)


def variation(level: LoadLevel) -> float:
    """The coefficient of variation of one warm answer, shrunk to the usual one while it rests on little: a first answer
    may be one in a hundred, however steady the siblings are."""
    seen = min(level.warm, 1 / SLOWEST_WEIGHT)
    spread = max(0.0, level.latency_square / level.latency_ms**2 - 1) if level.warm > 1 else 0.0
    return sqrt((VARIATION_CALLS * USUAL_VARIATION**2 + seen * spread) / (VARIATION_CALLS + seen))


def answered(level: LoadLevel, *, is_cold: bool, unexplained: float) -> LoadLevel:
    """One more answer of either kind. `unexplained`: the chance that idleness would not have made it cold."""
    # A start that idleness explains says nothing of starts under load: it counts by the chance that it does not.
    weight = max(SLOWEST_WEIGHT, 1 / (level.answers + 1)) * unexplained
    return replace(level, answers=level.answers + 1, cold_share=blend(level.cold_share, float(is_cold), weight))


def warmed(
    level: LoadLevel,
    *,
    latency_ms: float,
    cost_usd: float | None,
    raw_log: float | None,
    at: datetime,
    billed_ms: float | None = None,
) -> LoadLevel:
    """One more warm answer; the level begins anew when the recent ones tell of a change."""
    warm = level.warm + 1
    weight = max(SLOWEST_WEIGHT, 1 / warm)
    level = tailed(level, latency_ms)
    if level.warm >= CLIPPED_FROM:
        latency_ms = min(latency_ms, MOST_AT_ONCE * level.latency_ms)
    after = replace(
        level,
        warm=warm,
        latency_ms=blend(level.latency_ms, latency_ms, weight),
        latency_square=blend(level.latency_square, latency_ms**2, weight),
        recent_ms=blend(level.recent_ms, latency_ms, max(RECENT_WEIGHT, 1 / warm)),
        billed_ms=level.billed_ms if billed_ms is None else blend(level.billed_ms, billed_ms, weight),
        cost_usd=level.cost_usd if cost_usd is None else blend(level.cost_usd, cost_usd, weight),
        raw_log=level.raw_log if raw_log is None else blend(level.raw_log, raw_log, weight),
        last_at=at if level.last_at is None else max(at, level.last_at),
    )
    return _begun_anew(after, at) if _has_changed(after) else after


def _has_changed(level: LoadLevel) -> bool:
    if level.warm <= SETTLED:
        return False
    # The standard error of an exponentially weighted mean of independent answers, as a share of the mean.
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


def curve_truth(known: Iterable[tuple[Provider, EndpointState]]) -> float:
    """How far the published curves hold for a function: the cold starts that all its copies showed after silences, over
    those that the curves say; at most 1. One call that is cold for sure counts for them while nothing was seen."""
    expected = seen = CURVE_DOUBT
    for provider, state in known:
        for calls, colds, chance in zip(state.idle_calls, state.idle_colds, COLD_AFTER_IDLE[provider], strict=False):
            expected, seen = expected + calls * chance, seen + (colds if chance else 0)
    return min(1.0, seen / expected)


def cold_after_idle(provider: Provider, idle_s: float, state: EndpointState | None, truth: float = 1.0) -> float:
    """P(cold | idle): the published chance, as far as it holds for the function (`curve_truth`), blended with how often
    this endpoint was cold after as long a silence."""
    index = idle_bin(idle_s)
    published = COLD_AFTER_IDLE[provider][index] * truth
    calls = state.idle_calls[index] if state and state.idle_calls else 0
    colds = state.idle_colds[index] if state and state.idle_colds else 0
    return (published * CURVE_CALLS + colds) / (CURVE_CALLS + calls)


def with_answer(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary) -> EndpointState:
    is_cold = attempt.cold_start is True
    seen, provider = record.decision.features, record.result.cloud_provider
    bucket, idle_s = load_bucket(seen.get("in_flight", 0.0)), seen.get("idle_seconds", 0.0)
    explained = cold_after_idle(provider, idle_s, state) if provider else 0.0
    level = answered(state.levels.get(bucket, LoadLevel()), is_cold=is_cold, unexplained=1 - explained)
    counted = replace(
        state,
        cold_starts=state.cold_starts + is_cold,
        cold_known=state.cold_known + (attempt.cold_start is not None),
        idle_calls=_counted(state.idle_calls, idle_bin(idle_s), 1),
        idle_colds=_counted(state.idle_colds, idle_bin(idle_s), int(is_cold)),
        levels={**state.levels, bucket: level},
    )
    if is_cold or attempt.latency_ms <= 0:
        return _with_cold(counted, attempt) if is_cold else counted
    return _with_warm(counted, record, attempt, bucket)


def with_try(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary, *, load: float) -> EndpointState:
    """One more call that was made to learn, whatever came of it: a copy that only fails is tried no more often."""
    bucket = load_bucket(load)
    level = state.levels.get(bucket, LoadLevel())
    lost = level.tried_loss + _expected_loss(record, attempt)
    return replace(state, levels={**state.levels, bucket: replace(level, tries=level.tries + 1, tried_loss=lost)})


def _expected_loss(record: InvocationRecord, attempt: AttemptSummary) -> float:
    """How much more a try was expected to lose than the best candidate, as a share of the best one's loss."""
    could = [candidate for candidate in record.decision.candidates if candidate.propensity > 0]
    own = next((candidate.score for candidate in could if candidate.endpoint == attempt.endpoint), 0.0)
    best = max((candidate.score for candidate in could), default=0.0)
    return min(LARGEST_LOSS, best / own - 1) if own > 0 else 0.0


def _with_cold(state: EndpointState, attempt: AttemptSummary) -> EndpointState:
    weight = max(COLD_WEIGHT, 1 / state.cold_starts)
    cost = state.cold_cost_usd if attempt.cost_usd is None else blend(state.cold_cost_usd, attempt.cost_usd, weight)
    return replace(state, cold_latency_ms=blend(state.cold_latency_ms, attempt.latency_ms, weight), cold_cost_usd=cost)


def _with_warm(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary, bucket: int) -> EndpointState:
    latency_ms, weight = attempt.latency_ms, max(WEIGHT, 1 / (state.warm_answers + 1))
    mean_ms = blend(state.latency_ms, latency_ms, weight)
    raw_log = _raw_log(record)
    shaped = state
    if raw_log is not None and _is_on_trial(state, record):
        shaped, raw_log = _with_rival(state, record, latency_ms, raw_log, bucket), None
    elif raw_log is not None:
        shaped = _with_shape(state, record, latency_ms, raw_log, bucket)
    level = warmed(
        shaped.levels[bucket],
        latency_ms=latency_ms,
        billed_ms=attempt.billed_ms,
        cost_usd=attempt.cost_usd,
        raw_log=raw_log,
        at=attempt.started_at,
    )
    return replace(
        shaped,
        warm_answers=state.warm_answers + 1,
        latency_ms=mean_ms,
        latency_deviation_ms=blend(state.latency_deviation_ms, abs(latency_ms - mean_ms), weight),
        levels={**shaped.levels, bucket: level},
    )


def _with_shape(
    state: EndpointState, record: InvocationRecord, latency_ms: float, raw_log: float, bucket: int
) -> EndpointState:
    """The evidence for the model's shape, begun anew with every model: its means are the model's own."""
    if state.shape_model_version != record.decision.model_version:
        cleared = {key: replace(level, raw_log=None) for key, level in state.levels.items()}
        version, rival = record.decision.model_version or "", state.rival
        if rival is not None and rival.model_version == version:  # promoted: what its trial has shown is not lost
            cleared = {key: replace(level, raw_log=rival.raw_logs.get(key)) for key, level in cleared.items()}
            return replace(
                state, shape_model_version=version, shape_xx=rival.xx, shape_xy=rival.xy, levels=cleared, rival=None
            )
        return replace(state, shape_model_version=version, shape_xx=0.0, shape_xy=0.0, levels=cleared, rival=None)
    level = state.levels[bucket]
    if level.raw_log is None or not level.warm:
        return state
    told, seen = raw_log - level.raw_log, log(latency_ms / level.latency_ms)
    return replace(
        state,
        shape_xx=state.shape_xx * SHAPE_MEMORY + told * told,
        shape_xy=state.shape_xy * SHAPE_MEMORY + told * seen,
    )


def _is_on_trial(state: EndpointState, record: InvocationRecord) -> bool:
    draw = record.decision.arm
    is_drawn = draw is not None and draw.arm == CHALLENGER
    return is_drawn and state.shape_model_version != record.decision.model_version


def _with_rival(
    state: EndpointState, record: InvocationRecord, latency_ms: float, raw_log: float, bucket: int
) -> EndpointState:
    """As `_with_shape`, of a model on trial beside the one whose evidence `shape_*` is."""
    version, rival = record.decision.model_version or "", state.rival
    if rival is None or rival.model_version != version:
        rival = RivalShape(model_version=version)
    level, known = state.levels[bucket], rival.raw_logs.get(bucket)
    if known is not None and level.warm:
        told, seen = raw_log - known, log(latency_ms / level.latency_ms)
        rival = replace(rival, xx=rival.xx * SHAPE_MEMORY + told * told, xy=rival.xy * SHAPE_MEMORY + told * seen)
    mean = raw_log if known is None else blend(known, raw_log, WEIGHT)
    return replace(state, rival=replace(rival, raw_logs={**rival.raw_logs, bucket: mean}))


def _raw_log(record: InvocationRecord) -> float | None:
    """The logarithm of what the model said before any correction; None where none did, or the answer is an error."""
    if (
        record.result.error_occurred
        or record.decision.prediction_source != "model"
        or not record.decision.raw_latency_ms
    ):
        return None
    return log(record.decision.raw_latency_ms)


def _counted(counts: tuple[int, ...], index: int, more: int) -> tuple[int, ...]:
    full = counts or (0,) * (len(IDLE_BINS) + 1)
    return (*full[:index], full[index] + more, *full[index + 1 :])
