"""How calls run: one after the other, or beside each other in threads."""

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

Call = Callable[[], FunctionAnswer]
Running = Future[FunctionAnswer]
MOST_THREADS = 32


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
        ended: Running = Future()
        try:
            ended.set_result(call())
        except ProviderError as error:
            ended.set_exception(error)
        return ended

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Everything has ended already."""


class ThreadedExecutor:
    """Runs each call in a thread of its own. One that nobody waits for any more ends by its own timeout."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=MOST_THREADS, thread_name_prefix="call")

    def begin(self, call: Call) -> Running:
        return self._executor.submit(call)

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        wait(running, timeout=timeout_s, return_when=FIRST_COMPLETED)


INLINE = InlineExecutor()
"""Costs nothing, and is all that a request needs whose second copy must not run."""
