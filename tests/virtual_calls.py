"""Calls in virtual time: they take as long as they are told to, and waiting moves the clock instead of passing."""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta

from fiso.domain.endpoint import Endpoint
from fiso.domain.request import InvocationRequest
from fiso.services.resilience.dispatch import Call, Running
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import NOW


@dataclass(frozen=True)
class Takes:
    """How a call ends, and after how long; None: it never ends by itself."""

    seconds: float | None
    ending: FunctionAnswer | ProviderError = OK


Script = Callable[[Endpoint], Takes]


@dataclass
class VirtualCaller:
    """Answers by script. A call is ended by its own timeout, as a transport does it."""

    script: Script
    clock: ManualClock = field(default_factory=ManualClock)
    called: list[str] = field(default_factory=list)
    latest: tuple[float, FunctionAnswer | ProviderError] = (0.0, OK)

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        self.called.append(endpoint.id)
        takes = self.script(endpoint)
        if takes.seconds is None or takes.seconds > timeout_ms / 1000:
            self.latest = (timeout_ms / 1000, ProviderError(Failure.TIMED_OUT, "no answer"))
        else:
            self.latest = (takes.seconds, takes.ending)
        return OK

    def stopwatch(self) -> float:
        return (self.clock() - NOW).total_seconds()


class VirtualCalls:
    """Runs beside each other what a `VirtualCaller` plans."""

    def __init__(self, caller: VirtualCaller) -> None:
        self._caller = caller
        self._ends: dict[Running, tuple[float, FunctionAnswer | ProviderError]] = {}

    def begin(self, call: Call) -> Running:
        call()
        seconds, ending = self._caller.latest
        running: Running = Future()
        self._ends[running] = (self._caller.stopwatch() + seconds, ending)
        return running

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        until_s = self._caller.stopwatch() + timeout_s
        first_s = min(self._ends[one][0] for one in running)
        self._caller.clock.now = NOW + timedelta(seconds=min(until_s, first_s) + 1e-6)
        for one in running:
            at_s, ending = self._ends[one]
            if at_s <= self._caller.stopwatch() + 1e-9:
                one.set_exception(ending) if isinstance(ending, ProviderError) else one.set_result(ending)
