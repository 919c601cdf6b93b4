"""Selection: which candidate is called first, and the exact probability with which each could have been.

Inverse-gap weighting (Abe & Long 1999; SquareCB, Foster & Rakhlin 2020): a candidate whose score trails the best by a
gap g is tried with probability 1 / (K + gamma * g), the best takes the rest. A clearly worse candidate is thus tried
rarely in proportion to what it would cost, never at a flat rate. Gamma grows with what was seen of a candidate: of one
that was never called the gap is only a guess. Pure: the random number is an argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId

GAMMA = 200.0
"""How sharply exploration falls with the gap; a gap of 0.1 in score leaves about 1 request in 23. Chosen by argument:
the expected loss per request, gap * probability, stays below 1 / GAMMA = 0.005 of score per candidate."""
HALF_KNOWN = 20
"""Calls after which a candidate's gap counts half: gamma is GAMMA * n / (n + HALF_KNOWN) after n calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The index chosen among the scores given (best first), and every propensity in the same order."""

    chosen: int
    propensities: tuple[float, ...]


def propensities(scores: Sequence[Score], *, exploration: float, calls: Mapping[EndpointId, int]) -> tuple[float, ...]:
    """The probability of each score (best first) to be chosen. Sums to 1.

    `exploration` bounds what all candidates but the best get together; 0 is pure exploitation. `calls` says how often
    each was called so far; one that is absent never was.
    """
    if not scores:
        return ()
    count, best = len(scores), scores[0].value
    span = max(abs(best), 1e-12)
    shares = [1 / (count + _gamma(calls.get(s.endpoint, 0)) * max(0.0, best - s.value) / span) for s in scores[1:]]
    total = sum(shares)
    scale = min(1.0, exploration / total) if total else 0.0
    others = tuple(share * scale for share in shares)
    return (1.0 - sum(others), *others)


def choose(scores: Sequence[Score], *, exploration: float, draw: float, calls: Mapping[EndpointId, int]) -> Selection:
    """Pick by `draw`, uniform in [0, 1)."""
    chances = propensities(scores, exploration=exploration, calls=calls)
    reached = 0.0
    for index, chance in enumerate(chances):
        reached += chance
        if draw < reached:
            return Selection(chosen=index, propensities=chances)
    return Selection(chosen=0, propensities=chances)


def _gamma(calls: int) -> float:
    return GAMMA * calls / (calls + HALF_KNOWN)
