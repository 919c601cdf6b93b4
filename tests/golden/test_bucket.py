"""S3 and the logs: archive lines, pointers, runs, spilled lines, and the letters of batches that were given up."""

import base64
import gzip
import json
import logging
from datetime import date, timedelta

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.archive_compaction import Compaction
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.s3 import S3RetrainingRuns, S3Watermark
from fiso.domain.model import RetrainingRun, RunEnd
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.log.reconcile import parse
from fiso.services.log.spill import SpillingLog
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryInvocationLog, InMemoryMetrics, away
from fiso_cli.deadletter.dead_letters import dead_letter_of, document_of
from tests.builders import KEYRING, NOW
from tests.functional.test_deadletter import KEY, awss_letter
from tests.golden.golden_files import FILES, golden, golden_json
from tests.golden.log_lines import lines_of
from tests.golden.recorded_clients import Objects, RecordingClient
from tests.golden.records import CLOSED, OPEN
from tests.held_executor import HeldExecutor
from tests.memory_s3 import MemoryS3


def test_archived_records() -> None:
    bucket = Objects()
    archive = S3Archive(bucket, "bucket", clock=ManualClock())
    archive.append(list(CLOSED.values()), batch_id="first-last")
    ((key, packed),) = bucket.bodies.items()
    assert packed[4:8] == bytes(4), "no time of day in the gzip header: equal batches are equal objects"
    kept = golden("archive.jsonl", f"{key}\n{gzip.decompress(packed).decode()}\n")
    before = (FILES / "archive-of-before.jsonl").read_text()
    for text in (kept, before):
        name, _, lines = text.partition("\n")
        bucket.bodies = {name: gzip.compress(lines.encode())}
        assert list(archive.since(date(2026, 11, 22))) == list(CLOSED.values())


def test_compacted_records() -> None:
    s3, records = MemoryS3(), list(CLOSED.values())
    now = max(record.timestamp for record in records) + timedelta(hours=3)
    archive = S3Archive(s3, "bucket", clock=lambda: now)
    for record in records:
        archive.append([record], batch_id=record.invocation_id)
    Compaction(s3, "bucket", clock=lambda: now).compact(ends_at=now + timedelta(hours=1))
    packed = {key: body for key, body in s3.objects.items() if key.startswith("archive/")}
    texts = [f"{key}\n{gzip.decompress(body).decode()}\n" for key, body in sorted(packed.items())]
    kept = golden("archive-compact.jsonl", "".join(texts))
    key, _, lines = kept.partition("\n")
    s3.objects = {key: gzip.compress(lines.encode())}
    assert {record.invocation_id for record in archive.since(date(2026, 11, 22))} == {r.invocation_id for r in records}


def test_spilled_records() -> None:
    with lines_of(logging.getLogger("fiso.services.log.spill")) as lines:
        spilling().open(OPEN)
        for record in CLOSED.values():
            spilling().close(record)
        kept = golden("spilled.jsonl", "".join(f"{line}\n" for line in lines()))
    assert [parse(line, KEYRING) for line in kept.splitlines()] == [OPEN, *CLOSED.values()]


def spilling() -> SpillingLog:
    log = InMemoryInvocationLog()
    log.before = away("throttled")
    budget = StoreWaitBudget(HeldExecutor(), stopwatch=lambda: 0.0)
    keys = CachedValue("keys", lambda _: KEYRING, budget=budget)
    return SpillingLog(log, metrics=InMemoryMetrics(), stopwatch=lambda: 0.0, keys=lambda: keys)


def test_the_watermark_of_spilled_lines() -> None:
    bucket = Objects()
    S3Watermark(bucket, "bucket").move(NOW)
    kept = golden_json("watermark.json", bucket.texts())
    bucket.bodies = {kept[0]["Key"]: kept[0]["Body"].encode()}
    assert S3Watermark(bucket, "bucket").read() == NOW


def test_retraining_runs() -> None:
    refused = RetrainingRun(
        started_at=NOW, trigger="schedule", rows=7, promoted=False, reason="too few rows", champion_version="m1"
    )
    promoted = RetrainingRun(
        started_at=NOW + timedelta(days=1),
        trigger="drift",
        rows=1200,
        promoted=True,
        reason="better",
        champion_version="m1",
        challenger_version="m2",
        champion_error=0.25,
        challenger_error=0.125,
        end=RunEnd.PROMOTED,
        ended_at=NOW + timedelta(days=1, minutes=2),
        read_since=NOW - timedelta(days=29),
        standing=5_400,
        left_out=1,
    )
    bucket = Objects()
    for run in (refused, promoted):
        S3RetrainingRuns(bucket, "bucket").append(run)
    kept = golden_json("retraining-runs.json", bucket.texts())
    bucket.bodies = {put["Key"]: put["Body"].encode() for put in kept}
    assert S3RetrainingRuns(bucket, "bucket").latest(10) == [promoted, refused]
    before = json.loads((FILES / "retraining-runs-of-before.json").read_text())
    bucket.bodies = {put["Key"]: put["Body"].encode() for put in before}
    assert [(run.rows, run.end) for run in S3RetrainingRuns(bucket, "bucket").latest(10)] == [(1200, None), (7, None)]


def test_letters_of_batches_that_were_given_up() -> None:
    client = RecordingClient()
    log = DynamoDBInvocationLog(client, "log", clock=ManualClock())
    log.open(OPEN)
    log.close(CLOSED["failover"])
    opened, closed = (request["put_item"]["Item"] for request in client.requests)
    closed["detail"] = {"B": base64.b64encode(closed["detail"]["B"]).decode()}  # as in an event
    poison = closed | {"status": {"S": "half-done"}}
    letter = golden_json("dead-letter.json", awss_letter(opened, closed, None, poison, given_up_at=NOW))
    read = dead_letter_of(KEY, json.dumps(letter).encode())
    assert read.readable == [CLOSED["failover"]]
    golden_json("dead-letter-as-shown.json", document_of(read))
