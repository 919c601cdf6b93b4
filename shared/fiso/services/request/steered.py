"""Steered choices: what a session, a canary and a copy that has just come back make of a ranking. Pure.

Whoever is chosen, the chances are those with which each could have been, and sum to 1:

session   its copy is called while that is available: 1. Chosen by the session and not by this request, so estimates
          leave such records out (`DecisionSummary.is_sticky`).
canary    its share, exactly; the others have the rest of theirs.
return    a copy whose breaker has just closed is called with at most its share (`Breaker.share`), and what is over goes
          to the others in proportion: a copy that comes back cold would otherwise get everything at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fiso.domain.decision import Reason, Score
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Policy
from fiso.domain.request import InvocationRequest
from fiso.domain.steering import CanaryDraw
from fiso.routing import affinity, constraints, selection
from fiso.routing.canaries import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the scores is called first, and the chance of each."""

    index: int
    chances: tuple[float, ...]
    reason: Reason
    is_sticky: bool = False
    canary: CanaryDraw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is chosen from: `scores` in the order of the ranking, `chances` of the first ones as scores make them.

    `canary` is set where it is held apart from them; `returning` has the shares of copies that have just come back.
    """

    request: InvocationRequest
    policy: Policy
    scores: Sequence[Score]
    chances: Sequence[float]
    deprioritised: Collection[EndpointId]
    returning: Mapping[EndpointId, float]
    canary: Standing | None

    @property
    def canary_share(self) -> float:
        canary = self.canary
        if canary is None or canary.draw.endpoint in self.deprioritised:
            return 0.0
        if all(score.endpoint != canary.draw.endpoint for score in self.scores):
            return 0.0  # excluded
        return min(canary.share, self.returning.get(canary.draw.endpoint, 1.0))

    def position(self, endpoint: EndpointId) -> int:
        return next(index for index, score in enumerate(self.scores) if score.endpoint == endpoint)

    def only(self, index: int) -> tuple[float, ...]:
        return tuple(float(place == index) for place in range(len(self.scores)))


def choose(seen: Situation, draw: float) -> Choice:
    """The choice for one request. `draw` is uniform in [0, 1)."""
    rules = seen.policy.affinity
    session = seen.request.session.value if rules is not None and seen.request.session else None
    has_cookie = rules is not None and rules.cookie is not None
    if session is not None and has_cookie and (kept := _kept(seen, session)) is not None:
        index = seen.position(kept)
        return Choice(index=index, chances=seen.only(index), reason=Reason.AFFINITY, is_sticky=True)
    session = None if has_cookie else session
    share, drawn = seen.canary_share, seen.canary.draw if seen.canary and seen.canary_share else None
    if drawn is not None and affinity.share_of(drawn.run, session or seen.request.invocation_id) < share:
        index = seen.position(drawn.endpoint)
        chances = _beside(seen, share)
        return Choice(index=index, chances=chances, reason=Reason.CANARY, is_sticky=session is not None, canary=drawn)
    if session is not None and (kept := _kept(seen, session)) is not None:
        index = seen.position(kept)
        return Choice(index=index, chances=seen.only(index), reason=Reason.AFFINITY, is_sticky=True, canary=drawn)
    capped = _capped(seen)
    index = selection.picked(capped, draw)
    reason = Reason.SCORE if index in (0, _first_whole(seen)) else Reason.EXPLORE
    return Choice(index=index, chances=_beside(seen, share), reason=reason, canary=drawn)


def _kept(seen: Situation, session: str) -> EndpointId | None:
    rules = seen.policy.affinity
    if rules is None:
        return None
    available = _available(seen)
    if rules.header is not None:
        # Back with as many sessions as its share: the same ones stay while the share grows.
        back = [id for id in available if affinity.share_of(session, id, "back") < seen.returning.get(id, 1.0)]
        available = back or available
    elif seen.canary is not None and seen.canary_share:
        available = [*available, seen.canary.draw.endpoint]
    request = seen.request
    return affinity.kept(rules, session, available, function=request.function, now=request.received_at)


def _available(seen: Situation) -> list[EndpointId]:
    """Those of the earliest tier of which one is available; never a canary."""
    held, tiers = seen.canary.draw.endpoint if seen.canary else None, seen.policy.tiers
    found = [s.endpoint for s in seen.scores if s.endpoint not in seen.deprioritised and s.endpoint != held]
    tier = min((constraints.tier_of(id, tiers) for id in found), default=0)
    return [id for id in found if constraints.tier_of(id, tiers) == tier]


def _capped(seen: Situation) -> tuple[float, ...]:
    caps = [seen.returning.get(score.endpoint, 1.0) for score in seen.scores[: len(seen.chances)]]
    return selection.capped(seen.chances, caps)


def _first_whole(seen: Situation) -> int:
    """The best scored of those that get all their chance."""
    scored = seen.scores[: len(seen.chances)]
    return next((index for index, score in enumerate(scored) if score.endpoint not in seen.returning), 0)


def _beside(seen: Situation, share: float) -> tuple[float, ...]:
    """The chances of all when the canary gets its share first."""
    chances = [*_capped(seen), *(0.0 for _ in seen.scores[len(seen.chances) :])]
    if not (share and seen.canary):
        return tuple(chances)
    others = [chance * (1 - share) for chance in chances]
    others[seen.position(seen.canary.draw.endpoint)] = share
    return tuple(others)
