"""A worker: one process with execution environments, each a thread with a genuine orchestrator edge of its own.

A connection is an environment: it is built when somebody connects and serves one request at a time, as Lambda's do.
Threads of one process share its interpreter, as Lambda's environments do not: latencies under load are the worse for
it. `python -m tests.lab.chaos.rig.worker CONFIG` with `{"socket", "store", "environ"}`; without `store`, the stores are
what the environ's AWS_ENDPOINT_URL serves.
"""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from threading import Lock, Thread
from time import perf_counter
from typing import Any

from fiso import telemetry
from fiso.settings import OrchestratorSettings
from fiso.testing.memory import InMemoryLeaseKeys
from fiso_client.core.breaker import BreakerState
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.http_answer import problem
from functions.orchestrator.wiring import App
from tests.builders import KEYRING
from tests.lab.chaos.rig.children import announce
from tests.lab.chaos.rig.store import STORED, StoreLink

logger = logging.getLogger("fiso.rig")
READY = b"ready\n"
"""What an environment says when it is built."""


class CountedMetrics:
    """Sums per metric, shared by the environments of one process."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, name: str, value: float, unit: str, **dimensions: str) -> None:
        """Count one value."""
        with self._lock:
            self.sums[name] += int(value)


class TimedContext:
    """A Lambda context whose time runs."""

    def __init__(self, remaining_ms: float) -> None:
        self._ends_at = perf_counter() + remaining_ms / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return max(0, int((self._ends_at - perf_counter()) * 1000))


def edge_of(environ: Mapping[str, str], store: str | None, metrics: CountedMetrics) -> App:
    """One execution environment: the genuine wiring, with the rig's store in the place of AWS's when one is given."""
    settings = OrchestratorSettings.from_environ(environ)
    ports = replace(wiring.aws_ports(settings, environ, metrics), lease_keys=lambda: InMemoryLeaseKeys(KEYRING))
    if store is not None:
        link = StoreLink(store)
        ports = replace(ports, **{name: link.port(name) for name in STORED})
        ports = replace(ports, idempotency_keys=lambda: link.port("idempotency_keys"))
    return wiring.build(settings, metrics=metrics, ports=ports)


def answer(edge: App, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One request: `{"event", "remaining_ms"}` in, `{"response", "served_ms", "open_breakers"}` out; `{}` gives `{}`.

    What FISO fails at is a 500, as the handler makes it.
    """
    start = perf_counter()
    if "event" not in asked:
        return {}  # a control: nothing of FISO is on its way
    try:
        response = answer_event(edge, asked["event"], TimedContext(asked["remaining_ms"]))
    except Exception:
        logger.exception("unexpected error")
        response = problem(500, "Internal error", "FISO failed; its log has more", "")
    served_ms = (perf_counter() - start) * 1000
    return {"response": response, "served_ms": served_ms, "open_breakers": open_breakers(edge)}


def open_breakers(edge: App) -> list[str]:
    """The endpoints whose breaker in this environment is not closed now."""
    now = edge.clock()
    return [
        endpoint
        for entry in edge.sources.snapshot().functions.values()
        for endpoint, breaker in edge.orchestrator.dispatcher.breakers.of(entry).items()
        if breaker.state(now) is not BreakerState.CLOSED
    ]


def _serve(connected: socket, environ: Mapping[str, str], store: str | None, metrics: CountedMetrics) -> None:
    edge = edge_of(environ, store, metrics)
    with connected, connected.makefile("rwb") as stream, suppress(OSError):  # whoever asked may have left
        stream.write(READY)
        stream.flush()
        for line in stream:
            stream.write(json.dumps(answer(edge, json.loads(line))).encode() + b"\n")
            stream.flush()


def main() -> None:
    """Serve until killed."""
    config = json.loads(sys.argv[1])
    os.environ.update(config["environ"])  # the stage's name, which telemetry reads
    if config.get("has_lines"):
        telemetry.logger()
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    path, metrics = Path(config["socket"]), CountedMetrics()
    path.unlink(missing_ok=True)
    with socket(AF_UNIX, SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(256)
        announce(config)
        while True:
            connected, _ = listener.accept()
            arguments = (connected, config["environ"], config.get("store"), metrics)
            Thread(target=_serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
