"""Timelines: virtual time, in seconds, with events in order and code that can wait in it. Deterministic.

Code that runs in a strand may `wait`: everything due meanwhile happens before it goes on, so that calls overlap and
nobody learns of an outcome before it is there. A strand is a thread, but exactly one of them runs at any moment: the
timeline hands over and waits until it gets control back. The order depends on due times and on nothing else.
"""

import heapq
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Act = Callable[[], object]


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at_s: float
    order: int
    act: Act = field(compare=False)


class Timeline:
    """Events by their time; those of one time in the order in which they were planned."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[_Due] = []
        self._orders = count()
        self._running: _Strand | None = None

    def plan(self, at_s: float, act: Act) -> None:
        """Have something happen at a time; what lies in the past happens now."""
        heapq.heappush(self._due, _Due(max(at_s, self.now_s), next(self._orders), act))

    def strand(self, act: Act) -> None:
        """Run something that may wait; returns when it waits for the first time, or has ended."""
        self._resume(_Strand(act))

    def wait(self, seconds: float) -> None:
        """Let virtual time pass for the strand that calls this."""
        strand = self._running
        if strand is None:
            raise RuntimeError("only code in a strand can wait")
        self.plan(self.now_s + seconds, lambda: self._resume(strand))
        strand.pause()

    def wait_for_any(self, ends: Collection[Future[Any]], seconds: float) -> None:
        """Let time pass for the strand that calls this until one of these has ended, for so many seconds at most."""
        strand, woken = self._running, False
        if strand is None:
            raise RuntimeError("only code in a strand can wait")

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._resume(strand)

        self.plan(self.now_s + seconds, wake)
        for end in ends:
            end.add_done_callback(lambda _: self.plan(self.now_s, wake))
        strand.pause()

    def run(self) -> None:
        """Until nothing is due any more. An error in any event ends the run."""
        while self._due:
            due = heapq.heappop(self._due)
            self.now_s = due.at_s
            due.act()

    def _resume(self, strand: "_Strand") -> None:
        before, self._running = self._running, strand
        strand.resume()
        self._running = before


class _Strand:
    """A thread that runs only between `resume` and its next `pause`, or its end."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._go, self._stop = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def resume(self) -> None:
        """Run it until it pauses or ends; its error is raised here."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._stop.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Called inside: give control back."""
        self._stop.release()
        self._go.acquire()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 # handed over to the thread that resumed this one
            self._error = error
        self._stop.release()
