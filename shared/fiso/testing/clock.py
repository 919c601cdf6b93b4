"""A clock that moves only when a test moves it: the time of day and the monotonic seconds beside it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


class ManualClock:
    """`clock()` is the time of day, `clock.ticks()` the monotonic seconds."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now
        self._ticks_s = 0.0

    def __call__(self) -> datetime:
        return self.now

    def ticks(self) -> float:
        """Seconds that never go back."""
        return self._ticks_s

    def advance(self, seconds: float) -> None:
        """Let time pass, by both."""
        self.now += timedelta(seconds=seconds)
        self._ticks_s += seconds

    def advance_to(self, ticks_s: float) -> None:
        """Let time pass until then; nothing where that is over."""
        if ticks_s > self._ticks_s:
            self.now += timedelta(seconds=ticks_s - self._ticks_s)
            self._ticks_s = ticks_s

    def freeze(self, seconds: float) -> None:
        """Thaw after so long: Lambda froze the environment, and its monotonic clock stood still."""
        self.now += timedelta(seconds=seconds)
