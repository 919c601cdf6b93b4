"""Selection: which candidate is called first, and the exact probability with which each could have been. Pure.

The best scored candidate is called, but for two reasons to call another:

worth a try   what its score may still turn out to be is worth more, over as many requests as were seen so far, than
              one try is expected to lose (the knowledge gradient; Frazier, Powell and Dayanik 2008). Tried as often as
              keeps the loss per request, on average so far, within the policy's `exploration`.
a mind kept   inverse-gap weighting (Abe and Long 1999; SquareCB, Foster and Rakhlin 2020): the further behind, the
open          more rarely, so that nothing is ever ruled out and every choice has a known probability.

Both are bounded by expected regret, never a flat rate. The random number is an argument.
"""

from collections.abc import Sequence
from math import erf, exp, inf, log, sqrt

from fiso.domain.decision import Score

UNDIRECTED = 0.05
"""The share of `exploration` that inverse-gap weighting gets, and the most requests it takes."""
FIRST_REQUESTS = 10.0
MOST_REQUESTS = 2_000.0
"""Knowledge is worth its price over as many requests again as were seen (Gott's principle), within these bounds."""
OUT_OF_REACH = 8.0
"""Standard deviations beyond which the gain is below one part in 10^15."""
LEAST_GAP = 1e-9
HOPELESS = 50.0
"""A logarithm of two scores' ratio beyond which nothing is expected of the lower one."""


def propensities(scores: Sequence[Score], *, exploration: float, seen: float) -> tuple[float, ...]:
    """The probability of each score (best first) to be chosen. Sums to 1.

    `exploration` bounds the regret that trying others is expected to cost a request, on average over the `seen` ones
    that were like this, as a share of the best candidate's loss; 0 is pure exploitation. A loss is 1 / score.
    """
    if not scores:
        return ()
    if exploration <= 0 or len(scores) == 1:
        return (1.0, *(0.0 for _ in scores[1:]))
    requests = min(MOST_REQUESTS, seen + FIRST_REQUESTS)
    gaps = [_gap(scores[0], score) for score in scores[1:]]
    # What is learnt is used by all requests to come, about as many as there were so far; a try is paid by one. Without
    # that factor nothing would ever be worth a try, or everything (docs/decisions/0005-prediction-in-layers.md).
    worth = [requests * expected_gain(scores[0], score) > gap for score, gap in zip(scores[1:], gaps, strict=True)]
    tried, count = sum(worth), len(scores)
    undirected = UNDIRECTED / (count - 1)
    others = [
        min(1 / (tried + 1), _allowance(exploration, score, seen) / (tried * gap))
        if is_worth
        else min(undirected, undirected * exploration / gap)
        for score, gap, is_worth in zip(scores[1:], gaps, worth, strict=True)
    ]
    # The best one keeps at least 1 / count, or a crowd of unknown candidates would take all requests.
    scale = 1 / max(1.0, sum(others) * count / (count - 1))
    chances = tuple(chance * scale for chance in others)
    return (1.0 - sum(chances), *chances)


def _allowance(exploration: float, score: Score, seen: float) -> float:
    """What a try may cost now, so that all tries so far cost at most `exploration` per request: what a candidate was
    not tried for is still to spend."""
    # The allowance is an average over all requests so far: what was not spent on a candidate may be spent now, so that
    # a new copy of a busy function is tried at once and not in a thousand requests.
    return exploration * max(1.0, seen / (score.observations + 1))


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
