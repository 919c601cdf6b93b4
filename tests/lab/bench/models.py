"""What retraining exports: equal to its estimators on 10,000 rows, how large, how long it takes to open."""

import time
from collections.abc import Sequence
from datetime import timedelta

from fiso.learning import dataset, export, training
from fiso.learning.train import Family
from fiso.learning.training import TrainingSettings
from fiso.prediction import artifact
from tests.builders import NOW
from tests.functional.test_retrain import a_log
from tests.lab.bench.rows import Row, at_most, row

ROWS, COMPARED, OPENINGS = 12_500, 10_000, 50


def rows() -> Sequence[Row]:
    """Each family's figures; `model_load_ms` is the least of many openings, digest included."""
    data = dataset.build(a_log(ROWS, start=NOW - timedelta(days=1)))
    return [each for family in Family for each in _of(family, data)]


def _of(family: Family, data: dataset.DataSet) -> Sequence[Row]:
    made = training.train(data, TrainingSettings(families=(family,), version_prefix="bench", trained_at=NOW))
    files, digest = made.files, made.files.pointer.sha256
    model = artifact.read(files.artifact, sha256=digest)
    off = export.check(model, made.trained, data.part(0, COMPARED), most=COMPARED)
    took_ms = min(_opened_ms(files.artifact, digest) for _ in range(OPENINGS))
    name, why = family.value, "scikit-learn's own"
    return [
        row(f"model_off_{name}", off, "relative", rival=why, rival_value=None, n=COMPARED, gate=at_most(export.PARITY)),
        row(
            f"model_mb_{name}", len(files.artifact) / 1e6, "MB", rival=why, rival_value=None, n=ROWS, gate=at_most(1.0)
        ),
        row(f"model_load_ms_{name}", took_ms, "ms", rival=why, rival_value=None, n=OPENINGS, gate=at_most(2.0)),
    ]


def _opened_ms(data: bytes, digest: str) -> float:
    began = time.perf_counter()
    artifact.read(data, sha256=digest)
    return (time.perf_counter() - began) * 1000
