"""Calls that are told as late while they are awaited."""

from dataclasses import dataclass, field
from threading import Event

import pytest

from fiso.routing.breaker_notices import SlowCall
from fiso.services.resilience.slow_calls import Look, Looker, SlowCallMonitor
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import a_request, three_endpoints

ENDPOINT, FUNCTION = three_endpoints()[0], a_request().function


@dataclass
class Told:
    """One environment whose seconds are set by the test."""

    now_s: float = 0.0
    late: list[SlowCall] = field(default_factory=list)
    retracted: list[SlowCall] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.monitor = SlowCallMonitor(
            teller="here",
            publish=self.late.append,
            retract=self.retracted.append,
            clock=ManualClock(),
            stopwatch=lambda: self.now_s,
            remind=lambda _, look: self.looks.append(look),
        )

    def called(self, *, lasts_s: float, failure: Failure | None = None) -> FunctionAnswer | None:
        """A call that may take 1 s, looked at when it ends."""

        def call() -> FunctionAnswer:
            self.now_s += lasts_s
            self.looks[-1]()
            if failure is not None:
                raise ProviderError(failure, "no answer")
            return OK

        try:
            return self.monitor.watched(call, FUNCTION, ENDPOINT, 1.0)()
        except ProviderError:
            return None


def test_a_call_in_time_is_told_to_nobody() -> None:
    told = Told()
    assert told.called(lasts_s=0.9) is OK
    assert (told.late, told.retracted) == ([], [])


def test_a_late_call_is_told_while_it_is_awaited_and_taken_back_when_it_is_answered() -> None:
    told = Told()
    assert told.called(lasts_s=1.0) is OK
    assert [(late.function, late.endpoint, late.teller) for late in told.late] == [(FUNCTION, ENDPOINT.id, "here")]
    assert told.retracted == told.late


def test_a_late_call_that_fails_stays_told() -> None:
    told = Told()
    assert told.called(lasts_s=28.0, failure=Failure.TIMED_OUT) is None
    assert len(told.late) == 1
    assert told.retracted == []


def test_a_late_call_is_told_once() -> None:
    told = Told()

    def call() -> FunctionAnswer:
        told.now_s += 2
        told.looks[-1]()
        told.looks[-1]()
        return OK

    told.monitor.watched(call, FUNCTION, ENDPOINT, 1.0)()
    assert len(told.late) == 1


def test_what_calls_raise_passes_through() -> None:
    told = Told()

    def call() -> FunctionAnswer:
        raise ProviderError(Failure.UNREACHABLE, "refused")

    with pytest.raises(ProviderError):
        told.monitor.watched(call, FUNCTION, ENDPOINT, 1.0)()
    assert told.looks[-1]()  # a call was made since the last look
    assert not told.looks[-1]()


def test_a_thread_looks_while_calls_are_made() -> None:
    looked = Event()

    def look(slept_s: float = 0.0) -> bool:
        looked.set()
        return False

    Looker().remind(0.0, look)
    assert looked.wait(30)
