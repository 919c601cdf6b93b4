"""Virtual time, in seconds, for code that is routed and judged much faster than it would wait. Deterministic.

`Rounds`     a trace's: one request after another; time stands while a call runs, only the stopwatch goes on.
`Timeline`   events in order and code that can wait in it, so that calls overlap and nobody learns of an outcome before
             it is there. What waits runs in a strand: a thread, but exactly one of them runs at any moment. The
             timeline hands over and waits until it gets control back; the order depends on due times and nothing else.
"""

import heapq
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from fiso.services.resilience.executors import Call, Running
from fiso_client.core.failures import ProviderError

Act = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request, the same for every contender. `in_flight` is the load around it where the world states it."""

    number: int
    at_s: float
    function: str
    in_flight: float | None = None


Begin = Callable[[Arrival], object]


class Rounds:
    """Time of a trace. What is planned happens between a request and the next one; after the last, nothing does."""

    def __init__(self) -> None:
        self.now_s = self._waited_s = 0.0
        self._planned: list[Act] = []

    def stopwatch(self) -> float:
        """Seconds from any moment on, for differences within a request: what it has waited so far."""
        return self._waited_s

    def wait(self, seconds: float) -> None:
        """Let time pass for the request that calls this."""
        self._waited_s += seconds

    def after(self, seconds: float, act: Act) -> None:
        """Have something happen before the next request."""
        self._planned.append(act)

    def strand(self, act: Act) -> None:
        """Run something that may wait, here to its end."""
        act()

    def play(self, arrivals: Sequence[Arrival], begin: Begin) -> None:
        """Begin every request, one after another."""
        for arrival in arrivals:
            planned, self._planned = self._planned, []
            for act in planned:
                act()
            self.now_s, self._waited_s = arrival.at_s, 0.0
            begin(arrival)


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

    def stopwatch(self) -> float:
        return self.now_s

    def plan(self, at_s: float, act: Act) -> None:
        """Have something happen at a time; what lies in the past happens now."""
        heapq.heappush(self._due, _Due(max(at_s, self.now_s), next(self._orders), act))

    def after(self, seconds: float, act: Act) -> None:
        """Have something happen in so many seconds."""
        self.plan(self.now_s + seconds, act)

    def play(self, arrivals: Sequence[Arrival], begin: Begin) -> None:
        """Begin every request at its time, and go on until nothing is due any more."""
        for arrival in arrivals:
            self.plan(arrival.at_s, partial(begin, arrival))
        self.run()

    def strand(self, act: Act) -> None:
        """Run something that may wait; returns when it waits for the first time, or has ended."""
        self._resume(_Strand(act))

    def wait(self, seconds: float) -> None:
        """Let time pass for the strand that calls this."""
        strand = self._this_strand()
        self.after(seconds, lambda: self._resume(strand))
        strand.pause()

    def wait_for_any(self, ends: Collection[Future[Any]], seconds: float) -> None:
        """Let time pass for the strand that calls this until one of these has ended, for so many seconds at most."""
        strand, woken = self._this_strand(), False

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._resume(strand)

        self.after(seconds, wake)
        for end in ends:
            end.add_done_callback(lambda _: self.plan(self.now_s, wake))
        strand.pause()

    def run(self) -> None:
        """Until nothing is due any more. An error in any event ends the run."""
        while self._due:
            due = heapq.heappop(self._due)
            self.now_s = due.at_s
            due.act()

    def _this_strand(self) -> "_Strand":
        if self._running is None:
            raise RuntimeError("only code in a strand can wait")
        return self._running

    def _resume(self, strand: "_Strand") -> None:
        before, self._running = self._running, strand
        strand.resume()
        self._running = before


VirtualTime = Rounds | Timeline


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


class ConcurrentCalls:
    """Calls that overlap in virtual time (an `AttemptExecutor`), each in a strand of its own.

    Hedges and late calls happen as they do when deployed: one that nobody waits for any more runs on.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def begin(self, call: Call) -> Running:
        """The call, on its way."""
        running: Running = Running()

        def run() -> None:
            try:
                running.set_result(call())
            except ProviderError as error:
                running.set_exception(error)

        self._timeline.strand(run)
        return running

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Until the first has ended."""
        if not any(one.done() for one in running):
            self._timeline.wait_for_any(running, timeout_s)
