"""Outcomes: what clients report of calls under leases, as records like those of proxied requests, written once each.

A call's id follows from its lease and number, and its record from the report (and prices) alone, so a report that
comes twice changes nothing. What cannot be true is refused, item by item; the rest is kept. Breakers are not touched:
they belong to an execution environment's own calls, and the folded states carry the news.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.billing.tariff import Tariff
from fiso.codecs.record import instant, to_document
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import LeaseRefused, WriteConflict
from fiso.domain.lease import LARGEST_NUMBER, Lease, LeasedAttempt, LeasedOutcome
from fiso.domain.record import CLOCKS_APART, SHORTEST_MS, InvocationRecord
from fiso.domain.request import TenantId
from fiso.ports import Clock, InvocationLog, Metrics
from fiso.prediction import features
from fiso.services.leases import leased_recording
from fiso.services.leases.lease import Keys
from fiso.services.request import recording

LONGEST_MS = 900_000.0
"""No function runs longer than 15 minutes."""
LARGEST_BYTES = 100 * 1024 * 1024
"""More than any of the three clouds takes or returns."""
CALLS_AT_ONCE, CALLS_PER_S = 1_000, 1_000
"""How many calls one client can have made under a lease: what Lambda runs at once for an account, and as many again
with each second of the lease's age. Calls are numbered as they begin."""
TOLERANCE_MS = 60_000.0
"""How far two clocks of FISO's own environments may be apart: a report may seem to come this much too late, or before
its lease was issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One item of a report: a token, and the outcome under it, or why there is none to speak of."""

    token: str
    number: int | None
    outcome: LeasedOutcome | LeaseRefused


class Fate(StrEnum):
    ACCEPTED = "accepted"
    REPEATED = "repeated"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One item's fate, in the order of the report. `problem` says why it was rejected."""

    fate: Fate
    problem: LeaseRefused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Takes reports. `executor` writes several records at once; `entry_of` tells what a call's price depends on that no
    lease says."""

    keys: Keys
    log: InvocationLog
    metrics: Metrics
    tariff: Tariff
    clock: Clock
    executor: Executor
    entry_of: Callable[[FunctionName], CatalogEntry | None] = lambda _: None

    def accept(self, items: Sequence[Reported], tenant: TenantId) -> list[Verdict]:
        """Each item's verdict. `StoreUnavailable` when the log is; the whole report may then be sent again."""
        now = self.clock()
        leases = {token: self._lease(token, tenant, now) for token in dict.fromkeys(item.token for item in items)}
        records = [self._record(item, leases[item.token], now) for item in items]
        return list(self.executor.map(self._write, records, [leases[item.token] for item in items]))

    def _lease(self, token: str, tenant: TenantId, now: datetime) -> Lease | LeaseRefused:
        try:
            lease = self.keys.open(token)
            _check_lease(lease, tenant, now)
        except LeaseRefused as refused:
            return refused
        return lease

    def _record(self, item: Reported, lease: Lease | LeaseRefused, now: datetime) -> InvocationRecord | LeaseRefused:
        if isinstance(lease, LeaseRefused):
            return lease
        if isinstance(item.outcome, LeaseRefused):
            return item.outcome
        problem = next(_problems(lease, item.outcome, now), None)
        if problem:
            return LeaseRefused("impossible", problem)
        return leased_recording.record_of(lease, item.outcome, self.tariff, self.entry_of(lease.function))

    def _write(self, record: InvocationRecord | LeaseRefused, lease: Lease | LeaseRefused) -> Verdict:
        if isinstance(lease, LeaseRefused):
            return Verdict(fate=Fate.REJECTED, problem=lease)
        if isinstance(record, LeaseRefused):
            return Verdict(fate=Fate.REJECTED, problem=record)
        try:
            is_new = self.log.close(record)
        except WriteConflict:
            if self._says_the_same(record):
                return Verdict(fate=Fate.REPEATED)
            detail = "this number was reported before, with another outcome"
            return Verdict(fate=Fate.REJECTED, problem=LeaseRefused("conflict", detail))
        if not is_new:
            return Verdict(fate=Fate.REPEATED)
        recording.count(self.metrics, record, lease.provider_of)
        return Verdict(fate=Fate.ACCEPTED)

    def _says_the_same(self, record: InvocationRecord) -> bool:
        """Whether what stands there is this outcome, written by another version, which tells less or more of it."""
        standing = self.log.find(record.invocation_id)
        return isinstance(standing, InvocationRecord) and _told(standing) == _told(record)


def _told(record: InvocationRecord) -> Sequence[object]:
    """What a client says of its calls, as it is logged."""
    attempts: list[Mapping[str, object]] = to_document(record)["attempts"]  # type: ignore[assignment]  # a list of them
    return [
        [each.get(name) for name in ("endpoint", "started_at", "latency_ms", "status", "failure")] for each in attempts
    ]


def _check_lease(lease: Lease, tenant: TenantId, now: datetime) -> None:
    if lease.tenant != tenant:
        raise LeaseRefused("foreign", "the lease was given to another caller")
    if lease.issued_at > now + timedelta(milliseconds=TOLERANCE_MS):
        raise LeaseRefused("impossible", "the lease was issued in the future")
    if now > lease.reported_until + timedelta(milliseconds=TOLERANCE_MS):
        raise LeaseRefused("too_late", f"its outcomes were accepted until {instant(lease.reported_until)}")
    if any(len(endpoint.features) != len(features.NAMES) for endpoint in lease.endpoints):
        raise LeaseRefused("unreadable", "the token is of another version of FISO")


def _problems(lease: Lease, outcome: LeasedOutcome, now: datetime) -> Iterator[str]:
    """What cannot be true of an outcome, in words."""
    if not 0 <= outcome.number <= LARGEST_NUMBER:
        yield f"number must be from 0 to {LARGEST_NUMBER}"
    elif outcome.number > CALLS_AT_ONCE + CALLS_PER_S * max(0.0, (now - lease.issued_at).total_seconds()):
        yield f"more calls than {CALLS_PER_S} a second since the lease was issued"
    if not (0 <= outcome.request_size_bytes <= LARGEST_BYTES and 0 <= outcome.response_size_bytes <= LARGEST_BYTES):
        yield f"sizes must be from 0 to {LARGEST_BYTES} bytes"
    called = [attempt.endpoint for attempt in outcome.attempts]
    if not called or len(set(called)) != len(called):
        yield "there must be attempts, at most one an endpoint"
    if not all(lease.find(endpoint) for endpoint in called):
        yield "an endpoint was called that the lease does not name"
    if outcome.deadline_passed and outcome.attempts and outcome.attempts[-1].status is not None:
        yield "an outcome that was answered did not miss its deadline"
    # A lease from the future shows that its issuer's clock is ahead; any other call was over when its report arrived.
    known_ms = (max(now, lease.issued_at) + CLOCKS_APART - lease.issued_at) / timedelta(milliseconds=1)
    for attempt in outcome.attempts:
        yield from _attempt_problems(attempt, known_ms)


def _attempt_problems(attempt: LeasedAttempt, known_ms: float) -> Iterator[str]:
    """Comparisons are written so that NaN fails each of them."""
    if not 0 <= attempt.after_ms <= known_ms:
        yield "an attempt began before the lease was issued, or in the future"
    if not SHORTEST_MS <= attempt.latency_ms <= LONGEST_MS:
        yield f"a latency must be above 0 and at most {LONGEST_MS:g} ms"
    if not attempt.after_ms + attempt.latency_ms <= known_ms:
        yield "an attempt ends in the future"
    if attempt.status is not None and not 100 <= attempt.status <= 599:
        yield "a status must be from 100 to 599"
    if attempt.billed_ms is not None and not 0 <= attempt.billed_ms <= LONGEST_MS:
        yield f"billed_ms must be from 0 to {LONGEST_MS:g}"
    if attempt.idle_ms is not None and not 0 <= attempt.idle_ms < float("inf"):
        yield "idle_ms must not be negative"
