"""Keeping: replays spilled records, closes those that nobody will close any more, publishes a changed catalog.

Records are closed as unknown only once every spilled line was read: a final record that waits in one would otherwise be
called unknown first. Where lines cannot be read for long, nobody waits for ever: a final record corrects it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from fiso.domain.catalog import Snapshot
from fiso.domain.errors import WriteConflict
from fiso.domain.record import DecisionSummary, InvocationRecord, OpenRecord, RecordStatus, ResultSummary
from fiso.ports import CatalogStore, Clock, InvocationLog, Snapshots
from fiso.services.log.reconcile import Reconciled, Reconciliation
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.publish import publish, publish_in_time
from fiso.services.maintenance.switch import ModeOrder, switch
from fiso_client.core.failures import FisoError

GRACE = timedelta(minutes=4)
"""How long after its deadline an open record counts as abandoned: spilled lines are handed on "usually" within three
minutes (docs.aws.amazon.com, "Real-time processing of log data with subscriptions")."""
GRACE_AT_ONCE = timedelta(seconds=30)
"""The same where lines are read where they were written."""
GRACE_WHILE_UNREAD = timedelta(minutes=15)
"""The same while spilled lines could not all be read."""
AT_ONCE = 200
RECONCILING, RECONCILING_AT_MOST = timedelta(seconds=12), timedelta(seconds=17)
MERGING, MERGING_AT_MOST = timedelta(seconds=24), timedelta(seconds=34)
SWEEPING = timedelta(seconds=40)
"""When, in a round, no further slice or page is begun, and when a slice is broken off. The keeper is stopped at 50 s
and publishes last: whatever reading takes, every round sweeps and publishes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one sweep did. `has_more`: it ran out of time, the next round goes on."""

    closed_as_unknown: int = 0
    has_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDoor:
    """A front door on another cloud, seen from AWS: `log` merges what it wrote, `models` takes the champion there,
    `renew_keys` the issuer's keys, where callers show tokens."""

    name: str
    log: Reconciliation
    models: Follower
    renew_keys: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperReport:
    """What one round did. `merged` are the records of front doors on other clouds. `published_version` is None when the
    catalog had not changed or could not be read."""

    reconciled: Reconciled
    swept: SweepReport
    published_version: int | None
    problems: tuple[str, ...] = ()
    merged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """What a round needs. `executor` closes several records at once."""

    log: InvocationLog
    reconciliation: Reconciliation
    catalog: CatalogStore
    snapshots: Snapshots
    clock: Clock
    sleep: Callable[[float], None]
    executor: Executor
    doors: Sequence[ForeignDoor] = ()
    grace: timedelta = GRACE_AT_ONCE
    everything: Reconciliation | None = None
    """Over all that the orchestrator wrote, for whoever asks (`look_through`)."""

    def keep(self) -> KeeperReport:
        """One round. What is unavailable is named in `problems`, and keeps none of the rest from being done."""
        start, problems = self.clock(), list[str]()
        reconciled, swept, version = Reconciled(), SweepReport(has_more=True), None
        with _noted("spilled lines not all read", problems):
            reconciled = self.reconciliation.reconcile(
                until=start + RECONCILING, at_most_until=start + RECONCILING_AT_MOST
            )
        merged = [self._merged(door, start, problems) for door in self.doors]
        is_complete = reconciled.is_complete and all(each.is_complete for each in merged)
        with _noted("open records not all closed", problems):
            # Replay first, sweep second: a final record that still waits in a spilled line would be called unknown
            # before it.
            swept = self.sweep(until=start + SWEEPING, grace=self.grace if is_complete else GRACE_WHILE_UNREAD)
        with _noted("catalog not published", problems):
            published = publish_in_time(self.catalog, self.snapshots, clock=self.clock, sleep=self.sleep)
            version = published.version if published else None
        return KeeperReport(
            reconciled=reconciled,
            swept=swept,
            published_version=version,
            problems=tuple(problems),
            merged=sum(each.written for each in merged),
        )

    def _merged(self, door: ForeignDoor, start: datetime, problems: list[str]) -> Reconciled:
        """What a front door elsewhere wrote, once; and the champion and the issuer's keys, there."""
        merged = Reconciled()
        with _noted(f"the log of the {door.name} door not all merged", problems):
            merged = door.log.reconcile(until=start + MERGING, at_most_until=start + MERGING_AT_MOST)
        with _noted(f"the {door.name} door's models not looked at", problems):
            run = door.models.retrain(now=self.clock(), trigger="mirror")
            if "not taken" in run.reason:
                problems.append(f"the {door.name} door: {run.reason}")
        with _noted(f"the issuer's keys not mirrored for the {door.name} door", problems):
            door.renew_keys()
        return merged

    def publish(self) -> int:
        """Publish what the database has now, and nothing else; the version that is published then. Tried once."""
        publish(self.catalog, self.snapshots)
        return self.snapshots.attested() or 0

    def look_through(self, start: datetime, end: datetime) -> tuple[Reconciled, datetime]:
        """What was spilled in a time and did not become a record: all of the orchestrator's lines are read for it. Up
        to where it came, which is not the end where that takes longer than a round may."""
        reader = self.everything or self.reconciliation
        return reader.look_through(start, end, until=self.clock() + RECONCILING_AT_MOST)

    def switch(self, order: ModeOrder) -> Snapshot:
        """A function's mode, past the database (`switch.switch`); what is in force then."""
        return switch(order, self.snapshots, now=self.clock())

    def sweep(self, *, until: datetime, grace: timedelta = GRACE_AT_ONCE) -> SweepReport:
        """Close open records past their deadline and grace as unknown, page by page: nobody can tell whether they ran.

        `StoreUnavailable` when the log is unavailable.
        """
        before, closed = self.clock() - grace, 0
        while self.clock() <= until:
            overdue = self.log.overdue(before, AT_ONCE)
            closed += sum(self.executor.map(self._close, overdue))
            if len(overdue) < AT_ONCE:
                return SweepReport(closed_as_unknown=closed)
        return SweepReport(closed_as_unknown=closed, has_more=True)

    def _close(self, record: OpenRecord) -> bool:
        try:
            return self.log.close(unknown(record))
        except WriteConflict:
            logger.info("record %s was closed meanwhile", record.invocation_id)
            return False


@contextmanager
def _noted(what: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except FisoError as error:
        logger.warning("%s: %s", what, error)
        problems.append(f"{what}: {error}")


def unknown(record: OpenRecord) -> InvocationRecord:
    """What can be said of an invocation whose orchestrator is gone: that it was asked for, and nothing else."""
    return InvocationRecord(
        invocation_id=record.invocation_id,
        timestamp=record.timestamp,
        status=RecordStatus.UNKNOWN,
        request=record.request,
        decision=DecisionSummary(),
        result=ResultSummary(response_status=504, error_occurred=True),
    )
