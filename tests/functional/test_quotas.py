"""Quotas through the handler and over a fleet of environments; a small part of the scorecard's row 24."""

import json
from dataclasses import replace
from random import Random

import pytest

from fiso.domain.errors import QuotaExceeded, StoreUnavailable
from fiso.domain.request import TenantId
from fiso.services.identity.quotas import EXCHANGE_S, MOST_TENANTS, Quotas, in_words
from fiso.settings import BadSetting
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryTenantUse, away
from fiso.testing.rig import Rig, http_event
from tests.edge import BY_IAM, an_outcome, answered, problem_of, report_of, signed
from tests.held_executor import HeldExecutor
from tests.lab.chaos.experiments import noisy_tenant
from tests.lab.chaos.experiments.noisy_tenant import HONEST, OFFENDER, PER_S, Load, tally_of

ALICE = TenantId("alice")


def quotas(use: InMemoryTenantUse | None, clock: ManualClock, per_s: float = 10, burst: float = 20) -> Quotas:
    rules = in_words(f"{per_s}/{burst}")
    return Quotas(lambda: rules, use, clock=clock, executor=HeldExecutor())


def passed(quotas: Quotas, tries: int, tenant: TenantId = ALICE) -> int:
    """How many of these requests pass, one after the other at one moment."""
    count = 0
    for _ in range(tries):
        try:
            quotas.admit(tenant)
        except QuotaExceeded:
            continue
        quotas.await_pending()
        count += 1
    return count


def limited(quotas: str, use: InMemoryTenantUse) -> Rig:
    return Rig(settings=replace(BY_IAM, quotas=quotas), ports=lambda ports: replace(ports, tenant_use=use))


def test_a_burst_passes_then_what_flows_in() -> None:
    clock = ManualClock()
    one = quotas(InMemoryTenantUse(), clock)
    assert passed(one, 50) == 20
    clock.advance(1)
    assert passed(one, 50) == 10


def test_the_refusal_says_when_to_come_again() -> None:
    rig = limited("1/2", InMemoryTenantUse())
    statuses = [rig.send(signed(http_event()))["statusCode"] for _ in range(3)]
    assert statuses == [200, 200, 429]
    response = rig.send(signed(http_event()))
    assert (problem_of(response)["title"], response["headers"]["retry-after"]) == ("Quota exceeded", "1")
    assert len(rig.calls) == 2
    assert rig.send(signed(http_event(), "999988887777"))["statusCode"] == 200  # another tenant's bucket
    assert rig.send(http_event(method="GET", path="/healthz"))["statusCode"] == 200


@pytest.mark.parametrize("burst", [1.0, 2.0, 3.0, 20.0, 500.0])
@pytest.mark.parametrize("kind", ["shared", "none", "away"])
def test_a_tenant_that_waits_long_enough_always_gets_its_burst_again(burst: float, kind: str) -> None:
    clock, use = ManualClock(), InMemoryTenantUse()
    if kind == "away":
        use.before = away()
    one = quotas(None if kind == "none" else use, clock, burst=burst)
    for _ in range(10):
        assert passed(one, int(3 * burst)) >= (burst if kind == "none" else 1)
        clock.advance(3_600)
        passed(one, 1)
        clock.advance(3_600)


def test_without_a_quota_nothing_is_counted() -> None:
    use = InMemoryTenantUse()
    rig = limited("", use)
    assert {rig.send(signed(http_event()))["statusCode"] for _ in range(50)} == {200}
    assert use.writes == 0


def test_environments_learn_of_one_another_during_the_wait() -> None:
    clock, use = ManualClock(), InMemoryTenantUse()
    first, second = quotas(use, clock), quotas(use, clock)
    assert passed(first, 20) == 20
    clock.advance(EXCHANGE_S)
    assert passed(first, 10) == 10  # tells what it spent with its next request
    clock.advance(EXCHANGE_S)
    assert passed(first, 1) + passed(second, 50) <= 12


def test_a_steady_tenant_costs_a_write_a_second_not_one_a_request() -> None:
    clock, use = ManualClock(), InMemoryTenantUse()
    one = quotas(use, clock, per_s=100, burst=1000)
    for _ in range(500):
        clock.advance(0.02)
        assert passed(one, 1) == 1
    assert use.writes <= 12


@pytest.mark.parametrize("error", [StoreUnavailable("away"), KeyError("Attributes")], ids=["away", "damaged"])
def test_without_the_table_an_environment_holds_its_own_part_and_takes_no_answer_away(error: Exception) -> None:
    clock = ManualClock()
    table = InMemoryTenantUse()

    def not_there(operation: str) -> None:
        raise error

    table.before = not_there
    one = quotas(table, clock)
    total = 0
    for _ in range(100):
        clock.advance(0.1)
        total += passed(one, 10)
    assert 95 <= total <= 105


@pytest.mark.parametrize(
    ("pause_s", "tries", "least", "most"),
    [(0.1, 10, 115, 125), (1.0, 50, 990, 1_030), (60.0, 50, 2_000, 2_000), (0.001, 1, 20, 22), (3_600.0, 1, 100, 100)],
)
def test_where_there_is_no_table_a_quota_is_repaid_as_time_passes(
    pause_s: float, tries: int, least: int, most: int
) -> None:
    clock = ManualClock()
    one = quotas(None, clock)
    total = 0
    for _ in range(100):
        total += passed(one, tries)
        clock.advance(pause_s)
    assert least <= total <= most


def test_where_there_is_no_table_a_report_is_a_debt_that_is_repaid() -> None:
    clock = ManualClock()
    one = quotas(None, clock)
    assert passed(one, 1) == 1
    one.charge(ALICE, 59)
    waited = []
    for _ in range(8):
        waited.append(passed(one, 1))
        clock.advance(1)
    assert waited == [0, 0, 0, 0, 0, 1, 1, 1]  # 40 tokens are owed at 10 a second


def test_one_tenants_quota_may_differ_and_be_the_only_one() -> None:
    rules = in_words("alice=1/2 bob=5e0/1e1")
    assert [rules.of(name) for name in ("alice", "bob", "carol")] == ["1.000000/2.000000", "5.000000/10.000000", None]
    assert in_words("3/4 alice=1/2").of("carol") == "3.000000/4.000000"


@pytest.mark.parametrize("text", ["5", "5/", "/5", "a/b", "0/1", "alice=", "nan/5", "5/5/5"])
def test_a_quota_that_does_not_read_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(BadSetting, match="FISO_QUOTAS"):
        limited(text, InMemoryTenantUse())


def test_only_so_many_tenants_are_remembered() -> None:
    one = quotas(InMemoryTenantUse(), ManualClock())
    for number in range(MOST_TENANTS + 50):
        one.admit(TenantId(str(number)))
    assert len(one._shares) == MOST_TENANTS


RATES = {OFFENDER: 10 * PER_S} | dict.fromkeys(HONEST, 0.6 * PER_S)


def test_over_many_environments_an_offender_is_held_to_its_quota_and_nobody_else_notices() -> None:
    tally = tally_of(Load(seconds=60, rates=RATES), InMemoryTenantUse(), Random(7))
    assert tally.environments > 20
    assert [figure.name for figure in noisy_tenant.figures([tally]) if not figure.is_met] == []


def test_the_experiment_notices_a_quota_that_is_not_shared() -> None:
    tally = tally_of(Load(seconds=20, rates=RATES), None, Random(7))
    assert "offender's distance from its quota" in {
        figure.name for figure in noisy_tenant.figures([tally]) if not figure.is_met
    }


def test_each_call_in_a_report_counts_like_a_request() -> None:
    rig = limited("10/20", InMemoryTenantUse())
    rig.send(signed(http_event()))  # the tenant's bucket is known from here on
    rig.clock.advance(10)
    token = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count")))["body"])["token"]
    outcomes = [an_outcome(number, answered("aws-us-east-1")) for number in range(50)]
    report = signed(http_event(path="/v1/outcomes", body=report_of(token, *outcomes)))
    report_of_one = signed(http_event(path="/v1/outcomes", body=report_of(token, outcomes[0])))
    assert json.loads(rig.send(report)["body"])["accepted"] == 50
    passed_at = []
    for second in range(20):
        if rig.send(report_of_one)["statusCode"] == 200:
            passed_at.append(second)
        assert rig.app.quotas is not None
        rig.app.quotas.await_pending()  # virtual time passes faster than the exchange takes
        rig.clock.advance(1)
    assert 3 <= passed_at[0] <= 6  # some 32 tokens are owed at 10 a second
    assert passed_at == list(range(passed_at[0], 20))
