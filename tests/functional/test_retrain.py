import hashlib
import io
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fiso.adapters.aws.client import AwsError
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3Archive, S3RetrainingRuns
from fiso.domain.endpoint import Provider
from fiso.domain.record import InvocationRecord
from fiso.prediction import features, manifest, signature
from fiso.services.maintenance.retrain import NO_MODEL, Retrainer
from fiso.settings import RetrainerSettings
from fiso.testing.memory import InMemoryArchive, InMemoryModelStore, InMemoryRetrainingRuns, away
from functions.retrainer import wiring
from functions.retrainer.handler import to_document, trigger_of
from tests.builders import NOW, a_record, an_attempt, an_endpoint
from tests.models import a_signer, packaged, trusted

LATENCY_MS = {Provider.AWS: 20.0, Provider.AZURE: 60.0, Provider.GCP: 35.0}


def a_log(rows: int, *, first: int = 0, start: datetime = NOW, slower: float = 1.0) -> list[InvocationRecord]:
    """Calls, a second apart, whose latency follows from provider and request size with 10 % of noise.

    Logged with the prediction of a model that always said 200 ms.
    """
    rng = random.Random(first)
    records = []
    for number in range(first, first + rows):
        provider = rng.choice(list(Provider))
        size = rng.choice([100, 10_000])
        latency_ms = LATENCY_MS[provider] * (3 if size > 1000 else 1) * slower * rng.lognormvariate(0, 0.1)
        moment = start + timedelta(seconds=number)
        row = features.snapshot(
            function_type="text",
            endpoint=an_endpoint(provider),
            request_size_bytes=size,
            now=moment,
            state=None,
            in_flight=0.0,
        )
        records.append(
            a_record(
                number,
                timestamp=moment,
                cloud_provider=provider,
                execution_time_ms=latency_ms,
                features=dict(zip(features.NAMES, row, strict=True)),
                attempts=(an_attempt(provider, latency_ms=latency_ms),),
                raw_latency_ms=200.0,
                model_version="synthetic-42-packaged",
            )
        )
    return records


def a_retrainer(*records: InvocationRecord, models: InMemoryModelStore | None = None) -> Retrainer:
    archive = InMemoryArchive()
    archive.append(records, batch_id="all")
    return Retrainer(
        models=models or InMemoryModelStore(),
        archive=archive,
        runs=InMemoryRetrainingRuns(),
        signer=a_signer(),
        keys=trusted(),
        minimum_rows=150,
        minimum_new_rows=50,
        lookback_days=30,
    )


AFTER = NOW + timedelta(minutes=10)


def test_a_better_challenger_is_published_and_serves() -> None:
    retrainer = a_retrainer(*a_log(200))
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert run.promoted, run.reason
    pointer = retrainer.models.champion()
    assert pointer is not None
    assert pointer.version == run.challenger_version
    assert not pointer.is_synthetic
    model = manifest.read(pointer, retrainer.models.artifact(pointer), trusted())
    for provider, latency_ms in LATENCY_MS.items():
        row = features.snapshot(
            function_type="text",
            endpoint=an_endpoint(provider),
            request_size_bytes=100,
            now=AFTER,
            state=None,
            in_flight=0.0,
        )
        assert model.predict(row).latency_ms == pytest.approx(latency_ms, rel=0.25)


def test_before_the_first_champion_the_challenger_is_compared_with_what_served() -> None:
    run = a_retrainer(*a_log(200)).retrain(now=AFTER, trigger="command")
    assert run.champion_version == "synthetic-42-packaged"
    assert run.champion_error is not None
    assert run.challenger_error is not None
    assert run.challenger_error < 1.3 < run.champion_error


def test_every_run_is_recorded_with_its_trigger() -> None:
    retrainer = a_retrainer(*a_log(200))
    promoted = retrainer.retrain(now=AFTER, trigger="command")
    refused = retrainer.retrain(now=AFTER + timedelta(minutes=1), trigger="schedule")
    assert retrainer.runs.latest(5) == [refused, promoted]
    assert (promoted.trigger, refused.trigger) == ("command", "schedule")


def test_too_few_rows_are_refused() -> None:
    retrainer = a_retrainer(*a_log(149))
    run = retrainer.retrain(now=AFTER, trigger="schedule")
    assert not run.promoted
    assert run.reason == "too few rows: 149 of the 150 that are needed"
    assert run.rows == 149
    assert retrainer.models.champion() is None


def test_an_empty_archive_is_refused() -> None:
    run = a_retrainer().retrain(now=AFTER, trigger="schedule")
    assert (run.rows, run.promoted, run.champion_version) == (0, False, NO_MODEL)


def test_a_second_run_over_the_same_rows_is_refused() -> None:
    retrainer = a_retrainer(*a_log(200))
    retrainer.retrain(now=AFTER, trigger="command")
    run = retrainer.retrain(now=AFTER + timedelta(minutes=1), trigger="schedule")
    assert not run.promoted
    assert "too few new rows since the champion" in run.reason


def test_a_challenger_that_is_not_better_is_refused_and_the_champion_stays() -> None:
    """For four minutes everything was ten times slower, for no reason that a feature shows; then it was as before."""
    retrainer = a_retrainer(*a_log(300))
    champion = retrainer.retrain(now=NOW + timedelta(seconds=300), trigger="command").challenger_version
    retrainer.archive.append(a_log(240, first=301, slower=10.0) + a_log(100, first=541), batch_id="new")
    run = retrainer.retrain(now=NOW + timedelta(hours=1), trigger="schedule")
    assert not run.promoted
    assert "not better" in run.reason
    assert run.champion_version == champion
    assert run.champion_error is not None
    assert run.challenger_error is not None
    assert run.champion_error < run.challenger_error
    pointer = retrainer.models.champion()
    assert pointer is not None
    assert pointer.version == champion


def test_the_champion_is_judged_by_its_own_artifact_on_rows_it_has_not_seen() -> None:
    records = a_log(300)
    retrainer = a_retrainer(*records)
    retrainer.retrain(now=NOW + timedelta(seconds=300), trigger="command")
    retrainer.archive.append(a_log(100, first=301), batch_id="new")
    run = retrainer.retrain(now=AFTER, trigger="schedule")
    assert run.champion_error is not None
    assert run.champion_error < 1.3  # the logged 200 ms would be off by a factor of 4


def test_a_champion_that_cannot_be_read_does_not_stop_the_next_one() -> None:
    damaged = packaged()
    models = InMemoryModelStore(replace(damaged, artifact=damaged.artifact[:-100]))
    run = a_retrainer(*a_log(200), models=models).retrain(now=AFTER, trigger="command")
    assert run.promoted
    assert run.champion_version == damaged.pointer.version


def test_rows_older_than_the_lookback_do_not_count() -> None:
    run = a_retrainer(*a_log(200)).retrain(now=NOW + timedelta(days=40), trigger="schedule")
    assert run.rows == 0


def test_a_publication_that_fails_is_no_promotion() -> None:
    models = InMemoryModelStore()
    models.before = away("connection reset", "publish")
    retrainer = a_retrainer(*a_log(200), models=models)
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert not run.promoted
    assert "could not be published: connection reset" in run.reason
    assert models.champion() is None
    assert retrainer.runs.latest(1) == [run]


def test_an_archive_that_is_away_is_a_recorded_refusal() -> None:
    archive = InMemoryArchive()
    archive.before = away("throttled")
    retrainer = replace(a_retrainer(), archive=archive)
    run = retrainer.retrain(now=AFTER, trigger="schedule")
    assert run.reason == "champion or archive could not be read: throttled"
    assert retrainer.runs.latest(1) == [run]


@pytest.mark.parametrize(
    ("event", "trigger"),
    [
        ({"source": "aws.events", "detail-type": "Scheduled Event"}, "schedule"),
        ({"trigger": "schedule"}, "schedule"),
        ({"trigger": "command"}, "command"),
        ({}, "command"),
        (None, "command"),
        ([], "command"),
    ],
)
def test_the_trigger_is_told_from_the_event(event: object, trigger: str) -> None:
    assert trigger_of(event) == trigger


class InMemoryS3:
    """The three operations of S3 that the retrainer may use, as boto3 shapes them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: N803
        **conditions: str,
    ) -> None:
        there = hashlib.sha256(self.objects[Key]).hexdigest() if Key in self.objects else None
        if conditions.get("IfMatch", there) != there or (conditions.get("IfNoneMatch") == "*" and there):
            raise AwsError("PreconditionFailed", Key, {})
        self.objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise AwsError("NoSuchKey", Key, {})
        return {"Body": io.BytesIO(self.objects[Key]), "ETag": hashlib.sha256(self.objects[Key]).hexdigest()}

    def list_objects_v2(self, *, Bucket: str, Prefix: str) -> Mapping[str, Any]:  # noqa: N803
        return {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}


def test_the_wired_retrainer_learns_from_the_bucket_and_publishes_into_it() -> None:
    bucket = InMemoryS3()
    now = wiring.utc_now()
    start = now - timedelta(hours=1)
    S3Archive(bucket, "b", clock=wiring.utc_now).append(a_log(200, start=start), batch_id="1")
    signing = {
        "FISO_MODEL_SIGNING_KEY": a_signer().text,
        "FISO_MODEL_KEYS": signature.text_of(a_signer().public.modulus),
    }
    settings = RetrainerSettings.from_environ(
        {"FISO_STAGE": "local", "FISO_BUCKET": "b", "FISO_MINIMUM_ROWS": "150"} | signing
    )
    run = wiring.build(settings, s3=bucket).retrain(now=now, trigger="command")
    assert run.promoted, run.reason
    pointer = S3ModelStore(bucket, "b").champion()
    assert pointer is not None
    assert pointer.version == run.challenger_version
    manifest.read(pointer, S3ModelStore(bucket, "b").artifact(pointer), trusted())
    assert S3RetrainingRuns(bucket, "b").latest(1)[0].reason == run.reason
    assert json.loads(json.dumps(to_document(run)))["challenger_version"] == run.challenger_version
