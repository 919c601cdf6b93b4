"""The model after the world changed: what a retraining learned from, and what its verdict was of."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fiso.adapters.aws.candidates import S3Candidates
from fiso.domain.endpoint import Provider
from fiso.domain.model import ModelPointer, RetrainingRun, RunEnd
from fiso.domain.record import InvocationRecord
from fiso.learning import dataset, training
from fiso.learning.train import Family
from fiso.learning.training import TrainingSettings
from fiso.ports import ModelFiles
from fiso.prediction import artifact, manifest
from fiso.testing.memory import InMemoryModelStore
from tests.builders import NOW
from tests.functional.test_pipeline import Stage
from tests.functional.test_retrain import LATENCY_MS, a_log, a_retrainer, a_row
from tests.memory_s3 import MemoryS3
from tests.models import trusted

DAY, CALLS, BEFORE = timedelta(days=1), 150, 8
STEP = NOW + BEFORE * DAY


def days(first: int, end: int, slower: float = 1.0) -> list[InvocationRecord]:
    """Some hours of calls each day."""
    return [
        record
        for day in range(first, end)
        for record in a_log(
            CALLS, first=1_000 * day, start=NOW + day * DAY - timedelta(seconds=1_000 * day), slower=slower
        )
    ]


def retrained(trigger: str, now: datetime, *records: InvocationRecord, models: InMemoryModelStore) -> RetrainingRun:
    return a_retrainer(*records, models=models).retrain(now=now, trigger=trigger)


def says_ms(models: InMemoryModelStore, provider: Provider) -> float:
    pointer = models.champion()
    assert pointer is not None
    model = manifest.read(pointer, models.artifact(pointer), trusted())
    return model.predict(a_row(provider, 100, STEP)).latency_ms


def test_the_model_knows_of_a_step_after_one_retraining_that_drift_sets_off() -> None:
    models, usual = InMemoryModelStore(), days(0, BEFORE)
    assert retrained("schedule", NOW + 2 * DAY, *usual[: 2 * CALLS], models=models).promoted
    after = [*usual, *days(BEFORE, BEFORE + 1, slower=3.0)]
    run = retrained("drift", STEP + DAY / 2, *after, models=models)
    assert run.promoted, run.reason
    for provider, latency_ms in LATENCY_MS.items():
        assert says_ms(models, provider) > 1.5 * latency_ms
    pointer = models.champion()
    assert pointer is not None
    assert pointer.rows == len(after), "what judged was learned from once the verdict stood"


def test_drift_that_is_none_promotes_nothing() -> None:
    models, usual = InMemoryModelStore(), days(0, BEFORE)
    assert retrained("schedule", NOW + 2 * DAY, *usual[: 2 * CALLS], models=models).promoted
    champion = models.champion()
    run = retrained("drift", STEP + DAY / 2, *usual, *days(BEFORE, BEFORE + 1), models=models)
    assert (run.end, models.champion()) == (RunEnd.REFUSED, champion)


def test_the_card_of_a_refitted_model_has_the_errors_of_the_judged_one() -> None:
    settings = TrainingSettings(version_prefix="v")
    made = training.train(dataset.build(days(0, 2)), settings)
    refitted = training.refitted(made, settings)
    assert refitted.card["metrics_on_held_out_rows"] == made.files.card["metrics_on_held_out_rows"]
    assert str(refitted.card["learned_from"]).startswith("all rows")
    assert (refitted.pointer.rows, made.files.pointer.rows) == (2 * CALLS, 2 * CALLS * 4 // 5)
    assert refitted.pointer.version != made.files.pointer.version


def test_a_judged_model_is_promoted_where_no_time_is_left_to_learn_again() -> None:
    clock = iter([NOW + DAY + timedelta(minutes=minute) for minute in (0, 0, 0, 5, 5, 5, 5, 5)])
    retrainer = replace(a_retrainer(*days(0, 1)), clock=lambda: next(clock))
    run = retrainer.retrain(now=NOW + DAY, trigger="schedule", ends_at=NOW + DAY + timedelta(minutes=7))
    pointer = retrainer.models.champion()
    assert run.promoted, run.reason
    assert pointer is not None
    assert pointer.rows == CALLS * 4 // 5


def test_a_forest_of_many_rows_is_a_small_file() -> None:
    made = training.train(dataset.build(days(0, 8)), TrainingSettings(families=(Family.FOREST,)))
    assert len(made.files.artifact) <= artifact.LARGEST_FILE_BYTES
    assert "n_estimators" in dict(made.files.card["parameters"])  # type: ignore[call-overload]


@pytest.mark.parametrize("prefix", ["synthetic-42", "trained"])
def test_a_candidate_of_no_date_is_not_the_newest(prefix: str) -> None:
    candidates = S3Candidates(MemoryS3(), "b")
    made = training.train(dataset.build(days(0, 1)), TrainingSettings()).files

    def put(version: str) -> None:
        candidates.put(ModelFiles(pointer=replace(made.pointer, version=version), artifact=b"-", card={}))

    dated = [f"202611{day:02}T031500Z-00000000" for day in range(10, 16)]
    put(f"{prefix}-1")
    for version in dated[:5]:
        put(version)
    assert sorted(candidates.versions()) == dated[:5], "the one of no date is dropped first"
    put(f"{prefix}-2")
    assert candidates.get(f"{prefix}-2", admitted=False) is not None, "what is put is kept"
    assert dated[0] not in candidates.versions()
    put(dated[5])
    assert sorted(candidates.versions()) == dated[1:]


class RacedStage(Stage):
    """While one retraining offers its model, another begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: RetrainingRun | None = None
        self.is_racing = False

    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        if not self.is_racing:
            self.is_racing = True
            self.inner = self.retrainer(*days(0, 1)).retrain(now=NOW + DAY + timedelta(seconds=1), trigger="drift")
        super().offer(files, replaces=replaces, promote=promote)


def test_of_two_retrainings_at_once_one_wins() -> None:
    """The daily one and the one that drift sets off: the later to end finds another champion than it compared with."""
    stage = RacedStage()
    outer = stage.retrainer(*days(0, 1)).retrain(now=NOW + DAY, trigger="schedule")
    assert stage.inner is not None
    assert stage.inner.promoted
    assert outer.end is RunEnd.FAILED
    assert stage.serving() == stage.inner.challenger_version
