"""Awaiting: bounded waits for something that another part of the system does, with a line that says for what."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, TypeVar

T = TypeVar("T")


def _silence(left_s: float) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait at most and how often to look. Clock and sleep are injected."""

    seconds: float
    every_s: float = 0.5
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[float], None] = _silence

    def telling(self, say: Callable[[float], None]) -> Self:
        """The same patience, telling before each sleep how many seconds are left."""
        return replace(self, say=say)

    def wait_for(self, look: Callable[[], T], is_enough: Callable[[T], bool]) -> T:
        """Look until it is enough or time is up; the last thing seen either way."""
        ends_at = self.clock() + self.seconds
        while True:
            seen = look()
            left_s = ends_at - self.clock()
            if is_enough(seen) or left_s <= 0:
                return seen
            self.say(left_s)
            self.sleep(min(self.every_s, left_s))
