"""Calls beside each other: hedges, late calls, and what all of it costs, in virtual time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from fiso.billing import tariff
from fiso.domain.attempt import Outcome
from fiso.domain.decision import Decision, Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Idempotent, Mode
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.routing.budget import MOST_HEDGES, HedgeBudget
from fiso.routing.fold import fold
from fiso.services.request import recording
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.resilience.dispatch import LEAST_GIVE_UP_MS, URGENT, Dispatcher, attempt_timeout_ms, hedge_ms
from fiso_client.core.breaker import CONSECUTIVE, BreakerState
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import NOW, a_record, a_request, an_attempt, an_entry, three_endpoints
from tests.virtual_calls import Script, Takes, VirtualCaller, VirtualCalls

ENTRY = an_entry(*three_endpoints())


def warm_states() -> Mapping[EndpointId, EndpointState]:
    """Three copies that answered lately, each in a little more than 100 ms."""
    folded: dict[EndpointId, EndpointState] = {}
    for number in range(40):
        for place, endpoint in enumerate(ENTRY.endpoints):
            at = NOW - timedelta(seconds=60 - number)
            attempt = an_attempt(endpoint.id, latency_ms=100.0 + 5 * place + number % 7, started_at=at)
            record = a_record(
                3 * number + place,
                endpoint=endpoint.id,
                cloud_provider=endpoint.provider,
                features=dict.fromkeys(features.NAMES, 1.0),
                attempts=(attempt,),
            )
            folded = fold(folded, record)
    return folded


STATES = warm_states()
NEVER = Takes(None)
PLENTY = HedgeBudget(tokens=MOST_HEDGES, owed=0)
REFUSED = Takes(0.001, ProviderError(Failure.UNREACHABLE, "connection refused"))


class Rig:
    """A dispatcher in virtual time. Candidates rank in one order, as nothing is known of any of them."""

    def __init__(self, script: Script, budget: HedgeBudget = PLENTY, **policy: Any) -> None:
        self.caller = VirtualCaller(script)
        self.clock = self.caller.clock
        self.dispatcher = Dispatcher(
            caller=self.caller,
            clock=self.clock,
            stopwatch=self.caller.stopwatch,
            beside=VirtualCalls(self.caller),
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
        request = request or a_request(deadline_at=self.clock() + timedelta(seconds=28))
        inputs = self.inputs()
        self.decisions.append(decide(request, inputs, now=self.clock(), draw=0.0))
        return self.dispatcher.dispatch(self.decisions[-1], request, self.entry.policy, inputs.breakers)

    @property
    def first(self) -> str:
        return self.decisions[0].ranking[0].endpoint.id


def scripted(**takes: Takes) -> Script:
    """By provider; the others answer at once."""
    return lambda endpoint: takes.get(endpoint.provider.value, Takes(0.1))


def best() -> str:
    rig = Rig(scripted())
    rig.dispatch()
    return rig.first


FIRST = best()
"""Who is called first while nobody is known."""


def test_a_quick_answer_is_not_hedged() -> None:
    rig = Rig(scripted())
    outcome = rig.dispatch()
    assert rig.caller.called == [FIRST]
    assert outcome.waited_ms == pytest.approx(100, abs=0.1)


def test_a_hedge_begins_after_the_predicted_p95_and_the_first_answer_wins() -> None:
    rig = Rig(scripted(**{FIRST: Takes(20.0)}))
    outcome = rig.dispatch()
    after_ms = hedge_ms(rig.decisions[0].chosen)
    assert after_ms is not None
    assert outcome.waited_ms == pytest.approx(after_ms + 100, abs=0.1)
    assert [attempt.failure for attempt in outcome.attempts] == [Failure.OVERTAKEN, None]
    assert recording.reason_of(rig.decisions[0], outcome) is Reason.HEDGE


def test_the_losers_cost_is_recorded_as_what_was_expected_of_it() -> None:
    rig = Rig(scripted(**{FIRST: Takes(20.0)}))
    request = a_request(deadline_at=NOW + timedelta(seconds=28))
    outcome = rig.dispatch(request)
    record = recording.record_of(
        request, rig.inputs(), rig.decisions[0], outcome, error=None, elapsed_ms=outcome.waited_ms + 5
    )
    lost, won = record.attempts
    assert lost.cost_usd is not None
    assert lost.cost_usd > 0
    assert record.result.cost_usd == pytest.approx(lost.cost_usd + (won.cost_usd or 0))
    assert record.result.overhead_ms == pytest.approx(5)


def test_without_more_than_the_reserve_a_hedge_waits_half_as_long_again() -> None:
    rig = Rig(scripted(**{FIRST: Takes(20.0)}), HedgeBudget())
    outcome = rig.dispatch()
    after_ms = hedge_ms(rig.decisions[0].chosen)
    assert after_ms is not None
    assert outcome.waited_ms == pytest.approx(URGENT * after_ms + 100, abs=0.1)


def test_a_hedge_that_loses_is_no_failure_of_anybody() -> None:
    rig = Rig(lambda endpoint: Takes(0.8 if endpoint.id == FIRST else 20.0))
    outcome = rig.dispatch()
    assert [attempt.failure for attempt in outcome.attempts] == [Failure.NOT_NEEDED, None]
    assert all(b.state(rig.clock()) is BreakerState.CLOSED for b in rig.dispatcher.breakers.of(rig.entry).values())


@pytest.mark.parametrize(
    "policy",
    [
        {"idempotent": Idempotent.NO},
        {"idempotent": Idempotent.DEDUPLICATES_ON_KEY},
        {"mode": Mode.OBSERVE, "home": EndpointId(FIRST)},
        {"hedging": 0.0},
    ],
)
def test_what_must_not_run_twice_or_elsewhere_is_not_hedged(policy: dict[str, Any]) -> None:
    rig = Rig(scripted(**{FIRST: Takes(0.9)}), **policy)
    rig.dispatch()
    assert rig.caller.called == [FIRST]


def test_hedges_keep_to_their_share_of_requests() -> None:
    rig = Rig(lambda endpoint: Takes(0.95), HedgeBudget(), hedging=0.05)
    for _ in range(400):
        rig.dispatch()
    assert 15 <= len(rig.caller.called) - 400 <= 0.05 * 400


def test_no_hedge_goes_into_a_later_tier() -> None:
    others = frozenset(EndpointId(p) for p in Provider if p != FIRST)
    rig = Rig(scripted(**{FIRST: Takes(0.9)}), tiers=(frozenset({EndpointId(FIRST)}), others))
    rig.dispatch()
    assert rig.caller.called == [FIRST]


def test_an_endpoint_that_is_overtaken_in_a_row_is_demoted() -> None:
    rig = Rig(scripted(**{FIRST: Takes(20.0)}), hedging=0.2)
    for _ in range(60):
        rig.dispatch()
        if rig.dispatcher.breakers.of(rig.entry)[EndpointId(FIRST)].state(rig.clock()) is BreakerState.OPEN:
            break
    assert rig.caller.called.count(FIRST) == CONSECUTIVE


def test_a_late_call_is_not_cut_off_and_its_answer_still_counts() -> None:
    rig = Rig(lambda endpoint: Takes(2.2 if endpoint.id == FIRST else None), hedging=0.0)
    outcome = rig.dispatch()
    assert attempt_timeout_ms(rig.decisions[0].chosen) < 2200
    assert outcome.answer is not None
    assert outcome.attempts[-1].endpoint == FIRST
    assert len(rig.caller.called) == 3
    assert outcome.waited_ms == pytest.approx(2200, abs=1)


def test_three_silent_clouds_are_given_up_while_the_caller_still_waits() -> None:
    rig = Rig(lambda _: NEVER)
    request = a_request(deadline_at=NOW + timedelta(seconds=28))
    outcome = rig.dispatch(request)
    assert not outcome.deadline_passed
    assert outcome.may_have_run
    assert outcome.waited_ms < 2_500
    assert len(outcome.attempts) == 3


def test_behind_open_breakers_only_one_more_is_tried() -> None:
    rig = Rig(lambda _: REFUSED)
    for _ in range(CONSECUTIVE):
        rig.dispatch()
    assert all(b.state(rig.clock()) is BreakerState.OPEN for b in rig.dispatcher.breakers.of(rig.entry).values())
    before = len(rig.caller.called)
    for _ in range(100):
        rig.dispatch()
    assert len(rig.caller.called) - before <= 2 * 100
    assert len(rig.caller.called) - before <= 100 + 10


def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    rig = Rig(lambda _: NEVER)
    outcome = rig.dispatch(a_request(deadline_at=NOW + timedelta(seconds=1.5)))
    assert outcome.deadline_passed
    assert 1480 <= outcome.waited_ms <= 1550


def test_the_only_endpoint_is_tried_once_more_when_it_was_not_reached() -> None:
    rig = Rig(lambda _: REFUSED)
    rig.entry = an_entry(three_endpoints()[0])
    rig.dispatch()
    assert len(rig.caller.called) == 2


def test_least_whole_time_leaves_room_for_an_answer_in_two_and_a_half_seconds() -> None:
    assert LEAST_GIVE_UP_MS < 2_500


def test_a_hedge_that_fails_is_replaced_at_once() -> None:
    rig = Rig(scripted(**{FIRST: NEVER}))
    rig.dispatch()
    order = [candidate.endpoint.id for candidate in rig.decisions[0].ranking]
    both = Rig(lambda endpoint: NEVER if endpoint.id == FIRST else REFUSED if endpoint.id == order[1] else Takes(0.1))
    outcome = both.dispatch()
    assert outcome.answer is not None
    assert outcome.attempts[-1].endpoint == order[2]
    assert outcome.waited_ms < 500
