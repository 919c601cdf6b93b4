"""SlowCallMonitor: calls that are late are told to other environments while they are still awaited.

A request that must not be repeated waits in its own thread, so somebody else has to look at the clock: a thread that
looks now and then while calls are made, and ends when none was made for a while.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TypeAlias

from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.ports import Clock
from fiso.routing.breaker_notices import SlowCall
from fiso.services.resilience.calls import Call
from fiso_client.core.answers import FunctionAnswer

LOOK_EVERY_S = 0.25
QUIET_LOOKS = 20
"""After so many looks without a call in between the thread ends."""

Look: TypeAlias = Callable[[], bool]
"""Looks at the clock; whether calls were made since the last look or are under way."""
Remind: TypeAlias = Callable[[float, Look], None]
"""Has somebody look when so many seconds are over, or soon after."""


@dataclass(slots=True, eq=False)
class _Awaited:
    call: SlowCall
    late_at_s: float
    is_told: bool = False


class SlowCallMonitor:
    """One environment's calls. `publish` and `retract` must not wait for anything; `stopwatch` gives seconds."""

    def __init__(
        self,
        *,
        teller: str,
        publish: Callable[[SlowCall], None],
        retract: Callable[[SlowCall], None],
        clock: Clock,
        stopwatch: Callable[[], float] = time.monotonic,
        remind: Remind | None = None,
    ) -> None:
        self._teller, self._publish, self._retract = teller, publish, retract
        self._clock, self._stopwatch, self._remind = clock, stopwatch, remind or Looker().remind
        self._awaited: set[_Awaited] = set()
        self._lock, self._were_made = Lock(), False

    def watched(self, call: Call, function: FunctionName, endpoint: Endpoint, after_s: float) -> Call:
        """The call, told as late after so many seconds. An answer takes that back, a failure does not."""

        def run() -> FunctionAnswer:
            late = SlowCall(function=function, endpoint=endpoint.id, teller=self._teller, began_at=self._clock())
            awaited = _Awaited(late, self._stopwatch() + after_s)
            with self._lock:
                self._awaited.add(awaited)
                self._were_made = True
            self._remind(after_s, self.look)
            try:
                answer = call()
            finally:
                with self._lock:
                    self._awaited.discard(awaited)
            if awaited.is_told:
                self._retract(late)
            return answer

        return run

    def look(self) -> bool:
        """Tell of the calls that became late."""
        now_s = self._stopwatch()
        with self._lock:
            late = [one for one in self._awaited if not one.is_told and now_s >= one.late_at_s]
            for one in late:
                one.is_told = True
                self._publish(one.call)
            is_busy, self._were_made = bool(self._awaited) or self._were_made, False
        return is_busy


class Looker:
    """Looks every LOOK_EVERY_S, in a thread that is there while calls are made."""

    def __init__(self) -> None:
        self._lock, self._is_looking = Lock(), False

    def remind(self, after_s: float, look: Look) -> None:
        """See to it that somebody looks."""
        with self._lock:
            is_new, self._is_looking = not self._is_looking, True
        if is_new:
            Thread(target=self._run, args=(look,), daemon=True, name="monitor").start()

    def _run(self, look: Look) -> None:
        quiet = 0
        while quiet < QUIET_LOOKS:
            time.sleep(LOOK_EVERY_S)
            quiet = 0 if look() else quiet + 1
        with self._lock:
            self._is_looking = False
        if look():  # one that began while nobody knew that this thread ends
            self.remind(0.0, look)
