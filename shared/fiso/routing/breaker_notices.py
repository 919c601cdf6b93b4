"""Late calls: what environments tell each other of calls that they still wait for. Pure.

A cloud that swallows requests fails none of them before its deadline. An environment that waits in vain can say so
while it waits, and what several say of one endpoint, without an answer in between, is what a breaker opens for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso_client.core.breaker import CONSECUTIVE, Breaker

NOTICE_VALID_FOR = timedelta(seconds=30)
"""What began longer ago says nothing of now: a call is over by then."""


class Domain(NamedTuple):
    """A fault domain."""

    provider: Provider
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A breaker that opened or closed or is being probed, as environments tell each other, `as_others_see_it`. A
    domain's has no function and endpoint. `whose`: the hash of the tenant whose requests alone it opened for; empty for
    several's, and where nobody said."""

    function: FunctionName | None
    endpoint: EndpointId | None
    domain: Domain
    breaker: Breaker
    whose: str = ""

    @property
    def changed_at(self) -> datetime:
        if self.breaker.changed_at is None:
            raise ValueError("a breaker that never changed makes no transition")
        return self.breaker.changed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowCall:
    """A call that `teller`, an environment, waits for since `began_at`, longer than is fair. It tells of one a time."""

    function: FunctionName
    endpoint: EndpointId
    teller: str
    began_at: datetime

    @property
    def changed_at(self) -> datetime:
        """When it began: of two calls the later one is news."""
        return self.began_at


Notice = Transition | SlowCall
"""What environments share."""


def are_too_many_slow(late: Iterable[SlowCall], *, since: datetime | None, now: datetime) -> bool:
    """Whether so many calls of one endpoint are late that began after its last answer was seen, at `since`."""
    after = max(since, now - NOTICE_VALID_FOR) if since else now - NOTICE_VALID_FOR
    return sum(after < call.began_at <= now for call in late) >= CONSECUTIVE
