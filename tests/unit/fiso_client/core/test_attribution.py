"""Attribution: suspects are held back whatever their own breakers say, and every answer has a verdict with evidence."""

from datetime import UTC, datetime, timedelta

import pytest

from fiso_client.core.attribution import Attribution, Copy
from fiso_client.core.breaker import Breaker, BreakerState
from fiso_client.core.conduct import UNSEEN
from fiso_client.core.failures import Failure, Fault

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = ("a", "b", "c")


def copy(id: str, function: str = "f", region: str = "eastus") -> Copy:
    return Copy(function, id, "azure", region)


def struck(times: int) -> Attribution:
    """Copy a stood out so many times, its siblings answering well in between."""
    attribution = Attribution()
    for number in range(times):
        at = NOW - timedelta(seconds=times - number)
        for id in ("b", "c"):
            attribution.ended(copy(id), IDS, oddity=None, shape="json", now=at)
        attribution.ended(copy("a"), IDS, oddity="status 500", shape="json", now=at)
    return attribution


def state_of(attribution: Attribution, own: Breaker | None, now: datetime = NOW) -> BreakerState:
    held = attribution.held_back("f", IDS, {"a": own} if own else {}, now)
    return held["a"].state(now)


def test_a_breaker_that_is_half_open_does_not_let_a_suspect_be_asked_too_soon() -> None:
    half_open = Breaker(opened_until=NOW - timedelta(seconds=1), changed_at=NOW - timedelta(seconds=3))
    assert half_open.state(NOW) is BreakerState.HALF_OPEN
    assert state_of(struck(3), half_open) is BreakerState.OPEN


def test_a_breaker_that_is_open_holds_a_suspect_longer() -> None:
    attribution = struck(2)
    for _ in range(10):
        attribution.ended(copy("b"), IDS, oddity=None, shape="json", now=NOW)
    later = NOW + timedelta(seconds=20)
    assert state_of(attribution, None, later) is BreakerState.HALF_OPEN
    assert state_of(attribution, Breaker(opened_until=later + timedelta(seconds=9)), later) is BreakerState.OPEN


@pytest.mark.parametrize(
    ("status", "oddity", "verdict"),
    [
        (200, None, None),
        (400, None, Fault.CALLER),
        (403, "status 403", Fault.CALLER),
        (429, "status 429", Fault.THROTTLE),
        (500, "status 500", Fault.FUNCTION),
        (302, "status 302", None),
    ],
)
def test_an_answer_without_news_of_the_siblings(status: int, oddity: str | None, verdict: Fault | None) -> None:
    found = Attribution().finding(copy("a"), UNSEEN, status=status, oddity=oddity)
    assert (found.verdict if found else None) is verdict
    assert found is None or str(status) in found.evidence


def test_a_suspect_whose_siblings_did_well_is_at_fault_itself() -> None:
    attribution = struck(2)
    attribution.ended(copy("b"), IDS, oddity=None, shape="json", now=NOW)
    found = attribution.finding(copy("a"), attribution.conduct_of("f", "a"), status=500, oddity="status 500")
    assert found is not None
    assert found.verdict is Fault.COPY
    assert "siblings gave 1 good answers" in found.evidence


def test_where_another_function_fails_in_the_same_place_it_is_the_provider() -> None:
    attribution = struck(2)
    for id in ("x", "y"):
        attribution.ended(copy(id, "g"), ("x", "y"), oddity=None, shape="json", now=NOW)
    attribution.ended(copy("x", "g"), ("x", "y"), oddity="status 500", shape="json", now=NOW)
    assert attribution.fault_of(copy("a"), Failure.BROKEN, Fault.COPY) is Fault.PROVIDER
    assert attribution.fault_of(copy("a", region="westus"), Failure.BROKEN, Fault.COPY) is Fault.COPY
    assert attribution.fault_of(copy("a"), Failure.THROTTLED, Fault.THROTTLE) is Fault.THROTTLE
