"""Selection: which candidate is called first, and the exact probability with which each could have been. Pure.

The best scored candidate is called, but for two reasons to call another:

a try is due    one whose answer may be better than the best one's, so far as tries have not cost more than they may.
                A copy that was never called has the first right, the one that is expected to lose least before others:
                what it teaches may spare them. Of known ones a try must be worth more, over as many requests as were
                seen so far, than it is expected to lose (the knowledge gradient; Frazier, Powell and Dayanik 2008).
undirected      inverse-gap weighting (Abe and Long 1999; SquareCB, Foster and Rakhlin 2020): the further behind, the
                more rarely, so that a copy that has become the best is found, and every choice has a known probability.

What tries may cost is a budget that grows with what was called so far, as in conservative exploration (Wu et al.,
Conservative Bandits, 2016): whatever the facts say, the whole lies within it of always calling the best one. It grows
like a share of the requests at first and like their root later, which no learner can do without (Lai and Robbins 1985).
docs/routing.md has the bound and what holds it. The random number is an argument.
"""

from collections.abc import Sequence
from math import erf, exp, inf, log, sqrt
from typing import NamedTuple

from fiso.domain.decision import Purpose, Score

TRY = 0.4
"""The probability of a try that is due: it comes within a few requests, and its propensity is no accident."""
UNFOLDED = 10.0
"""So many requests that were decided and are not folded yet make no difference to how often a try is drawn."""
FREE_TRIES = 2.0
"""What tries may lose before anything was earned, in calls of the best candidate; and tries of each that are free."""
LINEAR_REQUESTS = 400.0
"""For so many requests the budget grows by `exploration` with each, later with their root."""
AGAIN = 0.5
"""The share of the budget that tries of known copies get, beside as much for each request as LATE_SHARE says."""
OVERDRAFT = 0.5
"""What a first try that is expected to pay may cost beyond the budget for each copy there is, in calls of the best one:
while only bad ones are known, waiting costs more than trying."""
SURELY = 2.33
"""A first try of which little is expected waits until its worst plausible price was earned: the 99th percentile."""
LATE_SHARE = 0.2
"""The share of `exploration` that inverse-gap weighting gets, of the loss and of the requests: tries for a reason have
the rest."""
FIRST_REQUESTS = 100.0
MOST_REQUESTS = 2_000.0
"""Knowledge is worth its price over as many requests again as were seen (Gott's principle), within these bounds."""
OUT_OF_REACH = 8.0
"""Standard deviations beyond which the gain is below one part in 10^15."""
LEAST_GAP = 1e-9
HOPELESS = 50.0
"""A logarithm of two scores' ratio beyond which nothing is expected of the lower one."""


class Chances(NamedTuple):
    """For each score the probability to be chosen, and what a try of it is for, None for the best one."""

    chances: tuple[float, ...]
    tried_for: tuple[Purpose | None, ...]


def propensities(
    scores: Sequence[Score], *, exploration: float, seen: float, unfolded: float = 0.0
) -> tuple[float, ...]:
    """`chances_of` without what for."""
    return chances_of(scores, exploration=exploration, seen=seen, unfolded=unfolded).chances


def chances_of(scores: Sequence[Score], *, exploration: float, seen: float, unfolded: float = 0.0) -> Chances:
    """The probability of each score (best first) to be chosen. Sums to 1.

    `exploration` bounds what trying others costs, on average over the `seen` requests that were like this: a share of
    the best candidate's loss, and of the requests; 0 is pure exploitation. A loss is 1 / score. `unfolded` requests
    are under way whose outcomes nobody has folded yet: where there are many, each draws a try more rarely.
    """
    if not scores:
        return Chances((), ())
    if exploration <= 0 or len(scores) == 1:
        return Chances((1.0, *(0.0 for _ in scores[1:])), tuple(None for _ in scores))
    gaps = [_gap(scores[0], score) for score in scores[1:]]
    each = LATE_SHARE * exploration / len(gaps)
    others = [each * min(1.0, 1 / (gap * (1 + gap) * (1 + gap))) for gap in gaps]
    tried_for = [Purpose.UNDIRECTED for _ in gaps]
    due = _due(scores, gaps, exploration, seen)
    if due is not None:
        others[due] = TRY / max(1.0, unfolded / UNFOLDED)
        tried_for[due] = Purpose.NEW_COPY if scores[due + 1].is_new else Purpose.INFORMATION_GAIN
    return Chances((1.0 - sum(others), *others), (None, *tried_for))


def _due(scores: Sequence[Score], gaps: Sequence[float], exploration: float, seen: float) -> int | None:
    """Which of the others is to be tried, if any."""
    others = scores[1:]
    requests = min(MOST_REQUESTS, seen + FIRST_REQUESTS)
    gains = [requests * expected_gain(scores[0], score) for score in others]
    earned = FREE_TRIES + exploration * min(seen, sqrt(LINEAR_REQUESTS * seen))
    first = sum(score.tried_loss / score.tries for score in scores if score.tries)
    # What a first try was expected to lose, or what it lost as is known now, where that is more: but not more than the
    # steep part of the budget earns, since one bad surprise would stop all others for good.
    most = exploration * LINEAR_REQUESTS
    lost = sum(
        max(score.tried_loss / score.tries, min(most, gap))
        for score, gap in zip(scores, (0.0, *gaps), strict=True)
        if score.tries
    )
    due = _first_due(others, gaps, gains, left=earned - lost)
    if due is not None or sum(score.tries for score in scores) > FREE_TRIES * len(scores) + exploration * seen:
        return due
    again = sum(score.tried_loss for score in scores) - first
    left = AGAIN * (earned + LATE_SHARE * exploration * seen) - again
    worth = [
        index
        for index, score in enumerate(others)
        if not score.is_new and gaps[index] <= left and gains[index] > gaps[index]
    ]
    return max(worth, key=gains.__getitem__, default=None)


def _first_due(others: Sequence[Score], gaps: Sequence[float], gains: Sequence[float], *, left: float) -> int | None:
    """Which copy is to be called for the first time: the cheapest that is expected to pay, else the surest."""
    new = [index for index, score in enumerate(others) if score.is_new and gaps[index] < HOPELESS]
    reach = left + OVERDRAFT * (len(others) + 1)
    paying = [index for index in new if gaps[index] <= min(reach, gains[index])]
    if paying:
        return min(paying, key=lambda index: log(1 + gaps[index]) + others[index].doubt ** 2 / 2)
    worst = {index: log(1 + gaps[index]) + SURELY * others[index].doubt for index in new}
    surest = min(new, key=worst.__getitem__, default=None)
    return surest if surest is not None and left > 0 and worst[surest] <= log(1 + left) else None


def capped(chances: Sequence[float], caps: Sequence[float]) -> tuple[float, ...]:
    """The chances with none above its cap; what is over goes to those without one (a cap of 1), in proportion to their
    chances, or to the first of them where none has any. Unchanged where all have a cap: somebody must be called."""
    whole = [index for index, cap in enumerate(caps) if cap >= 1]
    if not whole or len(whole) == len(caps):
        return tuple(chances)
    over = sum(max(0.0, chance - cap) for chance, cap in zip(chances, caps, strict=True))
    theirs = sum(chances[index] for index in whole)
    found = [min(chance, cap) for chance, cap in zip(chances, caps, strict=True)]
    for index in whole:
        found[index] += over * (chances[index] / theirs if theirs > LEAST_GAP else index == whole[0])
    return tuple(found)


def picked(chances: Sequence[float], draw: float) -> int:
    """The index whose part of [0, 1) a draw falls into."""
    reached = 0.0
    for index, chance in enumerate(chances):
        reached += chance
        if draw < reached:
            return index
    return 0


def expected_gain(best: Score, other: Score) -> float:
    """What knowing more of a candidate is expected to save a request, as a share of the best one's loss.

    The expectation of max(0, 1 - L) over the candidate's loss L against the best's, log-normal with its score's
    `learnable` deviation: the price of a put (Black and Scholes 1973).
    """
    deviation = other.learnable
    if other.value <= 0 or best.value <= 0:
        return 0.0
    behind = log(best.value) - log(other.value)
    if behind > HOPELESS or behind > OUT_OF_REACH * deviation > 0:
        return 0.0
    if deviation < 1e-6:
        return max(0.0, 1 - exp(behind))
    above = -behind / deviation
    # the difference of two near-equal tails rounds below zero
    return max(0.0, _normal(above) - exp(behind + deviation**2 / 2) * _normal(above - deviation))


def _gap(best: Score, other: Score) -> float:
    """How much more a candidate is expected to lose than the best one, as a share of the best one's loss."""
    return max(LEAST_GAP, best.value / other.value - 1) if other.value > 0 else inf


def _normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
