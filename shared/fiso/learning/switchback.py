"""Switchbacks: two ways of routing a function, each in whole blocks of time, compared by intervals valid under peeking.

Which arm a block belongs to is a draw of its own (`routing.constraints.is_control`), known beforehand and made for
everybody, so a block that failed over is its arm's all the same. A block counts once, by its mean per request: what
happens within one goes together. The difference of two arms is the mean of (y - m) / p over one's blocks less that of
(y - m) / (1 - p) over the other's, p being the share that is drawn and m the mean of all.

Around it stands a confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit
theory and asymptotic confidence sequences, 2024, theorem 2.2): it holds at every look at once, in the limit of many
blocks. With fewer than FEWEST_BLOCKS of an arm nothing is concluded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from fiso.learning.intervals import Estimate

ALPHA = 0.05
"""Of all measures of an experiment together."""
FEWEST_BLOCKS = 10
TUNED_FOR = 50
"""The number of blocks at which an interval is narrowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The mean per request of one block, and whether it was drawn for the new arm."""

    is_new: bool
    mean: float


def difference(blocks: Sequence[Block], *, share: float, alpha: float) -> Estimate | None:
    """New less old, per request. None while there are too few blocks; `share` is the chance of a new one."""
    of_new = sum(block.is_new for block in blocks)
    if min(of_new, len(blocks) - of_new) < FEWEST_BLOCKS:
        return None
    n, centre = len(blocks), sum(block.mean for block in blocks) / len(blocks)
    each = [(b.mean - centre) / (share if b.is_new else share - 1) for b in blocks]
    value = sum(each) / n
    deviation = sqrt(sum((one - value) ** 2 for one in each) / (n - 1))
    half = deviation * _reach(n, alpha)
    return Estimate(value=value, low=value - half, high=value + half)


def _reach(n: int, alpha: float) -> float:
    """How many standard deviations of one block the interval after n reaches."""
    wanted = -2 * log(alpha)
    tuned = (wanted + log(wanted + 1)) / TUNED_FOR
    grown = n * tuned + 1
    return sqrt(2 * grown / (n * n * tuned) * log(sqrt(grown) / alpha))
