"""Sequential tests: is one copy worse than its siblings, asked after every request and true all the same. Pure.

Each keeps an e-process: a product of factors whose expectation is at most 1 while the copy is no worse. By Ville's
inequality it reaches 1 / alpha with a probability of at most alpha, however often one looks and whenever one stops
(docs/decisions/0018-sequential-tests.md). Evidence comes in blocks of observations of both, of any sizes, as long as
what ends a block does not depend on what is observed in it; a block without one of both says nothing.

Proportions   of what went wrong: Turner, Ly and Grunwald, Safe tests and always-valid confidence intervals for
              contingency tables and beyond, 2021.
Ranks         of latencies: Mann and Whitney's statistic of each block, bet on (Waudby-Smith and Ramdas, Estimating
              means of bounded random variables by betting, 2024). No assumption on how latencies are distributed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import exp, log, sqrt
from typing import NamedTuple

ALPHA = 0.05
PRIOR_ODD, PRIOR_WELL = 0.18, 0.18
"""What an estimate begins with (Turner et al., section 4): little, so that the first blocks are soon outweighed."""
BOLDEST = 0.75
"""The most of the wealth that is bet on one block's ranks: all of it could be lost at once."""
FIRST_SQUARE, FIRST_BLOCKS = 1 / 3, 4.0
"""The mean square of a uniform rank in [-1, 1], and how many blocks' worth of doubt a bet begins with."""


class Proportions(NamedTuple):
    """Whether things go wrong more often at `a` than at `b`. `log_e` is the evidence, the rest what was counted."""

    log_e: float = 0.0
    odd_a: int = 0
    n_a: int = 0
    odd_b: int = 0
    n_b: int = 0

    def with_block(self, odd_a: int, n_a: int, odd_b: int, n_b: int, *, ratio: float = 1.0) -> "Proportions":
        """After one more block: `odd_a` of `n_a` went wrong at the copy, `odd_b` of `n_b` at its siblings.

        The hypothesis that is tested is p_a <= ratio * p_b; `ratio` must be the same for all blocks, at least 1.
        """
        return Proportions(
            self.log_e + self._log_factor(odd_a, n_a, odd_b, n_b, ratio),
            self.odd_a + odd_a,
            self.n_a + n_a,
            self.odd_b + odd_b,
            self.n_b + n_b,
        )

    def is_worse(self, alpha: float = ALPHA) -> bool:
        return self.log_e >= -log(alpha)

    def _log_factor(self, odd_a: int, n_a: int, odd_b: int, n_b: int, ratio: float) -> float:
        if not (n_a and n_b):
            return 0.0
        # Estimates from earlier blocks only: a bet is placed before the block is seen.
        bet_a, bet_b = _estimate(self.odd_a, self.n_a), _estimate(self.odd_b, self.n_b)
        if bet_a <= ratio * bet_b:
            return 0.0
        null_b = _nearest(bet_a, bet_b, n_a, n_b, ratio)
        return _log_ratio(odd_a, n_a, bet_a, ratio * null_b) + _log_ratio(odd_b, n_b, bet_b, null_b)


def _estimate(odd: int, n: int) -> float:
    return (odd + PRIOR_ODD) / (n + PRIOR_ODD + PRIOR_WELL)


def _nearest(bet_a: float, bet_b: float, n_a: int, n_b: int, ratio: float) -> float:
    """The p_b of the hypothesis (ratio * p_b, p_b) with the least Kullback-Leibler divergence from the bet, by which
    the likelihood ratio is an e-variable for all of the hypothesis, since it is convex."""
    if ratio == 1.0:
        return (n_a * bet_a + n_b * bet_b) / (n_a + n_b)
    # The derivative's zero: q p^2 + s p + t = 0, the root within (0, 1 / ratio).
    n, odd = n_a + n_b, n_a * bet_a + n_b * bet_b
    q = ratio * n
    s = -(n_a * (ratio + bet_a) + n_b * (1 + ratio * bet_b))
    root = sqrt(max(0.0, s * s - 4 * q * odd))
    return 2 * odd / (root - s)


def _log_ratio(odd: int, n: int, bet: float, null: float) -> float:
    well = n - odd
    return (odd * log(bet / null) if odd else 0.0) + (well * log((1 - bet) / (1 - null)) if well else 0.0)


class Ranks(NamedTuple):
    """Whether values at `a` lie above those at `b`. `total` and `squares` are of the ranks of the `blocks` so far."""

    log_e: float = 0.0
    blocks: int = 0
    total: float = 0.0
    squares: float = 0.0

    def with_block(self, a: Sequence[float], b: Sequence[float], *, ratio: float = 1.0) -> "Ranks":
        """After one more block of positive values. The hypothesis that is tested is that a value at `a`, divided by
        `ratio`, is above one at `b` no more often than below."""
        if not (a and b):
            return self
        rank = _mean_rank([value / ratio for value in a], sorted(b))
        return Ranks(
            self.log_e + log(1 + self._bet() * rank), self.blocks + 1, self.total + rank, self.squares + rank * rank
        )

    def is_worse(self, alpha: float = ALPHA) -> bool:
        return self.log_e >= -log(alpha)

    def _bet(self) -> float:
        """The share of the wealth that grows it fastest, to second order, by the blocks so far."""
        mean = self.total / (self.blocks + FIRST_BLOCKS)
        square = (self.squares + FIRST_BLOCKS * FIRST_SQUARE) / (self.blocks + FIRST_BLOCKS)
        return min(BOLDEST, max(0.0, mean / square))


def _mean_rank(values: Sequence[float], sorted_others: Sequence[float]) -> float:
    """In [-1, 1]: the share of pairs in which the value is above less that in which it is below; 0 on average when all
    come from one distribution, whatever it is."""
    above = sum(bisect_left(sorted_others, v) + bisect_right(sorted_others, v) for v in values)
    return above / (len(values) * len(sorted_others)) - 1.0


def log_mean(*log_es: float) -> float:
    """The logarithm of the mean of e-values, which is one itself: several tests at one alpha."""
    largest = max(log_es)
    return largest + log(sum(exp(log_e - largest) for log_e in log_es) / len(log_es))
