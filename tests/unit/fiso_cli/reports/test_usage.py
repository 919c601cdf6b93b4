"""What a log says that calls cost, by copy and hour."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import ShadowOutcome, ShadowSummary
from fiso_cli.reports.bills.resources import Resources
from fiso_cli.reports.bills.usage import HOUR_S, Copy, Usage, Use
from fiso_client.core.failures import Failure
from tests.bills import BEGIN
from tests.builders import a_record, an_attempt, an_endpoint, an_entry

HOUR = int(BEGIN.timestamp()) // HOUR_S
ENTRY = an_entry(*(an_endpoint(provider) for provider in Provider))


def copy(endpoint: str) -> Copy:
    return Copy(FunctionName("word-count"), EndpointId(endpoint))


def used(*attempts: object, shadow: ShadowSummary | None = None) -> dict[Copy, dict[int, Use]]:
    usage = Usage(Resources([ENTRY]).endpoints)
    usage.add(replace(a_record(timestamp=BEGIN, attempts=attempts), shadow=shadow))
    return usage.by_copy


def test_every_attempt_counts_in_the_hour_in_which_it_began() -> None:
    late = BEGIN + timedelta(minutes=59, seconds=59.9)
    found = used(
        an_attempt("azure", started_at=late, cost_usd=None, failure=Failure.TIMED_OUT, status=None),
        an_attempt("aws", started_at=late + timedelta(seconds=1), cost_usd=1.0000002),
    )
    assert found == {
        copy("azure"): {HOUR: Use(calls=1, unpriced=1)},
        copy("aws"): {HOUR + 1: Use(calls=1, requests=Decimal("0.0000002"), compute=Decimal("1.0000000"))},
    }


@pytest.mark.parametrize("cost_usd", [None, 0.0])
def test_what_never_ran_is_no_call(cost_usd: float | None) -> None:
    assert used(an_attempt("aws", cost_usd=cost_usd, failure=Failure.REFUSED, status=None)) == {}


def test_a_call_that_cost_less_than_a_request_has_no_computing() -> None:
    assert used(an_attempt(cost_usd=1e-7, started_at=BEGIN))[copy("aws")][HOUR].compute == 0


def test_shadow_calls_are_on_the_bill_as_well() -> None:
    shadow = ShadowSummary(
        endpoint=EndpointId("azure"), outcome=ShadowOutcome.DIFFERS, third=EndpointId("gcp"), cost_usd=2.0
    )
    found = used(shadow=shadow)
    assert {name: uses[HOUR].usd for name, uses in found.items()} == {copy("azure"): 1, copy("gcp"): 1}


def test_a_log_without_calls_is_of_no_time() -> None:
    assert Usage({}).span is None


def test_a_log_is_of_whole_days_unless_something_says_since_when() -> None:
    usage = Usage(Resources([ENTRY]).endpoints)
    usage.add(a_record(timestamp=BEGIN, attempts=(an_attempt(started_at=BEGIN),)))
    day = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    assert usage.span == (day, day + 24 * HOUR_S)
    usage.since = BEGIN - timedelta(minutes=30)
    assert usage.span == (BEGIN.timestamp() - 1_800, day + 24 * HOUR_S)
