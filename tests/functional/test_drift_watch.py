"""The watch: a day of the archive is compared, the report kept, told and, where it says drift, retrained on."""

import math
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fiso.adapters.aws.s3 import S3DriftReports
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord
from fiso.prediction import features
from fiso.services.maintenance.watch import DriftWatch
from fiso.testing.memory import InMemoryArchive, InMemoryMetrics, InMemoryModelStore, away
from fiso.testing.memory_rollups import InMemoryDriftReports
from functions.retrainer import handler
from tests.builders import NOW, a_record
from tests.functional.test_retrain import a_retrainer
from tests.memory_s3 import MemoryS3

DAYS, CALLS = 9, 40


def a_log(*, slower: float = 1.0, seed: int = 1) -> Iterator[InvocationRecord]:
    """Calls of one endpoint on DAYS days up to NOW, on the last day `slower` times as long."""
    rng = random.Random(seed)
    for number in range(DAYS * CALLS):
        day, call = divmod(number, CALLS)
        at = NOW - timedelta(days=DAYS - day) + timedelta(minutes=call * 36 + 1)
        latency_ms = 100 * rng.lognormvariate(0, 0.2) * (slower if day == DAYS - 1 else 1.0)
        seen = dict.fromkeys(features.NAMES, 1.0) | {"request_size_bytes": rng.lognormvariate(7, 0.5)}
        yield a_record(number, timestamp=at, features=seen, execution_time_ms=latency_ms, raw_latency_ms=100.0)


def a_watch(*records: InvocationRecord) -> DriftWatch:
    archive = InMemoryArchive()
    archive.append(records, batch_id="all")
    return DriftWatch(
        models=InMemoryModelStore(),
        archive=archive,
        reports=InMemoryDriftReports(),
        lookback_days=30,
        metrics=InMemoryMetrics(),
    )


@pytest.mark.parametrize(("slower", "drifting"), [(1.0, 0), (3.0, 2)], ids=["a usual day", "three times slower"])
def test_a_look_is_kept_and_told(slower: float, drifting: int) -> None:
    watch = a_watch(*a_log(slower=slower))
    report = watch.look(now=NOW)
    assert (report.drifting, report.reference_days, report.rows) == (drifting, DAYS - 1, DAYS * CALLS), report.reason
    assert isinstance(watch.metrics, InMemoryMetrics)
    assert watch.metrics.total("DriftingMeasures") == drifting
    assert watch.look(now=NOW) == report
    assert watch.reports.latest(5) == [report], "a look that is repeated is one"


def test_an_archive_that_cannot_be_read_is_an_error_and_no_quiet_day() -> None:
    watch = a_watch()
    assert isinstance(watch.archive, InMemoryArchive)
    watch.archive.before = away()
    with pytest.raises(StoreUnavailable):
        watch.look(now=NOW)
    assert watch.reports.latest(1) == []


def test_reports_of_many_days_stand_in_the_bucket_newest_first() -> None:
    watch = a_watch(*a_log(slower=3.0))
    kept = S3DriftReports(MemoryS3(), "bucket")
    reports = [watch.look(now=NOW + timedelta(hours=hour)) for hour in (1, 0, 2)]
    for report in reports:
        kept.append(report)
    assert kept.latest(2) == [reports[2], reports[0]]
    assert all(math.isfinite(one.effect) for report in kept.latest(3) for one in report.findings)


@pytest.mark.parametrize(
    ("slower", "may", "retrained"),
    [(3.0, True, True), (3.0, False, False), (1.0, True, False)],
    ids=["drift", "drift where the stage does not want it", "a usual day"],
)
def test_drift_sets_off_a_retraining_where_the_stage_wants_it(slower: float, may: bool, retrained: bool) -> None:
    log = list(a_log(slower=slower))
    retrainer = a_retrainer(*log)
    answer = handler.watched(a_watch(*log), retrainer if may else None, NOW, NOW + timedelta(minutes=14))
    assert ("run" in answer) == retrained
    assert [run.trigger for run in retrainer.runs.latest(5)] == ["drift"] * retrained
    assert answer["reason"]
