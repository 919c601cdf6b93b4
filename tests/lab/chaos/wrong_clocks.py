"""Wrong clocks: a small router whose time of day is stepped while its monotonic clock goes on."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from fiso.codecs.lease_token import Keyring
from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.record import InvocationRecord
from fiso.testing.memory import InMemoryLeaseKeys, InMemorySnapshots
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.lab.chaos import small_router
from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.small_router import Outside, Reply, SmallRouter

QUARTER_S = 900.0
STEPS_S = (-QUARTER_S, -60.0, -1.0, 0.0, 1.0, 60.0, QUARTER_S, 3600.0, -3600.0)
"""A quarter of an hour either way, a minute, a second, none, and an hour as a clock in local time would be set."""
SKEWS_S = (-60.0, -30.0, -1.0, 0.0, 1.0, 30.0, 60.0)
BREAKER_S = 31.0
"""Longer than any breaker stays open."""
SUMMER = datetime(2027, 3, 28, 0, 59, 30, tzinfo=UTC)
"""Half a minute before clocks in Europe go forward."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia")


class SteppedClock:
    """A time of day that can be set, and ticks that cannot."""

    def __init__(self, at: datetime) -> None:
        self.at, self.tick_s = at, 1000.0

    def __call__(self) -> datetime:
        return self.at

    def ticks(self) -> float:
        """Seconds that never go back."""
        return self.tick_s

    def pass_s(self, seconds: float) -> None:
        """Time passes, by both."""
        self.at += timedelta(seconds=seconds)
        self.tick_s += seconds

    def step(self, seconds: float) -> None:
        """The time of day is set; no time passes."""
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of the clock did. `is_followed`: a change published after it was in force within 10 s.
    `is_retried`: an endpoint that had failed before it was called again once its breaker's time was over."""

    step_s: float
    requests: int
    failed: int
    negative: int
    is_followed: bool
    is_lost: bool
    is_retried: bool


def stepped(setting: Setting, requests: int) -> list[Step]:
    """Every step on an environment of its own, with a line each in `steps.jsonl`."""
    seen = [_step(step_s, requests // len(STEPS_S)) for step_s in STEPS_S]
    lines = "".join(json.dumps(asdict(step)) + "\n" for step in seen)
    (setting.folder / "steps.jsonl").write_text(lines, encoding="utf-8")
    return seen


def _step(step_s: float, requests: int) -> Step:
    clock, snapshots = SteppedClock(datetime(2026, 11, 23, 9, 30, tzinfo=UTC)), InMemorySnapshots(_snapshot(1))
    failing = set[Provider]()

    def respond(endpoint: Endpoint, *_: object) -> FunctionAnswer | ProviderError:
        clock.pass_s(0.02)
        down = endpoint.provider in failing
        return ProviderError(Failure.UNREACHABLE, "down") if down else small_router.ANSWER

    router = small_router.build(Outside(snapshots=snapshots, clock=clock, ticks=clock.ticks, respond=respond))
    replies = [_invoke(router, clock) for _ in range(requests)]
    preferred = Provider(str(replies[-1].headers["x-fiso-provider"]))
    failing.add(preferred)
    replies += [_invoke(router, clock) for _ in range(8)]
    failing.clear()
    clock.step(step_s)
    snapshots.publish(_snapshot(2))
    replies += [_invoke(router, clock) for _ in range(10)]
    is_followed = router.edge.sources.snapshot_for_health()[0] == _snapshot(2)
    clock.pass_s(BREAKER_S)
    calls_before = len(router.caller.calls)
    replies += [_invoke(router, clock) for _ in range(requests)]
    called = {endpoint for endpoint, _ in router.caller.calls[calls_before:]}
    return Step(
        step_s=step_s,
        requests=len(replies),
        failed=sum(reply.status != 200 for reply in replies),
        negative=sum(_is_negative(record) for record in router.log.records.values()),
        is_followed=is_followed,
        is_lost=router.edge.sources.snapshot_for_health()[0] is None,
        is_retried=EndpointId(preferred) in called,
    )


def _invoke(router: SmallRouter, clock: SteppedClock) -> Reply:
    """One request a second."""
    reply = router.invoke()
    clock.pass_s(1.0)
    return reply


def _is_negative(record: object) -> bool:
    if not isinstance(record, InvocationRecord):
        return True  # left open: its request was answered, so it should be closed
    times = [
        record.result.execution_time_ms,
        record.result.overhead_ms,
        *(attempt.latency_ms for attempt in record.attempts),
    ]
    return any(value is not None and value < 0 for value in times)


def _snapshot(version: int) -> Snapshot:
    entry = small_router.catalog(timeout_ms=10_000 + version)
    published_at = datetime(2026, 11, 23, tzinfo=UTC)
    return Snapshot(version=version, published_at=published_at, functions={entry.name: entry})


def leases_between_skewed_clocks() -> list[bool]:
    """For each skew up to a minute either way: whether another environment takes an outcome under a lease."""
    keys, accepted = InMemoryLeaseKeys(Keyring.parsed(f"k1:{'a' * 32}")), []
    for skew_s in SKEWS_S:
        now = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
        lease = _environment(now, keys).send("POST", f"/v1/decide/{small_router.FUNCTION}", "").document
        attempt = {"endpoint": lease["endpoints"][0]["id"], "after_ms": 5.0, "latency_ms": 40.0, "status": 200}
        outcome = {"number": 0, "request_size_bytes": 3, "response_size_bytes": 2, "attempts": [attempt]}
        report = {"leases": [{"token": lease["token"], "outcomes": [outcome]}]}
        later = now + timedelta(seconds=1 + skew_s)
        verdict = _environment(later, keys).send("POST", "/v1/outcomes", json.dumps(report)).document
        accepted.append(verdict.get("accepted") == 1)
    return accepted


def _environment(now: datetime, keys: InMemoryLeaseKeys) -> SmallRouter:
    clock = SteppedClock(now)
    snapshots = InMemorySnapshots(_snapshot(1))
    return small_router.build(Outside(snapshots=snapshots, clock=clock, ticks=clock.ticks, lease_keys=keys))


def decided_alike_in_every_zone() -> list[bool]:
    """For each zone, over the minute in which clocks in Europe go forward: whether records say what they say in UTC."""
    seen = {zone: _records_in(zone) for zone in ZONES}
    return [records == seen["UTC"] for records in seen.values()]


def _records_in(zone: str) -> list[tuple[object, ...]]:
    with _local_time(zone):
        clock = SteppedClock(SUMMER)
        outside = Outside(snapshots=InMemorySnapshots(_snapshot(1)), clock=clock, ticks=clock.ticks)
        router = small_router.build(outside)
        for _ in range(60):
            _invoke(router, clock)
    records = [record for record in router.log.records.values() if isinstance(record, InvocationRecord)]
    return [(record.timestamp, record.hour_of_day, record.day_of_week, record.result.endpoint) for record in records]


@contextmanager
def _local_time(zone: str) -> Iterator[None]:
    """This process in another time zone for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
