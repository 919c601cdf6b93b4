"""Serving: a trained model over HTTP in a platform's container, for batches and what-if. No request of a caller waits
for it: the orchestrator reads the same file itself.

Vertex AI: AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE, the model's folder in AIP_STORAGE_URI (cloud.google.com,
"Custom container requirements for inference"). SageMaker: port 8080, GET /ping, POST /invocations, the model in
/opt/ml/model (docs.aws.amazon.com, "Custom inference code with hosting services").
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fiso.domain.errors import ModelRefused
from fiso.domain.signed import SignedText
from fiso.learning import job
from fiso.prediction import artifact, features, manifest
from fiso.prediction.artifact import Model
from functions.trainer.contracts import GCS, OPT_ML, Misused
from functions.trainer.wiring import in_storage

LARGEST_BODY = 6 * 1024 * 1024
"""SageMaker's own limit for an invocation; Vertex AI's is 1.5 MB."""
MOST_ROWS = 10_000
HOST = "0.0.0.0"  # nosec B104  a container's door, which only its platform reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a platform asks."""

    port: int
    health: str
    predict: str
    model: str


def door(environ: Mapping[str, str]) -> Door:
    """`Misused` for a port that is none."""
    port = environ.get("AIP_HTTP_PORT", "8080")
    if not port.isdecimal() or int(port) > 65_535:
        raise Misused(f"AIP_HTTP_PORT must be a port, not {port!r:.40}")
    return Door(
        port=int(port),
        health=environ.get("AIP_HEALTH_ROUTE", "/ping"),
        predict=environ.get("AIP_PREDICT_ROUTE", "/invocations"),
        model=environ.get("AIP_STORAGE_URI") or f"{environ.get(OPT_ML, '/opt/ml')}/model",
    )


def loaded(address: str, environ: Mapping[str, str]) -> Model:
    """The model in a folder, or below an address of Cloud Storage. `ModelRefused` for what must not serve."""
    read = in_storage(address) if address.startswith("gs://") and GCS not in environ else _in_folder(address, environ)
    stated = manifest.unsigned(SignedText(text=read(job.MANIFEST).decode(errors="replace")))
    data = read(job.MODEL)
    if sha256(data).hexdigest() != stated.sha256:
        raise ModelRefused("the model is not the one that its manifest names")
    model = artifact.read(data, sha256=stated.sha256)
    manifest.check_golden(model, stated)
    return model


def _in_folder(address: str, environ: Mapping[str, str]) -> Any:
    folder = Path(environ.get(GCS, "/gcs"), address.removeprefix("gs://"))

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise ModelRefused(f"{name} cannot be read: {error.strerror}") from error

    return read


def answer(model: Model, content: bytes) -> Mapping[str, object]:
    """`{"predictions": […]}`, one for each of `instances`, in their order. `ValueError` in one line."""
    try:
        asked = json.loads(content)
    except ValueError as error:
        raise ValueError("the body is no JSON") from error
    instances = asked.get("instances") if isinstance(asked, dict) else None
    if not isinstance(instances, list) or not 0 < len(instances) <= MOST_ROWS:
        raise ValueError(f"instances must be a list of 1 to {MOST_ROWS}")
    rows = [_row(each, number) for number, each in enumerate(instances)]
    predictions = [
        {
            "execution_time_ms": said.latency_ms,
            "cost_usd": said.cost_usd,
            "success_probability": said.success_probability,
        }
        for said in model.predict_all(rows)
    ]
    return {"predictions": predictions, "model_version": model.version}


def _row(given: object, number: int) -> Sequence[float]:
    """A row by names, or as a list in their order."""
    if isinstance(given, dict):
        if unlike := sorted(set(given) ^ set(features.NAMES)):
            raise ValueError(f"instance {number}: {unlike[0]:.60} is {'unknown' if unlike[0] in given else 'missing'}")
        given = [given[name] for name in features.NAMES]
    if not isinstance(given, list) or len(given) != len(features.NAMES):
        raise ValueError(f"instance {number} must have the {len(features.NAMES)} features {', '.join(features.NAMES)}")
    for name, value in zip(features.NAMES, given, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300 or math.isnan(value):
            raise ValueError(f"instance {number}: {name} must be a number")
    return [float(value) for value in given]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, model: Model, at: Door, *given: Any) -> None:
        self._model, self._at = model, at
        super().__init__(*given)

    def do_GET(self) -> None:
        if self.path == self._at.health:
            self._send(200, {"status": "ok", "model_version": self._model.version})
        else:
            self._send(404, {"error": "no such path"})

    def do_POST(self) -> None:
        size = self.headers.get("content-length", "")
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            self.close_connection = True
            self._send(413 if size.isdecimal() else 411, {"error": f"a body of at most {LARGEST_BODY} bytes is needed"})
            return
        content = self.rfile.read(int(size))
        if self.path != self._at.predict:
            self._send(404, {"error": "no such path"})
            return
        try:
            self._send(200, answer(self._model, content))
        except (ValueError, RecursionError) as error:
            self._send(400, {"error": str(error)[:300]})

    def _send(self, status: int, document: Mapping[str, object]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """What is asked is nobody's business but the platform's."""


def server(model: Model, at: Door, host: str = HOST) -> ThreadingHTTPServer:
    made = ThreadingHTTPServer((host, at.port), partial(_Handler, model, at))
    made.daemon_threads = True
    return made


def serve(environ: Mapping[str, str]) -> int:
    """Until it is ended; 1 where there is no model that may serve, 2 for what the platform did not say."""
    try:
        at = door(environ)
        model = loaded(at.model, environ)
    except Misused as error:
        sys.stderr.write(f"fiso server: {error}\n")
        return 2
    except ModelRefused as error:
        sys.stderr.write(f"fiso server: {error}\n")
        return 1
    host = environ.get("FISO_SERVE_HOST", HOST)
    with server(model, at, host) as made:
        sys.stdout.write(f"model {model.version} on port {made.server_address[1]}\n")
        sys.stdout.flush()
        made.serve_forever()
    return 0
