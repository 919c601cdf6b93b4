"""Retrainings to be killed: a genuine retrainer in a process of its own, over a bucket in a folder."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns
from fiso.codecs.signature import PublicKeys
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import InvocationRecord
from fiso.prediction import manifest
from fiso.prediction.artifact import Model
from fiso.retrainer_settings import RetrainerSettings
from fiso_cli.training import keys
from fiso_client.core.failures import FisoError
from tests.lab.chaos.folder_bucket import BUCKET, FolderBucket

WRITE_S = 0.03
"""How long a put takes, so that a kill often falls between two."""
MINIMUM_ROWS, MINIMUM_NEW_ROWS = 150, 50
_PROCESSES = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """What the pointer named when it was looked at; `model` is None when that must not serve."""

    pointer: ModelPointer | None
    model: Model | None
    problem: str | None = None

    @property
    def is_whole(self) -> bool:
        """There is none yet, or it is complete and verified."""
        return self.pointer is None or self.model is not None

    @property
    def versions(self) -> set[str]:
        """The champion's version and that of the one before it."""
        known = (self.pointer, self.pointer and self.pointer.previous)
        return {pointer.version for pointer in known if pointer is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """One bucket, its archive, and whoever retrains over it."""

    folder: Path

    @property
    def bucket(self) -> FolderBucket:
        """The bucket, as fast as the disk is."""
        return FolderBucket(folder=self.folder)

    @property
    def trusted(self) -> PublicKeys:
        """The keys that may sign here."""
        return keys.trusting(keys.passing())

    def archive(self, records: Iterable[InvocationRecord], batch: str) -> None:
        """Add a batch."""
        S3Archive(self.bucket, BUCKET, clock=_now).append(list(records), batch_id=batch)

    def start(self, now: datetime) -> BaseProcess:
        """A retrainer, in its own process."""
        process = _PROCESSES.Process(target=_retrain, args=(self.folder, now, keys.passing().text), daemon=True)
        process.start()
        return process

    def retrain(self, now: datetime) -> float:
        """One retraining to its end; the seconds it took."""
        start = time.perf_counter()
        process = self.start(now)
        process.join()
        return time.perf_counter() - start

    def retrain_and_kill(self, now: datetime, after_s: float) -> bool:
        """One retraining, killed after a while; whether it was still running."""
        process = self.start(now)
        process.join(after_s)
        was_running = process.exitcode is None
        if was_running and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        return was_running

    def champion(self) -> Champion:
        """The champion as the orchestrator would find it."""
        store = S3ModelStore(self.bucket, BUCKET)
        pointer = None
        try:
            pointer = store.champion()
            if pointer is None:
                return Champion(pointer=None, model=None)
            return Champion(pointer=pointer, model=manifest.read(pointer, store.artifact(pointer), self.trusted))
        except FisoError as error:
            unreadable = pointer or _UNREADABLE
            return Champion(pointer=unreadable, model=None, problem=str(error))

    def last_run(self) -> RetrainingRun | None:
        """What the last retraining recorded."""
        return next(iter(self.last_runs(1)), None)

    def last_runs(self, count: int) -> Sequence[RetrainingRun]:
        """What the last ones recorded, newest first."""
        return S3RetrainingRuns(self.bucket, BUCKET).latest(count)


def preload() -> None:
    """Import the retrainer once, in the process that all of them are forked from."""
    _PROCESSES.set_forkserver_preload(["functions.retrainer.wiring", "tests.lab.chaos.retrainings"])


def kill_point(rng: random.Random, usual_s: float) -> float:
    """Any moment of a usual retraining."""
    return rng.uniform(0.0, usual_s)


_UNREADABLE = ModelPointer(
    version="unreadable", sha256="", trained_at=datetime(1970, 1, 1, tzinfo=UTC), rows=0, is_synthetic=False
)


def _now() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)  # rows of experiments may lie a little ahead


def _retrain(folder: Path, now: datetime, key: str) -> None:
    from functions.retrainer import wiring

    public = key.partition(":")[0]
    settings = RetrainerSettings(
        stage="local",
        bucket=BUCKET,
        minimum_rows=MINIMUM_ROWS,
        minimum_new_rows=MINIMUM_NEW_ROWS,
        lookback_days=30,
        local_signing_key=key,
        model_keys=public,
    )
    bucket = FolderBucket(folder=folder, write_s=WRITE_S)
    wiring.build(settings, s3=bucket).retrain(now=now, trigger="command")
