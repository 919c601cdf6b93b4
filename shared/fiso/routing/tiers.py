"""Tiers: who may be chosen among, and who only stands behind for failover. Pure.

Hard constraints come before tiers, tiers before scores. A later tier is for the time when no earlier one is available;
nothing explores into it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId

Tiers = Sequence[frozenset[EndpointId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered:
    """`first`: the earliest tier in which somebody is available, to choose among. `behind`: everybody else, in the
    order of failover: later tiers one after the other, then the deprioritised ones, again by tier. Within a tier as
    given."""

    first: tuple[Score, ...]
    behind: tuple[Score, ...]


def tiered(scores: Sequence[Score], tiers: Tiers, *, deprioritised: Collection[EndpointId] = ()) -> Tiered:
    """Split scores, given best first. `deprioritised` are not available (an open breaker), unless nobody else is there.

    Endpoints that no tier names belong to the last one. `first` is empty only when there are no scores.
    """
    if not tiers and not deprioritised:
        return Tiered(first=tuple(scores), behind=())
    out = deprioritised if any(score.endpoint not in deprioritised for score in scores) else ()

    def turn(score: Score) -> tuple[bool, int]:
        return score.endpoint in out, place(score.endpoint, tiers)

    in_turn = sorted(scores, key=turn)  # stable: within a turn the order of the scores stays
    first = tuple(score for score in in_turn if turn(score) == turn(in_turn[0]))
    return Tiered(first=first, behind=tuple(in_turn[len(first) :]))


def place(endpoint: EndpointId, tiers: Tiers) -> int:
    """The index of an endpoint's tier; one past the last for an endpoint that no tier names."""
    return next((index for index, tier in enumerate(tiers) if endpoint in tier), len(tiers))
