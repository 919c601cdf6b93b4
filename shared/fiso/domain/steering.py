"""Steering: what a policy lets callers wish, how sessions are kept on one copy, and a new copy's canary."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated

from fiso.domain.endpoint import EndpointId
from fiso.domain.fields import AtMost, Impossible, Means, Place, Spelled, Within, violations
from fiso_client.core.sequential import Proportions, Ranks


class Wish(StrEnum):
    """What a caller may wish for one request (`Steering`): it narrows what the policy allows, and never widens it."""

    MAX_COST = "max_cost"  # x-fiso-max-cost
    PREFER = "prefer"  # x-fiso-prefer
    EXCLUDE = "exclude"  # x-fiso-exclude


_TOKEN = Spelled(
    r"^[a-z0-9!#$%&'*+.^_`|~-]{1,63}$", "must be a name as HTTP has it, in lower case, at most 63 characters"
)
_COOKIE = Spelled(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,63}$", "must be a cookie's name, at most 63 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Where a session shows: the `header` whose value names it, or the `cookie` that FISO sets for `life_s` seconds."""

    header: Annotated[str | None, _TOKEN, Means("the header whose value names a session")] = None
    cookie: Annotated[str | None, _COOKIE, Means("the name of the cookie that FISO sets")] = None
    life_s: Annotated[int, Within(1, 604_800), Means("how long a cookie holds, in seconds")] = 3_600

    def __post_init__(self) -> None:
        problems = list(violations(self))
        if (self.header is None) == (self.cookie is None):
            problems.append(((), "needs either a header or a cookie"))
        if problems:
            raise Impossible(problems)


MOST_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A new copy that is tried on a share of requests, and on a larger one after each step in which it did no worse.

    A step lasts `step_minutes` and `step_requests` requests of the copy, whichever is longer. After the last step the
    copy is one like the others. `release` names what is tried: another name begins anew.
    """

    endpoint: EndpointId
    shares: Annotated[
        tuple[float, ...], AtMost(MOST_STEPS), Means("the share of requests in each step, above 0 to 1, not falling")
    ] = (0.05, 0.25, 0.5)
    step_minutes: Annotated[float, Within(0, 10_080), Means("the least that a step lasts")] = 30.0
    step_requests: Annotated[int, Within(1, 1_000_000), Means("the fewest requests of the copy in a step")] = 500
    release: Annotated[str, AtMost(63), Means("what is tried; another one begins anew")] = "1"

    def __post_init__(self) -> None:
        problems = [*violations(self), *self._problems()]
        if problems:
            raise Impossible(problems)

    def _problems(self) -> Iterator[tuple[Place, str]]:
        if not 1 <= len(self.shares) <= MOST_STEPS:
            yield ("shares",), f"must be 1 to {MOST_STEPS} steps"
        for number, share in enumerate(self.shares):
            if not 0 < share <= 1:
                yield ("shares", number), f"must be above 0 and at most 1, not {share!r}"
            elif number and share < self.shares[number - 1]:
                yield ("shares", number), "must not be smaller than the step before"

    @property
    def run(self) -> str:
        """Names this canary: what stands in records and states of another one does not count for it."""
        return _run_of(self)


@lru_cache(maxsize=256)
def _run_of(canary: Canary) -> str:
    told = (canary.endpoint, canary.shares, canary.step_minutes, canary.step_requests, canary.release)
    return blake2b("\n".join(map(str, told)).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryDraw:
    """That a request was drawn for or against a canary: which one, and in which of its steps."""

    endpoint: EndpointId
    run: str
    step: int


CHAMPION, CHALLENGER = "champion", "challenger"
"""The arms of a model's trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDraw:
    """That a request was drawn for an arm of a model's trial; `run` names which one.

    `latency_weight` is what latency weighs against cost in the policy that decided, 0 to 1: an arm is charged for both.
    """

    run: str
    arm: str
    latency_weight: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryBlock:
    """Requests of the canary (`a`) and of the others (`b`) that are not compared yet. Latencies, in ms, are of good
    answers of warm copies."""

    n_a: int = 0
    errors_a: int = 0
    refusals_a: int = 0
    latencies_a: tuple[float, ...] = ()
    n_b: int = 0
    errors_b: int = 0
    refusals_b: int = 0
    latencies_b: tuple[float, ...] = ()


NONE_COUNTED, NONE_RANKED, EMPTY = Proportions(), Ranks(), CanaryBlock()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """What is folded of a canary. `requests` are its own in this `step`, which began at `since`; `errors` (5xx and
    calls that failed), `refusals` (4xx) and `latency` are the tests. `stopped_at` and `why` are set once it did worse.
    """

    run: str
    policy_version: int
    step: int
    since: datetime
    requests: int = 0
    errors: Proportions = NONE_COUNTED
    refusals: Proportions = NONE_COUNTED
    latency: Ranks = NONE_RANKED
    block: CanaryBlock = EMPTY
    stopped_at: datetime | None = None
    why: str = ""
