"""Trials of bad models: one cold environment each, over a bucket that points to a model that must not serve."""

import json
import logging
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fiso.domain.catalog import Snapshot
from fiso.testing.memory import InMemoryModelStore, InMemorySnapshots
from fiso_cli.training import keys
from tests.lab.chaos import small_router
from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.lab.chaos.models import Bad, bad_ones, whole
from tests.lab.chaos.small_router import Outside, SmallRouter

LATE = ("plain containers", "the file is of", "golden row", "damaged", "not the fields")
"""What a refusal says that came from the unpickler or after it."""
REQUESTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One environment. `first_ms` is what its first request took in all, `later_ms` FISO's own time of the others;
    `misled` says that the bad model decided."""

    kind: str
    is_bad: bool
    is_refused: bool
    misled: bool
    requests: int
    failed: int
    first_ms: float
    later_ms: tuple[float, ...]
    reason: str


class _Refusals(logging.Handler):
    """What was said of refused models."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons.append(record.getMessage())


def trials(setting: Setting, *, flips: int, slow_read_s: float) -> Iterator[Trial]:
    """Every bad model, then one whose file hangs, with a line each in `trials.jsonl`."""
    rng = random.Random(setting.seed)  # nosec B311 - draws of an experiment, no secrets
    packaged = whole("packaged")
    with (setting.folder / "trials.jsonl").open("w", encoding="utf-8") as history:
        for number, bad in enumerate(bad_ones(flips, setting.folder / "code-ran", rng)):
            setting.say(f"model {number + 1}: {bad.kind}")
            bucket = _published(setting.folder / "bucket", bad)
            router = _router(bucket, InMemoryModelStore(packaged))
            trial = _tried(router, kind=bad.kind, version=bad.files.pointer.version, is_bad=True)
            history.write(json.dumps(asdict(trial)) + "\n")
            yield trial
        for trial in _slow(setting.folder / "slow", InMemoryModelStore(packaged), slow_read_s):
            history.write(json.dumps(asdict(trial)) + "\n")
            yield trial


def _slow(folder: Path, layer: InMemoryModelStore, read_s: float) -> Iterator[Trial]:
    good = whole("slow")
    small_router.models_in(FolderBucket(folder=folder)).publish(good, replaces=None)
    for _ in range(3):
        bucket = FolderBucket(folder=folder, before_read=lambda _: time.sleep(read_s))
        yield _tried(_router(bucket, layer), kind="slow", version="", is_bad=False)


def _tried(router: SmallRouter, *, kind: str, version: str, is_bad: bool) -> Trial:
    refusals = _Refusals()
    said = logging.getLogger("fiso.services.freshness.model_source")
    said.addHandler(refusals)
    said.propagate = False
    try:
        start = time.perf_counter()
        first = router.invoke()
        first_ms = (time.perf_counter() - start) * 1000
        later = [router.invoke() for _ in range(REQUESTS - 1)]
    finally:
        said.removeHandler(refusals)
        said.propagate = True
    replies = [first, *later]
    reason = refusals.reasons[0] if refusals.reasons else ""
    return Trial(
        kind=kind,
        is_bad=is_bad,
        is_refused=router.metrics.total("ModelRefused") >= 1 and not any(word in reason for word in LATE),
        misled=any(reply.headers.get("x-fiso-model-version") == version for reply in replies),
        requests=len(replies),
        failed=sum(reply.status != 200 for reply in replies),
        first_ms=first_ms,
        later_ms=tuple(reply.own_ms for reply in later),
        reason=reason,
    )


def _published(folder: Path, bad: Bad) -> FolderBucket:
    shutil.rmtree(folder, ignore_errors=True)
    bucket = FolderBucket(folder=folder)
    small_router.models_in(bucket).publish(bad.files, replaces=None)
    if bad.is_missing:
        (folder / "models" / bad.files.pointer.version / "model.joblib").unlink()
    return bucket


def _router(bucket: FolderBucket, layer: InMemoryModelStore) -> SmallRouter:
    entry = small_router.catalog()
    snapshot = Snapshot(version=1, published_at=datetime.now(UTC), functions={entry.name: entry})
    trusted = keys.trusting(keys.passing())
    return small_router.build(
        Outside(
            snapshots=InMemorySnapshots(snapshot),
            models=small_router.models_in(bucket),
            layer=layer,
            stage_keys=trusted,
            packaged_keys=trusted,
        )
    )
