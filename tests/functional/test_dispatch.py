"""Attempts in order and beside each other: failover, repetition, hedges, late calls, and the time all of it takes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.billing import tariff
from fiso.domain.attempt import Outcome
from fiso.domain.decision import Decision, Reason
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import FailOverOn, Idempotent, Mode
from fiso.domain.request import InvocationRequest
from fiso.routing.budget import MOST_HEDGES, HedgeBudget
from fiso.services.request import recording
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.resilience.breakers import Failed
from fiso.services.resilience.dispatch import (
    LEAST_SLOW_MS,
    URGENT,
    Dispatcher,
    attempt_timeout_ms,
    hedge_ms,
)
from fiso.services.resilience.executors import Call
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK, Script, ScriptedEndpoints
from fiso_client.core.breaker import CONSECUTIVE, BreakerState
from fiso_client.core.failures import Failure, Fault
from tests.builders import a_request, an_entry, states_after, three_endpoints

STATES = states_after(40, {"aws": 100.0, "azure": 105.0, "gcp": 110.0})
PLENTY = HedgeBudget(tokens=MOST_HEDGES, owed=0)
NEVER, REFUSED = Script(failure=Failure.TIMED_OUT), Script(failure=Failure.UNREACHABLE)
CLOUDS = tuple(provider.value for provider in Provider)


def takes(seconds: float) -> Script:
    return Script(latency_ms=1000 * seconds)


class Rig:
    """A dispatcher in virtual time over endpoints that answered lately; unscripted ones take 100 ms."""

    def __init__(
        self, scripts: Mapping[str, Script] | Script | None = None, budget: HedgeBudget = PLENTY, **policy: Any
    ) -> None:
        self.clock = ManualClock()
        self.endpoints = ScriptedEndpoints(self.clock, lambda: 0.0)
        given = dict.fromkeys(CLOUDS, scripts) if isinstance(scripts, Script) else scripts or {}
        for id in CLOUDS:
            self.endpoints.set(EndpointId(id), given.get(id, takes(0.1)))
        self.dispatcher = Dispatcher(
            caller=self.endpoints,
            clock=self.clock,
            stopwatch=self.clock.ticks,
            concurrent=self.endpoints,
            hedges=budget,
        )
        self.entry = an_entry(*three_endpoints(), **policy)
        self.decisions: list[Decision] = []

    def inputs(self) -> DecisionInputs:
        breakers = self.dispatcher.breakers.of(self.entry)
        return DecisionInputs(
            entry=self.entry, snapshot_version=1, tariff=tariff.current(), states=STATES, breakers=breakers
        )

    def dispatch(self, request: InvocationRequest | None = None) -> Outcome:
        request = request or self.request()
        inputs = self.inputs()
        self.decisions.append(decide(request, inputs, now=self.clock(), draw=0.0))
        return self.dispatcher.dispatch(self.decisions[-1], request, self.entry.policy, inputs.breakers)

    def request(self, seconds: float = 28, **changes: Any) -> InvocationRequest:
        return a_request(deadline_at=self.clock() + timedelta(seconds=seconds), **changes)

    @property
    def called(self) -> list[str]:
        return [endpoint for endpoint, _ in self.endpoints.calls]

    def state(self, endpoint: str) -> BreakerState:
        return self.dispatcher.breakers.of(self.entry)[EndpointId(endpoint)].state(self.clock())


def ranked() -> list[str]:
    """The order in which endpoints are called while all are well."""
    rig = Rig()
    rig.dispatch()
    return [candidate.endpoint.id for candidate in rig.decisions[0].ranking]


FIRST, SECOND, THIRD = ranked()


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.THROTTLED])
@pytest.mark.parametrize("idempotent", list(Idempotent))
def test_fails_over_when_the_first_candidate_cannot_have_run(failure: Failure, idempotent: Idempotent) -> None:
    rig = Rig({FIRST: Script(failure=failure)}, idempotent=idempotent)
    assert rig.dispatch().answer is not None
    assert rig.called == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("idempotent", "key", "calls"),
    [
        (Idempotent.NO, "k1", 1),
        (Idempotent.DEDUPLICATES_ON_KEY, None, 1),
        (Idempotent.DEDUPLICATES_ON_KEY, "k1", 2),
        (Idempotent.YES, None, 2),
    ],
)
def test_what_may_have_run_is_repeated_only_where_that_is_declared_safe(
    idempotent: Idempotent, key: str | None, calls: int
) -> None:
    rig = Rig({FIRST: Script(failure=Failure.PROVIDER_FAULT)}, idempotent=idempotent)
    outcome = rig.dispatch(rig.request(idempotency_key=key))
    assert (len(rig.called), outcome.answer is not None) == (calls, calls == 2)


def test_the_callers_own_fault_is_not_tried_elsewhere_and_blames_no_endpoint() -> None:
    rig = Rig(Script(failure=Failure.REJECTED))
    rig.dispatch()
    assert len(rig.called) == 1
    assert rig.dispatcher.breakers.of(rig.entry) == {}


def test_tries_no_more_than_the_policy_allows() -> None:
    assert len(Rig(REFUSED, max_attempts=2).dispatch().attempts) == 2


OWN_ERROR = Script(answer=replace(OK, status=500, is_function_error=True))


def test_a_functions_own_error_is_an_answer_and_is_run_once() -> None:
    rig = Rig(OWN_ERROR, idempotent=Idempotent.NO)
    assert rig.dispatch().answer is not None
    assert len(rig.called) == 1


def test_an_error_that_one_copy_alone_shows_is_tried_elsewhere_where_it_may_be_repeated() -> None:
    rig = Rig({FIRST: OWN_ERROR})
    outcome = rig.dispatch()
    assert (outcome.answer, [attempt.verdict for attempt in outcome.attempts]) == (OK, [Fault.COPY, None])
    assert "answered the same request well" in outcome.attempts[0].detail


def test_what_all_copies_answer_alike_is_the_functions_own_and_is_not_asked_again_for_a_minute() -> None:
    rig = Rig(OWN_ERROR)
    outcome = rig.dispatch()
    assert (outcome.answer, outcome.attempts[-1].endpoint) == (OWN_ERROR.answer, FIRST)
    assert {attempt.verdict for attempt in outcome.attempts} == {Fault.FUNCTION}
    assert rig.called == [FIRST, SECOND, THIRD]
    assert recording.reason_of(rig.decisions[0], outcome) is rig.decisions[0].reason
    rig.dispatch()
    assert rig.called[3:] == [FIRST]


@pytest.mark.parametrize(
    ("on", "script", "calls"),
    [
        ({FailOverOn.NOT_RUN}, OWN_ERROR, 1),
        ({FailOverOn.NOT_RUN}, Script(failure=Failure.BROKEN), 1),
        ({FailOverOn.LOST}, REFUSED, 1),
        ({FailOverOn.LOST}, Script(failure=Failure.BROKEN), 2),
        ({FailOverOn.SERVER_ERROR}, OWN_ERROR, 2),
        (set(), OWN_ERROR, 1),
    ],
)
def test_the_policy_says_after_what_another_copy_is_tried(on: set[FailOverOn], script: Script, calls: int) -> None:
    rig = Rig({FIRST: script}, fail_over_on=frozenset(on))
    rig.dispatch()
    assert len(rig.called) == calls


def test_no_attempt_starts_when_the_deadline_is_near() -> None:
    rig = Rig()
    assert rig.dispatch(rig.request(seconds=0.099)).deadline_passed
    assert rig.called == []


def test_attempts_one_after_the_other_share_the_time_there_is_and_the_last_one_gets_the_rest() -> None:
    rig = Rig(NEVER)
    rig.dispatcher.concurrent = None
    outcome = rig.dispatch(rig.request(seconds=3))
    assert [attempt.latency_ms for attempt in outcome.attempts] == pytest.approx([993.3] * 3, abs=0.1)
    assert outcome.deadline_passed
    assert outcome.may_have_run


def test_an_endpoint_that_keeps_failing_is_demoted_then_probed() -> None:
    rig = Rig({FIRST: REFUSED})
    for _ in range(CONSECUTIVE):
        rig.dispatch()
    assert rig.state(FIRST) is BreakerState.OPEN
    rig.endpoints.calls.clear()
    rig.dispatch()
    assert FIRST not in rig.called
    opened = rig.dispatcher.breakers.of(rig.entry)[EndpointId(FIRST)]
    assert opened.opened_until is not None
    rig.clock.advance((opened.opened_until - rig.clock()).total_seconds())
    rig.dispatch()
    assert FIRST in rig.called


def test_calls_are_watched_for_lateness_while_their_endpoint_is_well_and_not_once_it_is_known_to_be_down() -> None:
    watched: list[tuple[str, float]] = []

    def watch(call: Call, _function: FunctionName, endpoint: Endpoint, after_s: float) -> Call:
        watched.append((endpoint.id, after_s))
        return call

    rig = Rig(NEVER, idempotent=Idempotent.NO)
    rig.dispatcher.watched = watch
    rig.dispatch()
    ((first, after_s),) = watched
    assert first == rig.called[0]
    assert after_s >= LEAST_SLOW_MS / 1000
    endpoint = rig.entry.endpoint(EndpointId(first))
    for _ in range(CONSECUTIVE):
        failed = Failed(endpoint=endpoint, failure=Failure.TIMED_OUT)
        rig.dispatcher.breakers.failed(rig.entry.name, [failed], rig.clock())
    rig.entry = replace(rig.entry, policy=replace(rig.entry.policy, mode=Mode.PIN, pinned=endpoint.id))
    rig.dispatch()
    assert rig.called[-1] == endpoint.id
    assert len(watched) == 1


def test_a_quick_answer_is_not_hedged() -> None:
    rig = Rig()
    outcome = rig.dispatch()
    assert rig.called == [FIRST]
    assert outcome.waited_ms == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("budget", "times"), [(PLENTY, 1.0), (HedgeBudget(), URGENT)], ids=["plenty", "reserve"])
def test_a_hedge_begins_after_the_predicted_p95_or_half_as_long_again_and_the_first_answer_wins(
    budget: HedgeBudget, times: float
) -> None:
    rig = Rig({FIRST: takes(20)}, budget)
    outcome = rig.dispatch()
    after_ms = hedge_ms(rig.decisions[0].chosen)
    assert after_ms is not None
    assert outcome.waited_ms == pytest.approx(times * after_ms + 100, abs=0.1)
    assert [attempt.failure for attempt in outcome.attempts] == [Failure.OVERTAKEN, None]
    assert recording.reason_of(rig.decisions[0], outcome) is Reason.HEDGE


def test_the_losers_cost_is_recorded_as_what_was_expected_of_it() -> None:
    rig = Rig({FIRST: takes(20)})
    request = rig.request()
    outcome = rig.dispatch(request)
    record = recording.record_of(
        request, rig.inputs(), rig.decisions[0], outcome, error=None, elapsed_ms=outcome.waited_ms + 5
    )
    lost, won = record.attempts
    assert lost.cost_usd is not None
    assert lost.cost_usd > 0
    assert record.result.cost_usd == pytest.approx(lost.cost_usd + (won.cost_usd or 0))
    assert record.result.overhead_ms == pytest.approx(5)


def test_a_hedge_that_loses_is_no_failure_of_anybody() -> None:
    rig = Rig({FIRST: takes(0.8), SECOND: takes(20), THIRD: takes(20)})
    outcome = rig.dispatch()
    assert [attempt.failure for attempt in outcome.attempts] == [Failure.NOT_NEEDED, None]
    assert {rig.state(endpoint) for endpoint in rig.dispatcher.breakers.of(rig.entry)} <= {BreakerState.CLOSED}


@pytest.mark.parametrize(
    "policy",
    [
        {"idempotent": Idempotent.NO},
        {"idempotent": Idempotent.DEDUPLICATES_ON_KEY},
        {"mode": Mode.OBSERVE, "home": EndpointId(FIRST)},
        {"hedging": 0.0},
        {"tiers": (frozenset({EndpointId(FIRST)}), frozenset({EndpointId(SECOND), EndpointId(THIRD)}))},
    ],
)
def test_what_must_not_run_twice_or_elsewhere_or_in_a_later_tier_is_not_hedged(policy: dict[str, Any]) -> None:
    rig = Rig({FIRST: takes(0.9)}, **policy)
    rig.dispatch()
    assert rig.called == [FIRST]


def test_hedges_keep_to_their_share_of_requests() -> None:
    rig = Rig(takes(0.95), HedgeBudget(), hedging=0.05)
    for _ in range(400):
        rig.dispatch()
    assert 15 <= len(rig.called) - 400 <= 0.05 * 400


def test_an_endpoint_that_is_overtaken_in_a_row_is_demoted() -> None:
    rig = Rig({FIRST: takes(20)}, hedging=0.2)
    for _ in range(60):
        rig.dispatch()
        if rig.state(FIRST) is BreakerState.OPEN:
            break
    assert rig.called.count(FIRST) == CONSECUTIVE


def test_a_late_call_is_not_cut_off_and_its_answer_still_counts() -> None:
    rig = Rig({FIRST: takes(2.2), SECOND: NEVER, THIRD: NEVER}, hedging=0.0)
    outcome = rig.dispatch()
    assert attempt_timeout_ms(rig.decisions[0].chosen) < 2200
    assert outcome.answer is not None
    assert outcome.attempts[-1].endpoint == FIRST
    assert len(rig.called) == 3
    assert outcome.waited_ms == pytest.approx(2200, abs=1)


def test_three_silent_clouds_are_given_up_when_the_policy_says() -> None:
    outcome = Rig(NEVER, give_up_after_ms=2_300).dispatch()
    assert not outcome.deadline_passed
    assert outcome.may_have_run
    assert outcome.waited_ms < 2_500
    assert len(outcome.attempts) == 3


@pytest.mark.parametrize("idempotent", [Idempotent.NO, Idempotent.YES])
def test_a_request_that_nobody_answered_is_given_up_when_the_policy_says(idempotent: Idempotent) -> None:
    outcome = Rig(takes(4), give_up_after_ms=1_000, idempotent=idempotent).dispatch()
    assert (outcome.answer, outcome.deadline_passed) == (None, False)
    assert 900 <= outcome.waited_ms <= 1_050


def test_lateness_alone_ends_no_request() -> None:
    late = takes(20)
    assert Rig(late).dispatch().answer == OK


def test_when_one_copy_failed_the_silent_ones_are_not_waited_for_to_the_deadline() -> None:
    outcome = Rig({FIRST: Script(failure=Failure.BROKEN), SECOND: NEVER, THIRD: NEVER}).dispatch()
    assert outcome.waited_ms < 8_000


def test_behind_open_breakers_only_one_more_is_tried() -> None:
    rig = Rig(REFUSED)
    for _ in range(CONSECUTIVE):
        rig.dispatch()
    assert {rig.state(endpoint) for endpoint in CLOUDS} == {BreakerState.OPEN}
    rig.endpoints.calls.clear()
    for _ in range(100):
        rig.dispatch()
    assert len(rig.called) <= 100 + 10


def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    rig = Rig(NEVER)
    outcome = rig.dispatch(rig.request(seconds=1.5))
    assert outcome.deadline_passed
    assert 1480 <= outcome.waited_ms <= 1550


def test_the_only_endpoint_is_tried_once_more_when_it_was_not_reached() -> None:
    rig = Rig(REFUSED)
    rig.entry = an_entry(three_endpoints()[0])
    rig.dispatch()
    assert len(rig.called) == 2


def test_a_hedge_that_fails_is_replaced_at_once() -> None:
    outcome = (rig := Rig({FIRST: NEVER, SECOND: REFUSED})).dispatch()
    assert rig.called == [FIRST, SECOND, THIRD]
    assert outcome.answer is not None
    assert outcome.waited_ms < 500
