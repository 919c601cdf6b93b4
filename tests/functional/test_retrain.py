"""Retraining: what is promoted, what is refused, and what is left when something is wrong on the way."""

import gzip
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import pytest

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns
from fiso.codecs import signature
from fiso.codecs.run import RUNS
from fiso.domain.endpoint import Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import ModelPointer, RunEnd
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.learning import dataset, evaluate, export
from fiso.ports import ModelFiles
from fiso.prediction import features, manifest
from fiso.retrainer_settings import RetrainerSettings
from fiso.services.maintenance.retrain import NO_MODEL, Retrainer
from fiso.testing.memory import InMemoryArchive, InMemoryMetrics, InMemoryModelStore, InMemoryRetrainingRuns, away
from functions.retrainer import wiring
from functions.retrainer.handler import trigger_of
from tests.builders import NOW, a_record, an_attempt, an_endpoint, changed
from tests.memory_s3 import MemoryS3
from tests.models import a_signer, packaged, trusted

Damage: TypeAlias = Callable[[InvocationRecord, random.Random], InvocationRecord]
AFTER = NOW + timedelta(minutes=10)
LATENCY_MS = {Provider.AWS: 20.0, Provider.AZURE: 60.0, Provider.GCP: 35.0}


def a_row(provider: Provider, size: int, now: datetime) -> tuple[float, ...]:
    return features.snapshot(
        function_type="text",
        endpoint=an_endpoint(provider),
        request_size_bytes=size,
        now=now,
        state=None,
        in_flight=0.0,
    )


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
        records.append(
            a_record(
                number,
                timestamp=moment,
                cloud_provider=provider,
                execution_time_ms=latency_ms,
                features=dict(zip(features.NAMES, a_row(provider, size, moment), strict=True)),
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


def test_a_better_challenger_is_published_serves_and_is_recorded_and_the_same_rows_make_no_other() -> None:
    retrainer = a_retrainer(*a_log(200))
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert run.promoted, run.reason
    assert run.champion_version == "synthetic-42-packaged", "what served before the first champion"
    assert run.champion_error is not None
    assert run.challenger_error is not None
    assert run.challenger_error < 1.3 < run.champion_error
    pointer = retrainer.models.champion()
    assert pointer is not None
    assert (pointer.version, pointer.is_synthetic) == (run.challenger_version, False)
    model = manifest.read(pointer, retrainer.models.artifact(pointer), trusted())
    for provider, latency_ms in LATENCY_MS.items():
        assert model.predict(a_row(provider, 100, AFTER)).latency_ms == pytest.approx(latency_ms, rel=0.25)
    again = retrainer.retrain(now=AFTER + timedelta(minutes=1), trigger="schedule")
    assert not again.promoted
    assert "too few new rows since the champion" in again.reason
    assert retrainer.runs.latest(5) == [again, run]
    assert (run.trigger, again.trigger) == ("command", "schedule")


@pytest.mark.parametrize(
    ("rows", "now", "counted"),
    [(149, AFTER, 149), (0, AFTER, 0), (200, NOW + timedelta(days=40), 0)],
    ids=["too few", "empty archive", "before the lookback"],
)
def test_too_few_rows_are_refused(rows: int, now: datetime, counted: int) -> None:
    retrainer = a_retrainer(*a_log(rows))
    run = retrainer.retrain(now=now, trigger="schedule")
    assert run.reason == f"too few rows: {counted} of the 150 that are needed"
    assert (run.rows, run.promoted) == (counted, False)
    assert retrainer.models.champion() is None
    assert counted or run.champion_version == NO_MODEL


def test_one_tenants_lies_make_no_champion_of_themselves() -> None:
    """Of rows that are mostly one tenant's invention a model is learnt that fits them; FISO's own rows refuse it."""
    honest = a_log(400)
    first = a_retrainer(*honest)
    assert first.retrain(now=AFTER, trigger="test").promoted
    lies = [
        changed(lie, tenant=TenantId("liar"), lease_id="lease")
        for lie in a_log(2_000, first=400, start=NOW + timedelta(minutes=10), slower=50.0)
    ]
    later = a_log(100, first=3_000, start=NOW + timedelta(minutes=10))
    run = a_retrainer(*honest, *lies, *later, models=_models_of(first)).retrain(
        now=AFTER + timedelta(hours=2), trigger="test"
    )
    assert not run.promoted, run.reason
    only_lies = a_retrainer(*honest[:72], *lies[:100]).retrain(now=AFTER + timedelta(hours=2), trigger="test")
    assert (only_lies.promoted, only_lies.rows) == (False, 108)


def as_reports(records: list[InvocationRecord], *tenants: str) -> list[InvocationRecord]:
    return [
        changed(record, tenant=TenantId(tenants[n % len(tenants)]), lease_id="lease")
        for n, record in enumerate(records)
    ]


def at_once(records: list[InvocationRecord]) -> list[InvocationRecord]:
    return [changed(record, timestamp=AFTER + timedelta(minutes=1)) for record in records]


def of_one_size(records: list[InvocationRecord]) -> list[InvocationRecord]:
    """As if one function alone were called, whose features are the same each time."""
    return [changed(record, features=records[0].decision.features) for record in records]


FIRST = 5_000
AMONG, LATER = NOW - timedelta(seconds=FIRST), NOW - timedelta(seconds=FIRST - 540)
"""Reports from between the honest ones' requests, and from after them."""
LIES = {
    "slow": as_reports(a_log(300, first=FIRST, start=AMONG, slower=100.0), "liar"),
    "fast": as_reports(a_log(300, first=FIRST, start=AMONG, slower=0.01), "liar"),
    "slow, late": as_reports(a_log(300, first=FIRST, start=LATER, slower=100.0), "liar"),
    "fast, late": as_reports(a_log(900, first=FIRST, start=LATER, slower=0.01), "liar"),
    "few": as_reports(a_log(20, first=FIRST, start=AMONG, slower=100.0), "liar"),
    "one function": of_one_size(as_reports(a_log(300, first=FIRST, start=AMONG, slower=30.0), "liar")),
    "all at once": at_once(as_reports(a_log(900, first=FIRST, slower=10.0), "liar")),
    "the same again": as_reports(a_log(5, first=FIRST, start=AMONG, slower=10.0), "liar") * 60,
    "three tenants": as_reports(a_log(300, first=FIRST, start=AMONG, slower=10.0), *(f"liar {n}" for n in range(3))),
}


@pytest.mark.parametrize("lies", LIES.values(), ids=list(LIES))
def test_whatever_a_tenant_reports_the_model_that_is_signed_tells_what_fiso_saw(lies: list[InvocationRecord]) -> None:
    """It is promoted as without the lies, and as right: nobody signs one, nor keeps others from theirs."""
    retrainer, unseen = a_retrainer(*a_log(400), *lies), dataset.build(a_log(300, first=9_000))
    run = retrainer.retrain(now=AFTER + timedelta(hours=2), trigger="test")
    assert run.promoted, run.reason
    pointer = retrainer.models.champion()
    assert pointer is not None
    model = manifest.read(pointer, retrainer.models.artifact(pointer), trusted())
    said = [output.latency_ms for output in model.predict_all(export.serving_rows(unseen).tolist())]
    error = evaluate.latency_error(np.array(said), unseen.latency_ms)
    assert error is not None
    assert error < 1.15


def test_a_first_champion_must_be_better_than_a_constant_beyond_chance() -> None:
    """Nothing was predicted when these were served, and nothing of their latency follows from what is known."""
    draw = random.Random(3)
    noise = [
        changed(record, raw_latency_ms=None, execution_time_ms=100 * draw.lognormvariate(0, 1.0))
        for record in a_log(300)
    ]
    run = a_retrainer(*noise).retrain(now=AFTER, trigger="test")
    assert (run.promoted, run.champion_error) == (False, None)
    assert "not better" in run.reason
    assert "a constant's" in run.reason
    plain = [changed(record, raw_latency_ms=None) for record in a_log(300)]
    assert a_retrainer(*plain).retrain(now=AFTER, trigger="test").promoted


def _models_of(retrainer: Retrainer) -> InMemoryModelStore:
    assert isinstance(retrainer.models, InMemoryModelStore)
    return retrainer.models


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


def test_a_run_without_time_left_to_train_says_so() -> None:
    retrainer, metrics = a_retrainer(*a_log(200)), InMemoryMetrics()
    late = replace(retrainer, clock=lambda: AFTER + timedelta(hours=1), metrics=metrics)
    run = late.retrain(now=AFTER, trigger="schedule", ends_at=AFTER)
    assert (run.end, run.rows, run.ended_at) == (RunEnd.OUT_OF_TIME, 200, AFTER + timedelta(hours=1))
    assert retrainer.runs.latest(5) == [run]
    assert retrainer.models.champion() is None
    assert metrics.total("RetrainingFailed") == 1


def test_a_run_that_breaks_is_recorded_as_failed() -> None:
    def breaks(operation: str) -> None:
        raise MemoryError

    archive = InMemoryArchive()
    archive.before = breaks
    retrainer = replace(a_retrainer(), archive=archive)
    with pytest.raises(MemoryError):
        retrainer.retrain(now=AFTER, trigger="schedule")
    assert [run.end for run in retrainer.runs.latest(5)] == [RunEnd.FAILED]


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


def test_the_wired_retrainer_learns_from_the_bucket_and_publishes_into_it() -> None:
    bucket = MemoryS3()
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
    assert json.loads(json.dumps(RUNS.to_document(run)))["challenger_version"] == run.challenger_version


def test_two_that_were_compared_with_one_champion_cannot_both_be_promoted() -> None:
    """Another retrainer publishes while this one trains."""

    class Overtaken(InMemoryModelStore):
        def publish(self, files: ModelFiles, *, replaces: ModelPointer | None) -> None:
            if files.pointer.version != other.pointer.version:
                super().publish(other, replaces=replaces)
            super().publish(files, replaces=replaces)

    other = packaged()
    retrainer = a_retrainer(*a_log(200), models=Overtaken())
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert not run.promoted
    assert "another model was published meanwhile" in run.reason
    assert retrainer.models.champion() == other.pointer


def test_a_champion_remembers_the_one_it_replaced() -> None:
    models = InMemoryModelStore(packaged())
    before = models.champion()
    assert a_retrainer(*a_log(200), models=models).retrain(now=AFTER, trigger="command").promoted
    after = models.champion()
    assert after is not None
    assert after.previous is not None
    assert before is not None
    assert (after.previous.version, after.previous.sha256) == (before.version, before.sha256)
    stated = manifest.opened(after.manifest, trusted())
    assert (stated.number, stated.stands_in) == (2, before.sha256), "the one from before numbers was the first"


def test_a_champion_that_is_not_signed_is_none_and_is_not_fallen_back_on() -> None:
    files = packaged()
    models = InMemoryModelStore(replace(files, pointer=replace(files.pointer, manifest=None, trained_at=AFTER)))
    run = a_retrainer(*a_log(200), models=models).retrain(now=AFTER, trigger="command")
    assert run.promoted, run.reason
    after = models.champion()
    assert after is not None
    assert after.previous is None


class NoKey:
    def sign(self, message: bytes) -> tuple[str, bytes]:
        raise StoreUnavailable("KMS is away")


def a_store_that_cannot_be_written() -> InMemoryModelStore:
    models = InMemoryModelStore()
    models.before = away("connection reset", "publish")
    return models


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"signer": NoKey()}, "KMS is away"),
        ({"models": a_store_that_cannot_be_written()}, "connection reset"),
        ({"keys": {}}, "not trusted here"),
    ],
    ids=["not signed", "not written", "trusted by nobody"],
)
def test_a_challenger_that_cannot_be_published_is_no_promotion(fault: dict[str, Any], reason: str) -> None:
    retrainer = replace(a_retrainer(*a_log(200)), **fault)
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert not run.promoted
    assert "the challenger could not be published" in run.reason
    assert reason in run.reason
    assert retrainer.models.champion() is None
    assert retrainer.runs.latest(1) == [run]


def test_a_pointer_that_does_not_parse_is_replaced() -> None:
    bucket = MemoryS3()
    bucket.objects["models/champion.json"] = b"{"
    retrainer = replace(a_retrainer(*a_log(200)), models=S3ModelStore(bucket, "b"))
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert run.promoted, run.reason
    assert retrainer.models.champion() is not None


NO_RECORDS = {
    "empty": b"",
    "no gzip": b"not packed",
    "bytes": random.Random(1).randbytes(4096),
    "other JSON": gzip.compress(b"[1, 2]\nnull\n{}\n{'a': NaN}\n" * 10),
    "cut short": gzip.compress(b"[1]\nnull\n{")[:-3],
    "no records": gzip.compress(b"[1]\n{}\n{"),
}


def test_objects_of_the_archive_that_are_no_records_are_left_out() -> None:
    bucket = MemoryS3()
    archive = S3Archive(bucket, "b", clock=lambda: AFTER)
    archive.append(a_log(200), batch_id="1")
    for name, body in NO_RECORDS.items():
        bucket.objects[f"archive/date={NOW.date().isoformat()}/{name}.jsonl.gz"] = body
    run = replace(a_retrainer(), archive=archive).retrain(now=AFTER, trigger="command")
    assert (run.rows, run.promoted) == (200, True)


class Killed(BaseException):
    """As a signal ends the process: nothing catches it."""


class Ending(MemoryS3):
    """Ends its process in place of the write that comes after so many."""

    left = 10

    def put_object(self, **asked: Any) -> Mapping[str, Any]:
        """One of those that are left, or the end."""
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super().put_object(**asked)


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4])
def test_a_retrainer_killed_at_any_write_leaves_a_whole_champion_or_the_one_before(writes: int) -> None:
    """Killed before all, with its beginning recorded, with the artifact, with its card, and with the pointer but no
    record of the end: the next run says that there was none."""
    bucket = Ending()
    models, runs = S3ModelStore(bucket, "b"), S3RetrainingRuns(bucket, "b")
    bucket.left = writes
    with pytest.raises(Killed):
        replace(a_retrainer(*a_log(200)), models=models, runs=runs).retrain(now=AFTER, trigger="command")
    pointer = models.champion()
    assert (pointer is not None) == (writes >= 4)
    if pointer is not None:
        assert manifest.read(pointer, models.artifact(pointer), trusted()).version == pointer.version
    bucket.left, metrics = 20, InMemoryMetrics()
    again = replace(a_retrainer(*a_log(200)), models=models, runs=runs, metrics=metrics)
    later = again.retrain(now=AFTER + timedelta(hours=1), trigger="command")
    ends = [run.end for run in runs.latest(5)]
    assert ends == [later.end, RunEnd.KILLED][: 1 + (writes > 0)]
    assert metrics.total("RetrainingFailed") == (writes > 0)


def without_numbers(record: InvocationRecord, rng: random.Random) -> InvocationRecord:
    bad = rng.choice([math.nan, math.inf, -math.inf])
    row = {**record.decision.features, rng.choice(features.NAMES): bad}
    return changed(record, features=row, execution_time_ms=rng.choice([bad, record.result.execution_time_ms]))


def by_chance(record: InvocationRecord, rng: random.Random) -> InvocationRecord:
    return changed(record, execution_time_ms=10 ** rng.uniform(0, 5))


WORSE = 1.02
"""The geometric error may vary by 2 % with the luck of the rows."""


@pytest.mark.parametrize("damage", [None, without_numbers, by_chance])
def test_rows_that_teach_nonsense_make_no_worse_champion(damage: Damage | None) -> None:
    """A few good ones come after them: by those a challenger is judged. Without any rows nothing happens."""
    retrainer, rng, later = a_retrainer(*a_log(400)), random.Random(1), AFTER + timedelta(minutes=10)
    assert retrainer.retrain(now=AFTER, trigger="command").promoted
    unseen = dataset.build(a_log(500, first=5_000, start=later))

    def error() -> float:
        pointer = retrainer.models.champion()
        assert pointer is not None
        model = manifest.read(pointer, retrainer.models.artifact(pointer), trusted())
        said = [output.latency_ms for output in model.predict_all(export.serving_rows(unseen).tolist())]
        found = evaluate.latency_error(np.array(said), unseen.latency_ms)
        assert found is not None
        return found

    before = error()
    if damage is not None:
        bad = [damage(record, rng) for record in a_log(200, first=1_000, start=AFTER - timedelta(seconds=1_000))]
        good = a_log(60, first=2_000, start=AFTER - timedelta(seconds=1_700))
        retrainer.archive.append([*bad, *good], batch_id="poison")
    run = retrainer.retrain(now=later, trigger="command")
    assert list(retrainer.runs.latest(1)) == [run]
    assert error() <= WORSE * before
