"""Keeping: closes records that nobody will close any more, and publishes the catalog when it changed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fiso.domain.errors import StoreError, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.ports import CatalogStore, Clock, InvocationLog, Snapshots
from fiso.services.publish import publish_in_time

GRACE = timedelta(seconds=30)
"""How long after its deadline an open record counts as abandoned."""
AT_ONCE = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one round did. `published_version` is None when the catalog had not changed or could not be read."""

    closed_as_unknown: int
    published_version: int | None
    catalog_error: str | None = None


def keep(
    *, log: InvocationLog, catalog: CatalogStore, snapshots: Snapshots, clock: Clock, sleep: Callable[[float], None]
) -> Kept:
    """One round. A database that is away keeps no record from being closed."""
    closed = close_abandoned(log, clock)
    try:
        published = publish_in_time(catalog, snapshots, clock=clock, sleep=sleep)
    except StoreError as error:
        logger.warning("catalog not published: %s", error)
        return Kept(closed_as_unknown=closed, published_version=None, catalog_error=str(error))
    return Kept(closed_as_unknown=closed, published_version=published.version if published else None)


def close_abandoned(log: InvocationLog, clock: Clock) -> int:
    """Close open records past their deadline and grace as unknown: the function may have run, nobody can tell."""
    closed = 0
    for record in log.overdue(clock() - GRACE, AT_ONCE):
        try:
            log.close(unknown(record))
        except WriteConflict:
            logger.info("record %s was closed meanwhile", record.invocation_id)
            continue
        closed += 1
    return closed


def unknown(record: OpenRecord) -> InvocationRecord:
    """What can be said of an invocation whose orchestrator is gone: that it was asked for, and nothing else."""
    return InvocationRecord(
        invocation_id=record.invocation_id,
        timestamp=record.timestamp,
        cloud_provider=None,
        function_name=record.function_name,
        request_size_bytes=record.request_size_bytes,
        response_size_bytes=0,
        execution_time_ms=None,
        cost_usd=None,
        region=None,
        day_of_week=record.timestamp.isoweekday(),
        hour_of_day=record.timestamp.hour,
        cpu_utilization=None,
        memory_utilization=None,
        cold_start=None,
        error_occurred=True,
        user_region=None,
        prediction_accuracy=None,
        status=RecordStatus.UNKNOWN,
        tenant=record.tenant,
        endpoint=None,
        reason=None,
        response_status=504,
        billed_ms=None,
        overhead_ms=None,
    )
