from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.billing import tariff
from fiso.domain.attempt import Outcome
from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.policy import Idempotent, Mode
from fiso.domain.request import InvocationRequest
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.resilience.breakers import Failed
from fiso.services.resilience.dispatch import LEAST_SLOW_MS, Call, Dispatcher
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryFunctionCaller, Respond
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.breaker import CONSECUTIVE, BreakerState
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import NOW, a_request, an_entry, failing

REFUSED = ProviderError(Failure.UNREACHABLE, "connection refused")
THROTTLED = ProviderError(Failure.THROTTLED, "status 429")
TIMED_OUT = ProviderError(Failure.TIMED_OUT, "no answer")
REJECTED = ProviderError(Failure.REJECTED, "status 413")


class Rig:
    """A dispatcher over calls that answer as told."""

    def __init__(self, respond: Respond, **policy: Any) -> None:
        self.clock = ManualClock()
        self.caller = InMemoryFunctionCaller(respond)
        self.dispatcher = Dispatcher(caller=self.caller, clock=self.clock, stopwatch=self.stopwatch)
        self.entry = an_entry(**policy)

    def stopwatch(self) -> float:
        return (self.clock() - NOW).total_seconds()

    def dispatch(self, request: InvocationRequest | None = None) -> Outcome:
        request = request or a_request()
        breakers = self.dispatcher.breakers.of(self.entry)
        inputs = DecisionInputs(entry=self.entry, snapshot_version=1, tariff=tariff.current(), breakers=breakers)
        decision = decide(request, inputs, now=self.clock(), draw=0.0)
        return self.dispatcher.dispatch(decision, request, self.entry.policy, breakers)

    @property
    def called(self) -> list[str]:
        return [endpoint for endpoint, _ in self.caller.calls]


def test_one_attempt_is_enough_when_it_answers() -> None:
    rig = Rig(failing(OK))
    outcome = rig.dispatch()
    assert outcome.answer is not None
    assert len(rig.called) == 1


@pytest.mark.parametrize("failure", [REFUSED, THROTTLED])
@pytest.mark.parametrize("idempotent", list(Idempotent))
def test_fails_over_when_the_first_candidate_cannot_have_run(failure: ProviderError, idempotent: Idempotent) -> None:
    rig = Rig(failing(failure, OK), idempotent=idempotent)
    outcome = rig.dispatch()
    assert outcome.answer is not None
    assert len(set(rig.called)) == 2


def test_never_repeats_what_may_have_run_unless_declared_repeatable() -> None:
    rig = Rig(failing(TIMED_OUT, OK), idempotent=Idempotent.NO)
    outcome = rig.dispatch(a_request(idempotency_key="k1"))
    assert outcome.answer is None
    assert len(rig.called) == 1


@pytest.mark.parametrize(("key", "calls"), [(None, 1), ("k1", 2)])
def test_a_function_that_deduplicates_is_repeated_only_with_a_key(key: str | None, calls: int) -> None:
    rig = Rig(failing(TIMED_OUT, OK), idempotent=Idempotent.DEDUPLICATES_ON_KEY)
    rig.dispatch(a_request(idempotency_key=key))
    assert len(rig.called) == calls


def test_the_callers_own_fault_is_not_tried_elsewhere_and_blames_no_endpoint() -> None:
    rig = Rig(failing(REJECTED))
    rig.dispatch()
    assert len(rig.called) == 1
    assert rig.dispatcher.breakers.of(rig.entry) == {}


def test_tries_no_more_than_the_policy_allows() -> None:
    rig = Rig(failing(REFUSED), max_attempts=2)
    assert len(rig.dispatch().attempts) == 2


def test_a_functions_own_error_is_an_answer_and_is_not_tried_elsewhere() -> None:
    own_error = FunctionAnswer(status=500, body=b"boom", is_function_error=True)
    rig = Rig(failing(own_error))
    outcome = rig.dispatch()
    assert outcome.answer is not None
    assert len(rig.called) == 1


def test_no_attempt_starts_when_the_deadline_is_near() -> None:
    rig = Rig(failing(OK))
    outcome = rig.dispatch(a_request(deadline_at=NOW + timedelta(milliseconds=99)))
    assert outcome.deadline_passed
    assert rig.called == []


def test_attempts_share_the_time_there_is_and_the_last_one_gets_the_rest() -> None:
    timeouts: list[float] = []

    def respond(_: object, __: object, timeout_ms: float) -> ProviderError:
        timeouts.append(timeout_ms)
        rig.clock.advance(timeout_ms / 1000)
        return TIMED_OUT

    rig = Rig(respond)
    outcome = rig.dispatch(a_request(deadline_at=NOW + timedelta(seconds=3)))
    assert timeouts == pytest.approx([993.3] * 3, abs=0.1)
    assert outcome.deadline_passed
    assert outcome.may_have_run


def test_an_endpoint_that_keeps_failing_is_demoted_then_probed() -> None:
    def respond(endpoint: object, *_: object) -> FunctionAnswer | ProviderError:
        return REFUSED if getattr(endpoint, "id", "") == "azure" else OK

    rig = Rig(respond)
    for _ in range(6):
        rig.dispatch()
    breaker = rig.dispatcher.breakers.of(rig.entry)
    (opened,) = [b for b in breaker.values() if b.state(rig.clock()) is BreakerState.OPEN]
    before = len(rig.called)
    rig.dispatch()
    assert rig.called[before:] != ["azure"]
    assert "azure" not in rig.called[before:]
    rig.clock.now = opened.opened_until or NOW
    rig.dispatch()
    assert rig.called[-2:] == ["azure", rig.called[-1]]


def test_calls_are_watched_for_lateness_while_their_endpoint_is_well_and_not_once_it_is_known_to_be_down() -> None:
    watched: list[tuple[str, float]] = []

    def watch(call: Call, _function: FunctionName, endpoint: Endpoint, after_s: float) -> Call:
        watched.append((endpoint.id, after_s))
        return call

    rig = Rig(failing(*[TIMED_OUT] * 2 * CONSECUTIVE), idempotent=Idempotent.NO)
    rig.dispatcher.watched = watch
    rig.dispatch()
    first, after_s = watched[0]
    assert first == rig.called[0]
    assert after_s >= LEAST_SLOW_MS / 1000
    endpoint = rig.entry.endpoint(rig.caller.calls[0][0])
    for _ in range(CONSECUTIVE):
        failed = Failed(endpoint=endpoint, failure=Failure.TIMED_OUT)
        rig.dispatcher.breakers.failed(rig.entry.name, [failed], rig.clock())
    rig.entry = replace(rig.entry, policy=replace(rig.entry.policy, mode=Mode.PIN, pinned=endpoint.id))
    rig.dispatch()
    assert rig.called[-1] == endpoint.id
    assert len(watched) == 1
