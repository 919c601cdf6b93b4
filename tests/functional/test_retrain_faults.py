"""Retraining while something is wrong: another retrainer, a key that is away, files and rows that are damaged."""

import gzip
from dataclasses import replace

import pytest

from fiso.adapters.aws.s3 import S3Archive
from fiso.adapters.aws.s3_models import S3ModelStore
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.ports import ModelFiles
from fiso.testing.memory import InMemoryModelStore
from tests.builders import NOW
from tests.functional.test_retrain import AFTER, InMemoryS3, a_log, a_retrainer
from tests.models import packaged


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
    "body", [b"", b"not packed", gzip.compress(b"[1]\nnull\n{")[:-3], gzip.compress(b"[1]\n{}\n{")]
)
def test_an_object_of_the_archive_that_is_no_records_is_left_out(body: bytes) -> None:
    bucket = InMemoryS3()
    archive = S3Archive(bucket, "b", clock=lambda: AFTER)
    archive.append(a_log(200), batch_id="1")
    bucket.objects[f"archive/date={NOW.date().isoformat()}/damaged.jsonl.gz"] = body
    run = replace(a_retrainer(), archive=archive).retrain(now=AFTER, trigger="command")
    assert (run.rows, run.promoted) == (200, True)
