"""Calls that are told as slow while they are awaited, and those that were frozen with their environment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import pytest

from fiso.routing.breaker_notices import SlowCall
from fiso.services.resilience.slow_calls import LOOK_EVERY_S, Look, Looker, SlowCallMonitor
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import a_request, three_endpoints

ENDPOINT, FUNCTION = three_endpoints()[0], a_request().function


@dataclass
class Monitored:
    """One environment whose time is moved by the test, which also does the looking."""

    clock: ManualClock = field(default_factory=ManualClock)
    told: list[SlowCall] = field(default_factory=list)
    retracted: list[SlowCall] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.monitor = SlowCallMonitor(
            teller=lambda: "here",
            publish=self.told.append,
            retract=self.retracted.append,
            clock=self.clock,
            stopwatch=self.clock.ticks,
            remind=lambda _, look: self.looks.append(look),
        )

    def called(self, beside: Callable[[], None], failure: Failure | None = None) -> FunctionAnswer | None:
        """A call that is slow after 1 s, and what happens while it is awaited."""

        def call() -> FunctionAnswer:
            beside()
            if failure is not None:
                raise ProviderError(failure, "no answer")
            return OK

        try:
            return self.monitor.watched(call, FUNCTION, ENDPOINT, 1.0)()
        except ProviderError:
            return None

    def passes(self, seconds: float) -> None:
        """Time, and then a look."""
        self.clock.advance(seconds)
        self.looks[-1](LOOK_EVERY_S)


def test_a_call_in_time_is_told_to_nobody() -> None:
    here = Monitored()
    assert here.called(lambda: here.passes(0.9)) is OK
    assert (here.told, here.retracted) == ([], [])


def test_a_slow_call_is_told_once_while_it_is_awaited_and_taken_back_when_it_is_answered() -> None:
    here = Monitored()
    here.clock.freeze(60)  # before it began

    def looked_at_twice() -> None:
        here.passes(1.0)
        here.passes(1.0)

    assert here.called(looked_at_twice) is OK
    assert [(slow.function, slow.endpoint, slow.teller) for slow in here.told] == [(FUNCTION, ENDPOINT.id, "here")]
    assert here.retracted == here.told


def test_a_slow_call_that_fails_stays_told() -> None:
    here = Monitored()
    assert here.called(lambda: here.passes(28.0), Failure.TIMED_OUT) is None
    assert (len(here.told), here.retracted) == (1, [])


def test_it_is_looked_for_as_long_as_calls_are_made() -> None:
    here = Monitored()
    assert here.called(lambda: None, Failure.UNREACHABLE) is None
    assert [here.looks[-1](), here.looks[-1]()] == [True, False]


@pytest.mark.parametrize(
    ("frozen_s", "stands_still"), [(1.0, True), (60.0, True), (6 * 3600.0, True), (60.0, False), (6 * 3600.0, False)]
)
def test_a_hedges_loser_that_was_frozen_with_its_environment_is_told_to_nobody(
    frozen_s: float, stands_still: bool
) -> None:
    """Whether or not the monotonic clock stands still meanwhile: the thread that looks then comes late."""
    here = Monitored()

    def frozen_and_thawed() -> None:
        here.passes(0.3)
        if stands_still:
            here.clock.freeze(frozen_s)
            here.looks[-1](LOOK_EVERY_S)
        else:
            here.clock.advance(frozen_s)
            here.looks[-1](frozen_s)
        here.passes(1.0)

    here.called(frozen_and_thawed)
    assert (here.told, here.retracted) == ([], [])


def test_a_thread_looks_while_calls_are_made() -> None:
    looked = Event()

    def look(slept_s: float = 0.0) -> bool:
        looked.set()
        return False

    Looker().remind(0.0, look)
    assert looked.wait(30)
