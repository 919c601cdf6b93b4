"""The ports `Rollups` and `DriftReports` in memory: what is told of a time."""

from collections.abc import Sequence
from datetime import datetime

from fiso.domain.drift import DriftReport
from fiso.domain.endpoint import FunctionName
from fiso.domain.rollup import Rollup
from fiso.testing.memory import InMemoryStore


class InMemoryRollups(InMemoryStore):
    """Minutes and hours by function."""

    def __init__(self) -> None:
        super().__init__()
        self.minutes: dict[FunctionName, dict[datetime, Rollup]] = {}
        self.hours: dict[FunctionName, dict[datetime, Rollup]] = {}

    def keep(self, function: FunctionName, rollups: Sequence[Rollup]) -> None:
        self.used("keep")
        for rollup in rollups:
            self._put(self.minutes.setdefault(function, {}), rollup.at, rollup)
            if rollup.ends_hour:
                self._put(self.hours.setdefault(function, {}), rollup.at.replace(minute=0), rollup)

    def between(
        self, function: FunctionName, start: datetime, end: datetime, *, by_hour: bool, step_s: int = 60
    ) -> Sequence[Rollup]:
        self.used("between")
        kept = sorted((self.hours if by_hour else self.minutes).get(function, {}).values(), key=lambda each: each.at)
        before = [each for each in kept if each.at < start]
        within = {each.at.timestamp() // step_s: each for each in kept if start <= each.at < end}
        return [*before[-1:], *within.values()]

    def newest_before(self, function: FunctionName, moment: datetime) -> Rollup | None:
        self.used("newest_before")
        found = [at for at in self.minutes.get(function, {}) if at < moment]
        return self.minutes[function][max(found)] if found else None

    @staticmethod
    def _put(kept: dict[datetime, Rollup], at: datetime, rollup: Rollup) -> None:
        if at not in kept or kept[at].folded < rollup.folded:
            kept[at] = rollup


class InMemoryDriftReports(InMemoryStore):
    """Reports by their moment."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: dict[datetime, DriftReport] = {}

    def append(self, report: DriftReport) -> None:
        self.used("append")
        self.reports[report.at] = report

    def latest(self, limit: int) -> Sequence[DriftReport]:
        self.used("latest")
        return [self.reports[at] for at in sorted(self.reports, reverse=True)][:limit]
