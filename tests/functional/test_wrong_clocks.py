"""Clocks that are wrong by a quarter of an hour, set back or forward in the middle, or in another time zone."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.record import InvocationRecord
from fiso.testing.clock import START, ManualClock
from fiso.testing.rig import Rig, Stores, word_count
from fiso_client.core.failures import Failure
from tests.builders import invocation_id as an_id

REQUESTS = 222
BREAKER_S = 31.0
"""Longer than any breaker stays open."""
SUMMER = datetime(2027, 3, 28, 0, 59, 30, tzinfo=UTC)
"""Half a minute before clocks in Europe go forward."""


def ask(rig: Rig, count: int) -> list[str]:
    """So many requests, one a second, all of which must be answered; the endpoints that answered."""
    seen = []
    for _ in range(count):
        assert rig.invoke("word-count").status == 200
        seen.append(str(rig.calls[-1]))
        rig.clock.advance(1.0)
    return seen


def is_negative(record: InvocationRecord) -> bool:
    times = (
        record.result.execution_time_ms,
        record.result.overhead_ms,
        *(attempt.latency_ms for attempt in record.attempts),
    )
    return any(value is not None and value < 0 for value in times)


@pytest.mark.parametrize("step_s", [-900.0, -60.0, -1.0, 0.0, 1.0, 60.0, 900.0, 3600.0, -3600.0])
def test_no_step_of_the_clock_makes_a_time_negative_or_keeps_what_is_known_or_closes_an_endpoint_out(
    step_s: float,
) -> None:
    """An endpoint fails, the time of day is set while no time passes, a catalog that denies one is published."""
    rig = Rig()
    preferred = ask(rig, REQUESTS)[-1]
    rig.fail(preferred, Failure.UNREACHABLE)
    serving = ask(rig, 8)[-1]
    rig.heal(preferred)
    rig.clock.freeze(step_s)
    rig.change_policy("word-count", denied_providers=frozenset({Provider(serving.partition("-")[0])}))
    ask(rig, 10)
    assert serving not in ask(rig, 1), "a change is in force within 10 s"
    rig.clock.advance(BREAKER_S)
    assert preferred in ask(rig, REQUESTS), "its breaker's time is over"
    assert len(rig.records) == len(rig.stores.log.records) == 2 * REQUESTS + 19, "none is left open"
    assert [record for record in rig.records if is_negative(record)] == []


@pytest.mark.parametrize("skew_s", [-60.0, -30.0, -1.0, 0.0, 1.0, 30.0, 60.0])
def test_another_environment_takes_an_outcome_under_a_lease_although_its_clock_is_off_by_a_minute(
    skew_s: float,
) -> None:
    stores = Stores()
    lease = Rig(word_count(), stores=stores).request("POST", "/v1/decide/word-count").document
    attempt = {"endpoint": lease["endpoints"][0]["id"], "after_ms": 5.0, "latency_ms": 40.0, "status": 200}
    outcome = {"number": 0, "request_size_bytes": 3, "response_size_bytes": 2, "attempts": [attempt]}
    report = {"leases": [{"token": lease["token"], "outcomes": [outcome]}]}
    elsewhere = Rig(stores=stores, clock=ManualClock(START + timedelta(seconds=1 + skew_s)))
    assert elsewhere.request("POST", "/v1/outcomes", body=json.dumps(report)).document["accepted"] == 1


def test_no_time_zone_changes_a_decision_or_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the minute in which clocks in Europe go forward."""

    def records_in(zone: str) -> list[InvocationRecord]:
        with monkeypatch.context() as local:
            local.setenv("TZ", zone)
            time.tzset()
            rig = Rig(clock=ManualClock(SUMMER))
            ask(rig, 60)
        time.tzset()
        return [replace(record, invocation_id=an_id(number)) for number, record in enumerate(rig.records)]

    in_utc = records_in("UTC")
    assert {record.hour_of_day for record in in_utc} == {0, 1}
    for zone in ("Europe/Berlin", "America/New_York", "Pacific/Apia"):
        assert records_in(zone) == in_utc
