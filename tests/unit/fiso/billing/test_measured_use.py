"""What FISO itself used of a month: counted by the state, at a month's turn and for late records, and what it makes of
prices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import tariff
from fiso.billing.measured_use import Use, UseKept, in_force, measured, stepped
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.state import MonthSent, MonthUse
from fiso.domain.terms import Account, Link, Terms
from fiso.routing.fold import fold
from fiso_client.core.failures import Failure
from tests.builders import a_record, a_state, an_attempt, an_endpoint, an_entry

NOVEMBER, DECEMBER, JANUARY = (
    datetime(2026, 11, 30, 12, tzinfo=UTC),
    datetime(2026, 12, 1, 12, tzinfo=UTC),
    datetime(2027, 1, 2, 12, tzinfo=UTC),
)
LAMBDA = an_endpoint(Provider.AWS, memory_mb=1024)


def used(*calls: tuple[datetime, float]) -> MonthUse:
    use = MonthUse(month=202611)
    for at, billed_s in calls:
        use = use.after(at, billed_s)
    return use


def test_a_month_begins_anew_and_keeps_the_one_before() -> None:
    assert used((NOVEMBER, 2.0), (NOVEMBER, 1.0)) == MonthUse(month=202611, calls=2, billed_s=3.0)
    turned = used((NOVEMBER, 2.0), (DECEMBER, 5.0))
    assert turned == MonthUse(month=202612, calls=1, billed_s=5.0, calls_before=1, billed_s_before=2.0)
    assert used((DECEMBER, 5.0), (JANUARY, 1.0)).calls_before == 1  # over the year's end
    assert used((NOVEMBER, 5.0), (JANUARY, 1.0)).calls_before == 0  # a month without calls between


def test_a_late_record_counts_in_its_own_month_while_that_is_kept() -> None:
    late = used((DECEMBER, 5.0), (NOVEMBER, 2.0))
    assert (late.calls, late.calls_before, late.billed_s_before) == (1, 1, 2.0)
    assert used((JANUARY, 1.0), (NOVEMBER, 2.0)) == MonthUse(month=202701, calls=1, billed_s=1.0)


@given(st.permutations([NOVEMBER] * 3 + [DECEMBER] * 4))
def test_the_order_of_records_makes_no_difference(moments: list[datetime]) -> None:
    assert used(*((at, 1.0) for at in moments)) == MonthUse(
        month=202612, calls=4, billed_s=4.0, calls_before=3, billed_s_before=3.0
    )


def test_a_month_comes_to_at_least_what_the_last_one_came_to() -> None:
    use = MonthUse(month=202612, calls=1, billed_s=2.0, calls_before=90, billed_s_before=80.0)
    assert use.expected_at(DECEMBER) == (90, 80.0)
    assert use.expected_at(JANUARY) == (1, 2.0)
    assert use.expected_at(JANUARY + timedelta(days=62)) == (0, 0.0)


@pytest.mark.parametrize(
    ("attempt", "calls", "billed_s"),
    [
        (an_attempt(billed_ms=124.0), 1, 0.124),
        (an_attempt(latency_ms=250.0), 1, 0.25),
        (an_attempt(status=None, failure=Failure.TIMED_OUT, latency_ms=1_000.0), 1, 1.0),
        (an_attempt(status=None, failure=Failure.THROTTLED), 0, 0.0),
    ],
)
def test_the_fold_counts_what_may_have_run(attempt: object, calls: int, billed_s: float) -> None:
    states = fold({}, a_record(attempts=(attempt,), endpoint=EndpointId("aws")))
    use = states[EndpointId("aws")].use
    assert (use.calls, use.billed_s) == (calls, billed_s) if use else calls == 0


def test_a_free_tier_ends_by_what_was_called_and_does_not_begin_anew_with_the_month() -> None:
    free, prices = Terms(aws=Account(free_tier=True)), tariff.current()
    state = replace(a_state(endpoint=EndpointId("aws")), use=MonthUse(month=202612, calls=10, billed_s=10.0))
    within = prices.under(free, in_force(free, [LAMBDA], {state.endpoint: state}, DECEMBER))
    assert within.cost_usd(LAMBDA, 100.0) == 0
    over = replace(state, use=MonthUse(month=202612, calls=1, calls_before=3_000_000, billed_s_before=900_000.0))
    beyond = prices.under(free, in_force(free, [LAMBDA], {over.endpoint: over}, DECEMBER))
    assert beyond.cost_usd(LAMBDA, 100.0) == prices.cost_usd(LAMBDA, 100.0)


def test_what_is_declared_counts_where_it_is_more_and_without_a_free_tier_nothing_is_looked_up() -> None:
    declared = Terms(aws=Account(free_tier=True, monthly_requests=2e6, monthly_gb_seconds=1e6))
    state = replace(a_state(endpoint=EndpointId("aws")), use=MonthUse(month=202612, calls=5_000, billed_s=100.0))
    known = {state.endpoint: state}
    by_both = tariff.current().under(declared, in_force(declared, [LAMBDA], known, DECEMBER))
    assert by_both.terms.account(Provider.AWS) == declared.account(Provider.AWS)
    assert measured([LAMBDA], known, DECEMBER) == {Provider.AWS: Use(requests=5_000, gb_seconds=100.0)}
    assert in_force(None, [LAMBDA], known, DECEMBER) == ()


@given(st.floats(1, 1e15))
def test_a_step_is_at_most_a_fifth_below(amount: float) -> None:
    assert 0.8 * amount <= stepped(amount) <= amount * 1.000001


AZURE = an_endpoint(Provider.AZURE, id=EndpointId("azure"), region="eastus")
TB = 1024 * 2**30


def test_what_is_sent_is_counted_by_the_month_too() -> None:
    november = MonthSent(month=202611).after(NOVEMBER, request=10, answer=100).after(NOVEMBER, request=1, answer=2)
    assert november == MonthSent(month=202611, requests=11, answers=102)
    turned = november.after(DECEMBER, request=5, answer=6).after(NOVEMBER, request=1, answer=0)
    assert turned == MonthSent(month=202612, requests=5, answers=6, requests_before=12, answers_before=102)
    assert (turned.expected_at(DECEMBER), turned.expected_at(JANUARY)) == ((12.0, 102.0), (5.0, 6.0))


def test_the_fold_counts_the_request_of_each_attempt_that_may_have_run_and_the_answer_of_the_last() -> None:
    attempts = (
        an_attempt("lost", status=None, failure=Failure.TIMED_OUT),
        an_attempt("full", status=None, failure=Failure.THROTTLED),
        an_attempt("aws"),
    )
    record = a_record(attempts=attempts, endpoint=EndpointId("aws"), request_size_bytes=40, response_size_bytes=900)
    sent = {str(id): state.sent for id, state in fold({}, record).items()}
    month = MonthUse(month=record.timestamp.year * 100 + record.timestamp.month).month
    assert sent["lost"] == MonthSent(month=month, requests=40)
    assert sent["full"] is None
    assert sent["aws"] == MonthSent(month=month, requests=40, answers=900)


@pytest.mark.parametrize(
    ("links", "aws_tb", "azure_tb"),
    [
        ((), 2 + 30, 30),  # requests to Azure, and every answer once more to its caller
        ((Link(origin="aws/us-east-1", destination="azure", usd_per_gb=0.02),), 30, 30),
        ((Link(origin="azure", destination="aws", usd_per_gb=0.02),), 32, 0),
        ((Link(origin="aws/eu-west-1", destination="azure", usd_per_gb=0.02),), 32, 30),
    ],
)
def test_data_is_metered_where_it_leaves_for_the_internet(
    links: tuple[Link, ...], aws_tb: float, azure_tb: float
) -> None:
    sent = MonthSent(month=202612, requests=2 * TB, answers=30 * TB)
    state = replace(a_state(endpoint=AZURE.id), use=MonthUse(month=202612, calls=1), sent=sent)
    terms, states = Terms(links=links), {AZURE.id: state}
    found = measured([AZURE], states, DECEMBER, terms=terms, router_region="us-east-1")
    assert found[Provider.AWS].transfer_gb == pytest.approx(1024 * aws_tb)
    assert found[Provider.AZURE].transfer_gb == pytest.approx(1024 * azure_tb)


@pytest.mark.parametrize(("answers_tb", "usd"), [(0.5, 0.087), (9.9, 0.087), (11.5, 0.083), (60.0, 0.07)])
def test_the_price_of_data_is_that_of_the_tier_that_the_month_reached(answers_tb: float, usd: float) -> None:
    sent = MonthSent(month=202612, answers=int(answers_tb * TB))
    state = replace(a_state(endpoint=AZURE.id), use=MonthUse(month=202612, calls=1), sent=sent)
    used = in_force(None, [AZURE], {AZURE.id: state}, DECEMBER, router_region="us-east-1")
    prices = tariff.current().under(None, used)
    assert prices.gb_usd((Provider.AZURE, "eastus"), (Provider.AWS, "us-east-1")) == usd


def test_data_within_a_free_tier_costs_nothing_until_it_is_used_up() -> None:
    terms, prices = Terms(azure=Account(free_tier=True)), tariff.current()
    for answers_gb, usd in ((64, 0.0), (128, 0.087)):
        sent = MonthSent(month=202612, answers=answers_gb * 2**30)
        state = replace(a_state(endpoint=AZURE.id), use=MonthUse(month=202612, calls=1), sent=sent)
        used = in_force(terms, [AZURE], {AZURE.id: state}, DECEMBER, router_region="us-east-1")
        found = prices.under(terms, used).gb_usd((Provider.AZURE, "eastus"), (Provider.AWS, "us-east-1"))
        assert found == usd, answers_gb


def test_what_is_in_force_is_worked_out_anew_for_new_states_terms_and_months_only() -> None:
    entry, kept = replace(an_entry(AZURE), prices=Terms(azure=Account(free_tier=True))), UseKept()
    state = replace(a_state(endpoint=AZURE.id), use=MonthUse(month=202612, calls=8))
    states = {AZURE.id: state}
    used = kept.of(entry, states, DECEMBER, "us-east-1")
    assert dict(used)[Provider.AZURE].requests == 8
    assert kept.of(entry, states, DECEMBER, "us-east-1") is used
    more = {AZURE.id: replace(state, use=MonthUse(month=202612, calls=16))}
    assert dict(kept.of(entry, more, DECEMBER, "us-east-1"))[Provider.AZURE].requests == 16
    assert dict(kept.of(entry, more, JANUARY + timedelta(days=62), "us-east-1"))[Provider.AZURE].requests == 0
    assert kept.of(replace(entry, prices=None), more, DECEMBER, "us-east-1") == ()
