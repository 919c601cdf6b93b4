"""Cached values: read from stores, refreshed ahead while a provider is awaited, served stale when a store fails.

Lambda freezes the environment after the answer, so nothing refreshes between requests: a value older than FRESH_S is
read again during the wait for the provider, one older than STALE_S before deciding, while the request's budget lasts.
A store that hung is asked on, but not waited for again until it has answered once.

    get_or_wait            before deciding
    refresh_in_background  right before waiting for a provider
    await_pending          after it, once for all values that share a budget (`StoreWaitBudget`)
    force_refresh          when the value does not know something that may be new
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

from fiso.ports import Clock, Metrics
from fiso_client.core.failures import FisoError
from fiso_client.core.stopwatch import Stopwatch

T = TypeVar("T")

FRESH_S = 5.0
STALE_S = 60.0
RETRY_S = 1.0
"""A store that just failed is not asked again sooner: its loss costs one wait a second, not one a request."""
STORE_WAIT_S = 0.05
FIRST_STORE_WAIT_S = 2.0
"""The first reads of a cold environment have this, spent once whatever is missing: a value that stayed unknown by then
gets no more than any other."""
LONGEST_READ_S = 10.0
"""No store call lasts so long: a read that began longer ago was frozen with the environment."""

logger = logging.getLogger(__name__)


def staleness_clock(clock: Clock, ticks: Callable[[], float] = monotonic) -> Callable[[], float]:
    """Seconds to tell ages by: they never go back and do not stand still while the environment is frozen."""
    return Stopwatch(ticks=ticks, wall=lambda: clock().timestamp())


class Readers(Executor):
    """Threads that are made when they are needed, and gone after `rest` until the next: a snapshot of a process holds
    none, nor one that is forked off."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name, self._lock = most, name, Lock()
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(max_workers=self._most, thread_name_prefix=self._name)
            return self._threads.submit(work, *args, **named)

    def rest(self) -> None:
        """Let what runs end, then the threads."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()


class StoreWaitBudget:
    """What one request may wait for stores, over all that it has started there: STORE_WAIT_S together.

    Belongs to one execution environment, which answers one request at a time; `start` is called from other threads
    too. `stopwatch` gives the age of what was read and must go on while the environment is frozen.
    """

    def __init__(self, executor: Executor, *, stopwatch: Callable[[], float], metrics: Metrics | None = None) -> None:
        self.stopwatch = stopwatch
        self._executor, self._metrics, self._lock = executor, metrics, Lock()
        self._left_s, self._first_left_s = STORE_WAIT_S, FIRST_STORE_WAIT_S
        self._pending: list[Future[object]] = []

    def renew(self) -> None:
        """A new request begins."""
        self._left_s = STORE_WAIT_S

    def start(self, name: str, work: Callable[[], T], *, is_awaited: bool = True) -> Future[T]:
        """Read or write beside whatever happens now. What goes wrong is logged and counted, and in the future."""
        started: Future[T] = self._executor.submit(work)
        started.add_done_callback(partial(self._note_problem, name))
        if is_awaited:
            with self._lock:
                self._pending.append(started)  # type: ignore[arg-type]  # only waited for
        return started

    def wait_for(
        self, started: Future[T], *, is_first: bool = False, at_least_s: float = 0.0, at_most_s: float | None = None
    ) -> bool:
        """Wait for a read while the budget lasts, or `at_least_s`; whether it ended. `is_first`: nothing else can stand
        in yet."""
        if started.done():
            return True
        allowed_s = max(self._left_s, at_least_s, self._first_left_s if is_first else 0.0)
        start_s = monotonic()
        has_ended = bool(wait([started], timeout=allowed_s if at_most_s is None else min(allowed_s, at_most_s)).done)
        spent_s = monotonic() - start_s
        self._left_s = max(0.0, self._left_s - spent_s)
        if is_first:
            self._first_left_s = max(0.0, self._first_left_s - spent_s)
        return has_ended

    def await_pending(self, *, within_s: float | None = None) -> None:
        """Let what was started end, while the budget lasts. Each is waited for once, and raises nothing here: what
        happens beside a request must not take its answer away."""
        with self._lock:
            pending, self._pending = self._pending, []
        if not pending:
            return
        start_s = monotonic()
        wait(pending, timeout=self._left_s if within_s is None else within_s)
        self._left_s = max(0.0, self._left_s - (monotonic() - start_s))

    def _note_problem(self, name: str, ended: Future[T]) -> None:
        error = ended.exception()
        if error is None:
            return
        is_defect = not isinstance(error, FisoError)  # as much a store problem to the request: a stale value serves
        level = logging.ERROR if is_defect else logging.WARNING
        logger.log(level, "%s: the store gave nothing: %s", name, error, exc_info=error if is_defect else None)
        if self._metrics is not None:
            self._metrics.add("StoreProblems", 1, "Count")


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """A read under way. Its value is as old as its beginning: it may have been frozen since."""

    started_s: float
    future: Future[T]
    under_way_since_s: float = field(default_factory=monotonic)


class CachedValue(Generic[T]):
    """One value with its age. `read` gets the value cached so far (or None) and returns the one to keep.

    `is_needed`: nothing can stand in for the value, so that its first read may take FIRST_STORE_WAIT_S. `stale_wait_s`:
    what a stale one is worth to wait for, even if the budget is less.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[T | None], T],
        *,
        budget: StoreWaitBudget,
        stale_s: float = STALE_S,
        stale_wait_s: float = 0.0,
        is_needed: bool = True,
    ) -> None:
        self._name, self._read, self._budget = name, read, budget
        self._stale_s, self._stale_wait_s, self._is_needed = stale_s, stale_wait_s, is_needed
        self._value: T | None = None
        self._read_at_s: float | None = None
        self._asked_at_s = float("-inf")
        self._pending: list[_Read[T]] = []
        self._is_hanging, self._problem = False, ""

    @property
    def value(self) -> T | None:
        """The value as last read; None before the first read succeeded."""
        self._collect()
        return self._value

    @property
    def age_s(self) -> float | None:
        """Seconds since the last read that succeeded began."""
        self._collect()
        return None if self._read_at_s is None else max(0.0, self._budget.stopwatch() - self._read_at_s)

    @property
    def problem(self) -> str | None:
        """Why the last read gave nothing, or that it is waited for in vain; None when it gave a value."""
        self._collect()
        return "the store does not answer" if self._is_hanging else self._problem or None

    def get_or_wait(self, *, oldest_s: float | None = None, at_most_s: float | None = None) -> T | None:
        """The value to decide with. Waits a moment when it is older than STALE_S (or `oldest_s`), longer when there is
        none yet."""
        oldest_s = self._stale_s if oldest_s is None else oldest_s
        if self._is_older_than(oldest_s):
            was_under_way = bool(self._pending)
            self._start(again_s=min(RETRY_S, oldest_s))
            if self._wait(at_most_s=at_most_s) and was_under_way and self._is_older_than(oldest_s):
                self._start(again_s=min(RETRY_S, oldest_s))  # what was under way had begun too long ago
                self._wait(at_most_s=at_most_s)
        return self.value

    def prefetch(self) -> None:
        """Start the first read, beside others, if there was none yet."""
        if self._read_at_s is None:
            self._start()

    def refresh_in_background(self, *, oldest_s: float = FRESH_S, now_s: float | None = None) -> None:
        """Start a refresh when the value is older than `oldest_s`, without waiting for it."""
        if self._is_older_than(oldest_s, now_s):
            self._start()

    def await_read(self, *, at_most_s: float) -> None:
        """Let a read that is under way end, within the budget and so long at most."""
        self._wait(at_most_s=at_most_s)

    def force_refresh(self) -> T | None:
        """The value, read once more (unless that was just tried), waiting as long as for the first read."""
        self._start()
        self._wait(is_first=True)
        return self.value

    def _is_older_than(self, oldest_s: float, now_s: float | None = None) -> bool:
        self._collect()
        if self._read_at_s is None:
            return True
        return (self._budget.stopwatch() if now_s is None else now_s) - self._read_at_s > oldest_s

    def _start(self, *, again_s: float = RETRY_S) -> None:
        """Read, unless a read is under way or was just tried. One that was frozen is no hang: another one begins beside
        it, so that nobody waits for an answer from before, nor decides without."""
        # A value is as old as the beginning of its read, so an answer from before a freeze is no news
        # (docs/decisions/0017-what-is-cached.md).
        now_s = self._budget.stopwatch()
        since_s = now_s - self._asked_at_s
        if since_s > LONGEST_READ_S:
            self._is_hanging = False
        elif self._pending or since_s < again_s:
            return
        self._asked_at_s = now_s
        future = self._budget.start(self._name, partial(self._read, self._value), is_awaited=not self._is_hanging)
        # the oldest may go on: where an environment is woken for moments only, a long read never ended otherwise
        self._pending = [*self._pending[:1], _Read(now_s, future)]

    def _wait(self, *, is_first: bool = False, at_most_s: float | None = None) -> bool:
        """Wait for the newest read; whether it ended. One that was given all a request has, in vain, hangs."""
        self._collect()
        if not self._pending:
            return True
        newest, is_missing = self._pending[-1], self._is_needed and self._read_at_s is None
        if self._is_hanging and not is_missing:
            at_most_s = 0.0
        if not self._budget.wait_for(
            newest.future, is_first=is_first or is_missing, at_least_s=self._stale_wait_s, at_most_s=at_most_s
        ):
            self._is_hanging = self._is_hanging or monotonic() - newest.under_way_since_s >= STORE_WAIT_S
            return False
        self._collect()
        return True

    def _collect(self) -> None:
        """Take what has ended. In the thread that asks, so that a request sees one state of it."""
        if not self._pending:
            return
        for read in [read for read in self._pending if read.future.done()]:
            self._pending.remove(read)
            error = read.future.exception()
            if error is not None:
                self._problem = str(error) or type(error).__name__
            elif self._read_at_s is None or read.started_s >= self._read_at_s:
                self._value, self._read_at_s = read.future.result(), read.started_s
                self._is_hanging, self._problem = False, ""
