"""Retraining while something is wrong: another retrainer, a key that is away, files and rows that are damaged."""

import gzip
import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np
import pytest

from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3Archive, S3RetrainingRuns
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.domain.record import InvocationRecord
from fiso.learning import dataset, evaluate, export
from fiso.ports import ModelFiles
from fiso.prediction import features, manifest
from fiso.testing.memory import InMemoryModelStore
from tests.builders import NOW, changed
from tests.functional.test_retrain import AFTER, InMemoryS3, a_log, a_retrainer
from tests.models import packaged, trusted

Damage: TypeAlias = Callable[[InvocationRecord, random.Random], InvocationRecord]


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
    assert after.previous == before


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


def test_what_cannot_be_signed_is_not_published() -> None:
    retrainer = replace(a_retrainer(*a_log(200)), signer=NoKey())
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert (run.promoted, run.reason) == (False, "the challenger could not be published: KMS is away")
    assert retrainer.models.champion() is None


def test_what_nobody_would_trust_is_not_published() -> None:
    retrainer = replace(a_retrainer(*a_log(200)), keys={})
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert "not trusted here" in run.reason
    assert retrainer.models.champion() is None


def test_a_pointer_that_does_not_parse_is_replaced() -> None:
    bucket = InMemoryS3()
    bucket.objects["models/champion.json"] = b"{"
    retrainer = replace(a_retrainer(*a_log(200)), models=S3ModelStore(bucket, "b"))
    run = retrainer.retrain(now=AFTER, trigger="command")
    assert run.promoted, run.reason
    assert retrainer.models.champion() is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not packed",
        random.Random(1).randbytes(4096),
        gzip.compress(b"[1, 2]\nnull\n{}\n{'a': NaN}\n" * 10),
        gzip.compress(b"[1]\nnull\n{")[:-3],
        gzip.compress(b"[1]\n{}\n{"),
    ],
    ids=["empty", "no gzip", "bytes", "other JSON", "cut short", "no records"],
)
def test_an_object_of_the_archive_that_is_no_records_is_left_out(body: bytes) -> None:
    bucket = InMemoryS3()
    archive = S3Archive(bucket, "b", clock=lambda: AFTER)
    archive.append(a_log(200), batch_id="1")
    bucket.objects[f"archive/date={NOW.date().isoformat()}/damaged.jsonl.gz"] = body
    run = replace(a_retrainer(), archive=archive).retrain(now=AFTER, trigger="command")
    assert (run.rows, run.promoted) == (200, True)


class Killed(BaseException):
    """As a signal ends the process: nothing catches it."""


class Ending(InMemoryS3):
    """Ends its process in place of the write that comes after so many."""

    left = 10

    def put_object(self, **put: Any) -> None:
        """One of those that are left, or the end."""
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().put_object(**put)


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_retrainer_killed_at_any_write_leaves_a_whole_champion_or_the_one_before(writes: int) -> None:
    """Killed before, with the artifact written, with its card, and with the pointer but no record of the run."""
    bucket = Ending()
    models, runs = S3ModelStore(bucket, "b"), S3RetrainingRuns(bucket, "b")
    bucket.left = writes
    with pytest.raises(Killed):
        replace(a_retrainer(*a_log(200)), models=models, runs=runs).retrain(now=AFTER, trigger="command")
    pointer = models.champion()
    assert (pointer is not None) == (writes >= 3)
    if pointer is not None:
        assert manifest.read(pointer, models.artifact(pointer), trusted()).version == pointer.version
    bucket.left = 10
    assert replace(a_retrainer(*a_log(200)), models=models, runs=runs).retrain(now=AFTER, trigger="command").reason


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
