"""Watching for drift: once a day the archive's last day is compared with what the champion learned from.

It reads the archive and never the request's path, and takes no champion from its place. Repeating it changes nothing
but the newest report. docs/decisions/0034-drift.md
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from fiso.domain.drift import DriftReport
from fiso.learning import drift
from fiso.ports import Archive, DriftReports, Metrics, ModelStore
from fiso.services.maintenance.promote import pointed_to

READING = timedelta(minutes=5)
MOST_ROWS = 200_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftWatch:
    """One look a day. `StoreError` when the archive cannot be read or the report not be kept."""

    models: ModelStore
    archive: Archive
    reports: DriftReports
    lookback_days: int
    threshold: float = drift.THRESHOLD
    metrics: Metrics | None = None

    def look(self, *, now: datetime, ends_at: datetime | None = None) -> DriftReport:
        """The report, kept. Reading has at most half of the time until `ends_at`."""
        since = now - timedelta(days=self.lookback_days)
        reads_until = now + READING if ends_at is None else min(now + READING, now + (ends_at - now) / 2)
        calls = drift.calls_of(self.archive.since(since.date(), most=MOST_ROWS, ends_at=reads_until))
        champion = pointed_to(self.models)
        report = drift.report(
            calls,
            now=now,
            learned_until=champion.trained_at if champion is not None and not champion.is_synthetic else None,
            champion_version=champion.version if champion is not None else None,
            threshold=self.threshold,
        )
        self.reports.append(report)
        self._tell(report)
        return report

    def _tell(self, report: DriftReport) -> None:
        logger.info("drift watched", extra={"rows": report.rows, "reason": report.reason})
        if self.metrics is not None:
            self.metrics.add("DriftingMeasures", report.drifting, "Count")
            self.metrics.add("LargestDrift", report.largest, "None")
