"""Tails: what a copy's rare long answers come to, beside its mean, which cuts them off at a few times itself. Pure.

    excess   what is cut off there, on average over the last 500 answers, in means: so that a policy which minimises the
             mean knows it whole (one answer in fifty of ten seconds is twice the mean of a tenth of one)
    above    the shares of the last 250 answers beyond multiples of the mean, from which the 95th percentile follows

Both are few numbers per level of load. One long answer is hardly evidence against its copy: an excess counts by how
many answers and how many long ones it rests on, and long ones of siblings count in part: some are the function's own.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import NamedTuple

from fiso.domain.state import LoadLevel

CLIPPED_FROM, MOST_AT_ONCE = 3, 5.0
"""From so many warm answers on, one counts in the mean as at most so many times the mean: heavy tails would own it
otherwise (truncated means; Bubeck, Cesa-Bianchi and Lugosi, Bandits with heavy tail, 2013). Several in a row are a
change."""
LARGEST_EXCESS = 1_000.0
"""In means: more than that is a timeout somewhere."""
MULTIPLES = (1.0, 1.3, 1.8, 2.8, 5.0, 15.0, 60.0)
USUAL = (0.407, 0.214, 0.069, 0.008, 0.0, 0.0, 0.0)
"""Beyond these multiples while nothing was seen: of a log-normal with a coefficient of variation of 0.5."""
SHARE_WEIGHT, EXCESS_WEIGHT = 0.004, 0.002
USUAL_CALLS, FUNCTION_CALLS = 10.0, 40.0
"""How many answers the usual shares count for beside those of all the function's copies, and these beside a copy's:
two long ones among the first twenty are chance."""
EXCESS_CALLS, EXCESS_ANSWERS = 200.0, 2.0
"""How many answers without a long one, and how many long ones of no length, an excess is held against."""
OF_FUNCTION = 0.25
"""How much of the excess of all copies is expected of each: what is long may be the request's own."""
LONG_AT = 4
"""Of MULTIPLES: an answer beyond it is a long one."""
SLOW_SHARE = 0.05
LEAST_SHARE = 1e-3
"""Of a hundred answers none says that there is not one in a thousand."""


class Tail(NamedTuple):
    """In the level's own mean: what an answer is expected to take, long ones whole, and the 95th percentile."""

    mean: float
    p95: float


NO_TAIL = Tail(mean=1.0, p95=0.0)
"""Of states that were folded before there were tails: their variation says what the percentile may be."""


def tailed(level: LoadLevel, latency_ms: float) -> LoadLevel:
    """One more warm answer, uncut; `level` as it was before it."""
    if not level.warm:
        return level
    ratio = latency_ms / level.latency_ms
    weight = max(SHARE_WEIGHT, 1 / level.warm)
    before = level.above or USUAL
    above = tuple(
        round(share + weight * ((ratio > multiple) - share), 4)
        for share, multiple in zip(before, MULTIPLES, strict=True)
    )
    cut = min(LARGEST_EXCESS, max(0.0, ratio - MOST_AT_ONCE)) if level.warm >= CLIPPED_FROM else 0.0
    excess = level.excess + max(EXCESS_WEIGHT, 1 / max(1, level.answers)) * (cut - level.excess)
    return replace(level, above=above, excess=round(excess, 5))


class Tails:
    """The tails of a function's copies, each at its own load."""

    def __init__(self, levels: Sequence[LoadLevel]) -> None:
        seen = [(level.above, _shown(level)) for level in levels if level.above]
        calls = USUAL_CALLS + sum(count for _, count in seen)
        self._above = [
            (USUAL_CALLS * usual + sum(count * above[place] for above, count in seen)) / calls
            for place, usual in enumerate(USUAL)
        ]
        heard = sum(_heard(level) for level in levels)
        whole = sum(_heard(level) * _trusted(level) for level in levels)
        self._excess = OF_FUNCTION * whole / heard if heard else 0.0

    def of(self, level: LoadLevel | None) -> Tail:
        """Of one of them; of one that was not seen, the function's."""
        if level is None:
            return Tail(mean=1 + self._excess, p95=_quantile(self._above))
        if not level.above:
            return NO_TAIL
        count = _shown(level)
        above = [_blend(own, count, usual, FUNCTION_CALLS) for own, usual in zip(level.above, self._above, strict=True)]
        unseen = EXCESS_CALLS / (EXCESS_CALLS + _heard(level))
        return Tail(mean=1 + _trusted(level) + unseen * self._excess, p95=_quantile(above))


def _heard(level: LoadLevel) -> float:
    return min(float(level.answers), 1 / EXCESS_WEIGHT)


def _shown(level: LoadLevel) -> float:
    return min(float(level.warm), 1 / SHARE_WEIGHT)


def _trusted(level: LoadLevel) -> float:
    if not level.excess or not level.above:
        return 0.0
    heard, long = _heard(level), level.above[LONG_AT] * _shown(level)
    return level.excess * heard / (heard + EXCESS_CALLS) * long / (long + EXCESS_ANSWERS)


def _blend(own: float, count: float, usual: float, calls: float) -> float:
    return (count * own + calls * usual) / (count + calls)


def _quantile(above: Sequence[float]) -> float:
    """Where a share of SLOW_SHARE lies above, between two multiples by the logarithms of both."""
    before, reached = above[0], MULTIPLES[0]
    if before <= SLOW_SHARE:
        return reached
    for share, multiple in zip(above[1:], MULTIPLES[1:], strict=True):
        if share <= SLOW_SHARE:
            part = log(SLOW_SHARE / before) / log(max(LEAST_SHARE, share) / before)
            return float(reached * (multiple / reached) ** part)
        before, reached = share, multiple
    return reached
