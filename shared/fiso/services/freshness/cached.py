"""What is cached: values read from stores, refreshed while a provider is awaited, served stale when a store is away.

Lambda freezes the environment after the answer, so nothing refreshes in the background: a value older than FRESH_S is
read again during the wait for the provider, one older than STALE_S before deciding, as long as the request's budget
lasts. A store that hung is asked on, but not waited for again until it has answered once.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from fiso.ports import Clock
from fiso.services.freshness.staleness import Instant, StalenessClock
from fiso.services.freshness.wait_budget import FIRST_STORE_WAIT_S, STORE_WAIT_S, StoreWaitBudget
from fiso_client.core.failures import FisoError

T = TypeVar("T")

FRESH_S = 5.0
STALE_S = 60.0
RETRY_S = 1.0
"""A store that just failed is not asked again sooner: its loss costs one wait a second, not one a request."""
__all__ = ["FIRST_STORE_WAIT_S", "FRESH_S", "RETRY_S", "STALE_S", "STORE_WAIT_S", "CachedValue", "Reading"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """A value and when it was read."""

    value: T
    read_at: Instant


class CachedValue(Generic[T]):
    """One value with its age. `read` gets the value cached so far (or None) and returns the one to keep.

    `budget` is shared by everything that one request may wait for. `is_needed`: nothing can stand in for the value,
    so that its first read may take the first budget.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[T | None], T],
        *,
        clock: Clock,
        executor: Executor,
        stale_s: float = STALE_S,
        budget: StoreWaitBudget | None = None,
        is_needed: bool = True,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        self._name, self._read, self._executor = (name, read, executor)
        self._ageing = StalenessClock(clock=clock, ticks=ticks)
        self._budget, self._own_budget = budget or StoreWaitBudget(), budget is None
        self._stale_s, self._is_needed = stale_s, is_needed
        self._reading: Reading[T] | None = None
        self._running: Future[None] | None = None
        self._tried: Instant | None = None
        self._hung = False
        self.problem: str | None = None
        """Why the last read that ended gave nothing; None when it gave a value."""

    @property
    def value(self) -> T | None:
        """The value as last read; None before the first read succeeded."""
        return self._reading.value if self._reading else None

    @property
    def age_s(self) -> float | None:
        """Seconds since the last successful read, never negative."""
        return self._ageing.since_s(self._reading.read_at) if self._reading else None

    @property
    def is_hanging(self) -> bool:
        """Whether a read was waited for in vain and none has ended well since."""
        return self._hung

    def get_or_wait(self, *, at_most_s: float | None = None, oldest_s: float | None = None) -> T | None:
        """The value to decide with. Waits a moment when it is older than STALE_S (or `oldest_s`), longer when there is
        none yet."""
        age_s, oldest_s = self.age_s, self._stale_s if oldest_s is None else oldest_s
        if age_s is None or age_s > oldest_s:
            self._start(again_s=min(RETRY_S, oldest_s))
            self._await(is_first=age_s is None and self._is_needed, at_most_s=at_most_s)
        return self.value

    def refresh_in_background(self, *, oldest_s: float = FRESH_S) -> None:
        """Start a refresh when the value is older than `oldest_s`, without waiting for it."""
        age_s = self.age_s
        if age_s is None or age_s > oldest_s:
            self._start()

    def force_refresh(self) -> T | None:
        """The value, read once more (unless that was just tried), waiting as long as for the first read."""
        self._start()
        self._await(is_first=True)
        return self.value

    def await_pending(self) -> None:
        """Let a refresh that was started during the wait finish, as long as the budget lasts."""
        self._await()

    def _start(self, *, again_s: float = RETRY_S) -> None:
        self._collect()
        just_tried = self._tried is not None and self._ageing.since_s(self._tried) < again_s
        if self._running is None and not just_tried:
            self._tried = self._ageing.now()
            self._running = self._executor.submit(self._refresh)

    def _refresh(self) -> None:
        try:
            self._reading = Reading(value=self._read(self.value), read_at=self._ageing.now())
        except FisoError as error:
            self.problem = str(error)
            logger.warning("%s not refreshed, the last value serves: %s", self._name, error)
        else:
            self.problem, self._hung = None, False

    def _await(self, *, is_first: bool = False, at_most_s: float | None = None) -> None:
        running = self._running
        if running is None:
            return
        if self._own_budget:
            self._budget.renew()
        if self._hung and (self._reading is not None or not self._is_needed):
            at_most_s = 0.0
        if not self._budget.wait_for(running, is_first=is_first, at_most_s=at_most_s):
            self._hung = True
        self._collect()

    def _collect(self) -> None:
        """Take a read that has ended; a defect in it is not hidden as staleness."""
        running = self._running
        if running is not None and running.done():
            self._running = None
            running.result()
