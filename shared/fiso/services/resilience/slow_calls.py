"""Slow-call monitor: calls that are late are told to other environments while they are still awaited.

A request that must not be repeated waits in its own thread, so somebody else has to look at the clock: a thread that
looks now and then while calls are made, and ends when none was made for a while.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock, Thread
from typing import Protocol, TypeAlias

from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.ports import Clock
from fiso.routing.breaker_notices import SlowCall
from fiso.services.resilience.executors import Call
from fiso_client.core.answers import FunctionAnswer

LOOK_EVERY_S = 0.25
QUIET_LOOKS = 20
"""After so many looks without a call in between the thread ends."""

FROZEN_S = 0.5
"""The time of day gains this much on the monotonic clock only while the environment is frozen, or by a step."""
FROZEN_LOOK_S = 2.0
"""A look that comes this late comes after a freeze, where the monotonic clock does not stand still in one."""


class Look(Protocol):
    """Looks at the clock, `slept_s` after the last look; whether calls were made since then or are under way."""

    def __call__(self, slept_s: float = 0.0) -> bool: ...


Remind: TypeAlias = Callable[[float, Look], None]
"""Has somebody look when so many seconds are over, or soon after."""


@dataclass(slots=True, eq=False)
class _Awaited:
    function: FunctionName
    endpoint: Endpoint
    began_at: datetime
    begun_s: float
    slow_at_s: float
    published: SlowCall | None = None


class SlowCallMonitor:
    """One environment's calls. `publish` and `retract` must not wait for anything; `stopwatch` gives seconds. `teller`
    is who tells, asked first when there is something to tell: a snapshot of the environment must have no name yet.
    """

    def __init__(
        self,
        *,
        teller: Callable[[], str],
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
            begun_s = self._stopwatch()
            awaited = _Awaited(function, endpoint, self._clock(), begun_s, begun_s + after_s)
            with self._lock:
                self._awaited.add(awaited)
                self._were_made = True
            self._remind(after_s, self.look)
            try:
                answer = call()
            finally:
                with self._lock:
                    self._awaited.discard(awaited)
            # Only an answer takes it back: after a failure the others were right to be told.
            if awaited.published is not None:
                self._retract(awaited.published)
            return answer

        return run

    def look(self, slept_s: float = 0.0) -> bool:
        """Tell of the calls that became late. One that was frozen with the environment says nothing of its endpoint: it
        is watched no more, whenever it ends."""
        now_s, now = self._stopwatch(), self._clock()
        with self._lock:
            frozen = {one for one in self._awaited if self._was_frozen(one, now, now_s, slept_s)}
            self._awaited -= frozen
            for one in [one for one in self._awaited if one.published is None and now_s >= one.slow_at_s]:
                one.published = SlowCall(
                    function=one.function, endpoint=one.endpoint.id, teller=self._teller(), began_at=one.began_at
                )
                self._publish(one.published)
            is_busy, self._were_made = bool(self._awaited) or self._were_made, False
        return is_busy

    @staticmethod
    def _was_frozen(one: _Awaited, now: datetime, now_s: float, slept_s: float) -> bool:
        ran_s = now_s - one.begun_s
        return (now - one.began_at).total_seconds() - ran_s > FROZEN_S or slept_s > FROZEN_LOOK_S


class Looker:
    """Looks every LOOK_EVERY_S, in a thread that is there while calls are made."""

    def __init__(self) -> None:
        self._lock, self._is_looking = Lock(), False

    def remind(self, after_s: float, look: Look) -> None:
        with self._lock:
            is_new, self._is_looking = not self._is_looking, True
        if is_new:
            Thread(target=self._run, args=(look,), daemon=True, name="slow-calls").start()

    def _run(self, look: Look) -> None:
        quiet = 0
        while quiet < QUIET_LOOKS:
            before_s = time.monotonic()
            time.sleep(LOOK_EVERY_S)
            quiet = 0 if look(time.monotonic() - before_s) else quiet + 1
        with self._lock:
            self._is_looking = False
        if look():  # one that began while nobody knew that this thread ends
            self.remind(0.0, look)
