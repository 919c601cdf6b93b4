"""Chance: where in a row of calls the trouble lies, and how likely such a row comes about without any. Pure.

The stretch is the one with the largest likelihood ratio (what Page's CUSUM climbs), over a few shares of bad calls. Its
start was chosen by looking, so every probability is multiplied by how many stretches there were to choose from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log

from fiso_client.core.conduct import PRIOR_CALLS, PRIOR_ODD

SHARES = (0.9, 0.5, 0.2)
"""Of bad calls within a stretch, to look for."""
OVER = 0.01
"""Trouble is over when so many good calls in a row would have been as unlikely as this within it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Calls `first` to `last`, both bad, of a row; `bad` of them are. `choices` is how many there were to choose from;
    `good_after` are the good calls behind it, up to the next bad one or the end."""

    first: int
    last: int
    bad: int
    choices: int
    good_after: int

    @property
    def calls(self) -> int:
        return self.last - self.first + 1

    @property
    def is_over(self) -> bool:
        good_share = max(0.05, 1 - self.bad / self.calls)
        return good_share**self.good_after <= OVER


def base_rate(bad: int, calls: int) -> float:
    """The share of bad calls to expect, from so many others: 2 of 100 where nothing was seen."""
    return (bad + PRIOR_ODD) / (calls + PRIOR_CALLS)


def worst_stretch(row: Sequence[bool], rate: float) -> Stretch | None:
    """Where bad calls (True) are more frequent than `rate` by the most evidence; None where none are."""
    best, best_score = None, 0.0
    for share in SHARES:
        if share > rate:
            found, score = _heaviest(row, log(share / rate), log((1 - share) / (1 - rate)))
            if score > best_score:
                best, best_score = found, score
    if best is None:
        return None
    first, last = best
    runs = sum(bad and (place == 0 or not row[place - 1]) for place, bad in enumerate(row))
    after = row[last + 1 :]
    good_after = after.index(True) if True in after else len(after)
    return Stretch(first, last, sum(row[first : last + 1]), max(1, runs * (runs + 1) // 2), good_after)


def _heaviest(row: Sequence[bool], bad: float, good: float) -> tuple[tuple[int, int], float]:
    best, best_score = (0, 0), 0.0
    start, score = 0, 0.0
    for place, is_bad in enumerate(row):
        if score <= 0:
            start, score = place, 0.0
        score += bad if is_bad else good
        if is_bad and score > best_score:
            best, best_score = (start, place), score
    return best, best_score


def of_bad(bad: int, calls: int, rate: float) -> float:
    """That so many or more of the calls are bad where each is with probability `rate` (binomial)."""
    if not bad:
        return 1.0
    terms = (_log_choose(calls, k) + k * log(rate) + (calls - k) * log(1 - rate) for k in range(bad, calls + 1))
    return _summed(terms)


def of_split(bad: int, calls: int, others_bad: int, others: int) -> float:
    """That one side has so many or more of all the bad calls, were both sides alike (Fisher's exact test, 1935)."""
    all_bad, everything = bad + others_bad, calls + others
    whole = _log_choose(everything, all_bad)
    terms = (
        _log_choose(calls, k) + _log_choose(others, all_bad - k) - whole
        for k in range(bad, min(calls, all_bad) + 1)
        if all_bad - k <= others
    )
    return _summed(terms)


def _summed(logs: Iterable[float]) -> float:
    return min(1.0, sum(exp(term) for term in logs))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) if 0 <= k <= n else -inf
