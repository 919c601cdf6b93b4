"""What retraining exports: equal to its estimators on 10,000 rows, how large, how long it takes to open."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from http.client import HTTPConnection

from fiso.learning import dataset, export, training
from fiso.learning.train import Family
from fiso.learning.training import TrainingSettings
from fiso.prediction import artifact
from fiso.prediction.features import NAMES
from functions.trainer import serving
from tests.builders import NOW
from tests.functional.test_retrain import a_log
from tests.lab.bench.rows import Row, at_most, row

ROWS, COMPARED, OPENINGS, ASKED = 12_500, 10_000, 50, 500


def rows() -> Sequence[Row]:
    """Each family's figures; `model_load_ms` is the least of many openings, digest included."""
    data = dataset.build(a_log(ROWS, start=NOW - timedelta(days=1)))
    return [*(each for family in Family for each in _of(family, data)), _asked(data)]


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


def _asked(data: dataset.DataSet) -> Row:
    """One row put to a model, here and through the server that training platforms start, on loopback: without a
    network, TLS, a token and the platform's own door, which a request's path would have as well."""
    made = training.train(data, TrainingSettings(version_prefix="bench", trained_at=NOW))
    model = artifact.read(made.files.artifact, sha256=made.files.pointer.sha256)
    asked = [0.0] * len(NAMES)
    here_us = min(_took_us(lambda: model.predict(asked)) for _ in range(ASKED))
    server = serving.server(model, serving.door({"AIP_HTTP_PORT": "0"}), "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = HTTPConnection("127.0.0.1", server.server_address[1])
    body = json.dumps({"instances": [asked]})

    def over_http() -> None:
        connection.request("POST", "/invocations", body)
        connection.getresponse().read()

    there_us = min(_took_us(over_http) for _ in range(ASKED))
    connection.close()
    server.shutdown()
    server.server_close()
    return row("model_ask_us", here_us, "us", rival="an endpoint on loopback", rival_value=there_us, n=ASKED)


def _took_us(does: Callable[[], object]) -> float:
    started = time.perf_counter()
    does()
    return (time.perf_counter() - started) * 1e6


def _opened_ms(data: bytes, digest: str) -> float:
    began = time.perf_counter()
    artifact.read(data, sha256=digest)
    return (time.perf_counter() - began) * 1000
