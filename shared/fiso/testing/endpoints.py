"""Scripted endpoints: what each answers, after how long, and how it fails. Calls take virtual time: nothing sleeps.

A call that is awaited moves the clock to its end. Of calls beside each other (a hedge and what it hedges) the first to
end is the first to answer, as on the wire; so these are the function caller and what runs its calls in one.
"""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace

from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.request import InvocationRequest
from fiso.services.resilience.executors import Call, Running
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError

OK = FunctionAnswer(status=200, body=b"ok", headers={"content-type": "text/plain"})
USUAL_MS = 25.0
AT_ONCE_S = 0.001
"""How long it takes to learn that nobody listens, or that a provider takes no more requests."""
_SHORTEST_S = 1e-6
"""The clock's own resolution: whoever waits until then must not find that it is not quite then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One endpoint's behaviour. It fails a `share` of its calls where `failure` is set, the next `times` at most."""

    answer: FunctionAnswer = OK
    latency_ms: float = USUAL_MS
    failure: Failure | None = None
    share: float = 1.0
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """How a call ends, and after how many seconds."""

    seconds: float
    ending: FunctionAnswer | ProviderError


class ScriptedEndpoints:
    """A `FunctionCaller` and the `AttemptExecutor` of its calls. `draw` gives uniform numbers in [0, 1)."""

    def __init__(self, clock: ManualClock, draw: Callable[[], float]) -> None:
        self._clock, self._draw = clock, draw
        self._scripts: dict[EndpointId, Script] = {}
        self._begun: Planned | None = None
        self._is_beginning = False
        self._ends: dict[Running, tuple[float, FunctionAnswer | ProviderError]] = {}
        self.calls: list[tuple[EndpointId, InvocationRequest]] = []

    def script(self, endpoint: EndpointId) -> Script:
        """What an endpoint does now."""
        return self._scripts.get(endpoint, Script())

    def set(self, endpoint: EndpointId, script: Script) -> None:
        """What it does from now on."""
        self._scripts[endpoint] = script

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One call, ended by its own time-out as a transport ends it."""
        self.calls.append((endpoint.id, request))
        planned = self._planned(endpoint.id, timeout_ms / 1000)
        if self._is_beginning:
            self._begun = planned
            return OK
        self._clock.advance(planned.seconds)
        if isinstance(planned.ending, ProviderError):
            raise planned.ending
        return planned.ending

    def begin(self, call: Call) -> Running:
        """A call on its way, beside others."""
        running: Running = Future()
        self._is_beginning, self._begun = True, None
        try:
            call()
        except ProviderError as error:  # refused before it reached an endpoint
            self._begun = Planned(0.0, error)
        finally:
            self._is_beginning = False
        begun = self._begun or Planned(0.0, OK)
        self._ends[running] = (self._clock.ticks() + begun.seconds, begun.ending)
        return running

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Move the clock to the first end, or by `timeout_s`; what has ended by then is done."""
        over_s = self._clock.ticks() + timeout_s + _SHORTEST_S
        self._clock.advance_to(min([over_s, *(self._ends[one][0] for one in running)]))
        for one in running:
            ends_s, ending = self._ends[one]
            if ends_s <= self._clock.ticks():
                one.set_exception(ending) if isinstance(ending, ProviderError) else one.set_result(ending)

    def _planned(self, endpoint: EndpointId, timeout_s: float) -> Planned:
        script = self.script(endpoint)
        failure = script.failure if script.failure and self._draw() < script.share else None
        if failure and script.times is not None:
            left = script.times - 1
            self._scripts[endpoint] = replace(script, failure=failure if left else None, times=left or None)
        seconds = _seconds_until(failure, script.latency_ms / 1000)
        if seconds is None or seconds > timeout_s:
            return Planned(timeout_s, ProviderError(Failure.TIMED_OUT, "no answer in time"))
        return Planned(seconds, ProviderError(failure, f"scripted: {failure}") if failure else script.answer)


def _seconds_until(failure: Failure | None, latency_s: float) -> float | None:
    """None: the call never ends by itself."""
    if failure is Failure.TIMED_OUT:
        return None
    return AT_ONCE_S if failure in (Failure.UNREACHABLE, Failure.THROTTLED, Failure.REFUSED) else latency_s
