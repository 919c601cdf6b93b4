"""StoreWaitBudget: how long one request waits for stores, over all of them together.

A request has STORE_WAIT_S. The first reads of a cold environment have FIRST_STORE_WAIT_S, spent once whatever is
missing: a value that stayed unknown by then gets no more than any other.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from time import monotonic

STORE_WAIT_S = 0.05
FIRST_STORE_WAIT_S = 2.0


class StoreWaitBudget:
    """What is left of it. Belongs to one execution environment, which answers one request at a time."""

    def __init__(
        self,
        *,
        ticks: Callable[[], float] = monotonic,
        each_s: float = STORE_WAIT_S,
        first_s: float = FIRST_STORE_WAIT_S,
    ) -> None:
        self._ticks, self._each_s = ticks, each_s
        self._left_s, self._first_left_s = each_s, first_s

    def renew(self) -> None:
        """A new request begins."""
        self._left_s = self._each_s

    def wait_for(self, running: "Future[None]", *, is_first: bool = False, at_most_s: float | None = None) -> bool:
        """Wait for a read while the budget lasts; whether it finished. `is_first`: nothing else can stand in yet."""
        if running.done():
            return True
        allowed_s = max(self._left_s, self._first_left_s) if is_first else self._left_s
        start_s = self._ticks()
        finished = bool(wait([running], timeout=allowed_s if at_most_s is None else min(allowed_s, at_most_s)).done)
        spent_s = self._ticks() - start_s
        self._left_s = max(0.0, self._left_s - spent_s)
        if is_first:
            self._first_left_s = max(0.0, self._first_left_s - spent_s)
        return finished
