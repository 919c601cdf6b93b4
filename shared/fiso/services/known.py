"""What is known: values read from stores, refreshed while a provider is awaited, served stale when a store is away.

Lambda freezes the environment after the answer, so nothing refreshes in the background: a value older than FRESH_S is
read again during the wait for the provider, one older than STALE_S before deciding, for at most PATIENCE_S.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from fiso.domain.errors import FisoError
from fiso.ports import Clock

T = TypeVar("T")

FRESH_S = 5.0
STALE_S = 60.0
PATIENCE_S = 0.05
FIRST_PATIENCE_S = 2.0
"""The first read has nothing stale to serve, so it may take longer (unless something else can stand in)."""
RETRY_S = 1.0
"""A store that just failed is not asked again sooner: its loss costs one wait a second, not one a request."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """A value and when it was read."""

    value: T
    read_at: datetime


class Known(Generic[T]):
    """One value with its age. `read` gets the value known so far (or None) and returns the one to keep."""

    def __init__(
        self,
        name: str,
        read: Callable[[T | None], T],
        *,
        clock: Clock,
        executor: Executor,
        stale_s: float = STALE_S,
        first_patience_s: float = FIRST_PATIENCE_S,
    ) -> None:
        self._name, self._read, self._clock, self._executor = (name, read, clock, executor)
        self._stale_s, self._first_patience_s = stale_s, first_patience_s
        self._reading: Reading[T] | None = None
        self._running: Future[None] | None = None
        self._tried_at: datetime | None = None

    @property
    def value(self) -> T | None:
        """The value as last read; None before the first read succeeded."""
        return self._reading.value if self._reading else None

    @property
    def age_s(self) -> float | None:
        """Seconds since the last successful read."""
        return (self._clock() - self._reading.read_at).total_seconds() if self._reading else None

    def before_deciding(self) -> T | None:
        """The value to decide with. Waits a moment when it is older than STALE_S, longer when there is none yet."""
        age_s = self.age_s
        if age_s is None or age_s > self._stale_s:
            self._start()
            self._await(self._first_patience_s if age_s is None else PATIENCE_S)
        return self.value

    def while_waiting(self, *, oldest_s: float = FRESH_S) -> None:
        """Start a refresh when the value is older than `oldest_s`, without waiting for it."""
        age_s = self.age_s
        if age_s is None or age_s > oldest_s:
            self._start()

    def read_again(self) -> T | None:
        """The value, read once more (unless that was just tried), waiting as long as for the first read."""
        self._start()
        self._await(self._first_patience_s)
        return self.value

    def settle(self) -> None:
        """Let a refresh that was started during the wait finish, for at most PATIENCE_S."""
        self._await(PATIENCE_S)

    def _start(self) -> None:
        now = self._clock()
        just_tried = self._tried_at is not None and (now - self._tried_at).total_seconds() < RETRY_S
        if self._running is None and not just_tried:
            self._tried_at = now
            self._running = self._executor.submit(self._refresh)

    def _refresh(self) -> None:
        try:
            self._reading = Reading(value=self._read(self.value), read_at=self._clock())
        except FisoError as error:
            logger.warning("%s not refreshed, the last value serves: %s", self._name, error)

    def _await(self, seconds: float) -> None:
        running = self._running
        if running is not None and wait([running], timeout=seconds).done:
            self._running = None
            running.result()
