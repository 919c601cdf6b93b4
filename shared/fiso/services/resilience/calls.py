"""Attempts: how they run, so that a second copy can begin while the first is awaited.

`INLINE` runs a call where it is begun, which costs nothing and is all that a request needs whose second copy must not
run. `ThreadedExecutor` runs each beside the others; a call that nobody waits for any more ends by its own timeout.
"""

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fiso.domain.decision import RankedCandidate
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

Call = Callable[[], FunctionAnswer]
Running = Future[FunctionAnswer]
MOST_THREADS = 32


@dataclass(slots=True, kw_only=True)
class InFlightAttempt:
    """One attempt on its way, in seconds of the stopwatch: when it began, when it is hedged, when the next one may be
    tried beside it, and when it is over."""

    candidate: RankedCandidate
    started_at: datetime
    start_s: float
    hedge_s: float | None
    late_s: float
    end_s: float
    running: Running
    is_hedge: bool
    is_late: bool = False
    is_urgent: bool = False


class AttemptExecutor(Protocol):
    """Begins calls and waits for the first that ends."""

    def begin(self, call: Call) -> Running:
        """Run a call; what it returns or raises (`ProviderError`) is in the future."""
        ...

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Until one of them has ended, or for that long."""
        ...


class InlineExecutor:
    """Runs each call to its end before the next thing happens."""

    def begin(self, call: Call) -> Running:
        """The call, ended."""
        ended: Running = Future()
        try:
            ended.set_result(call())
        except ProviderError as error:
            ended.set_exception(error)
        return ended

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Everything has ended already."""


class ThreadedExecutor:
    """Runs each call in a thread of its own, which are made when needed and kept."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=MOST_THREADS, thread_name_prefix="call")

    def begin(self, call: Call) -> Running:
        """The call, on its way."""
        return self._executor.submit(call)

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Until the first has ended."""
        wait(running, timeout=timeout_s, return_when=FIRST_COMPLETED)


INLINE = InlineExecutor()
