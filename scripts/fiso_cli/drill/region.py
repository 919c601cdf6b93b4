"""One region of a drill, as a process: the genuine handler behind HTTP, with keeper, stream consumer and (in a standby)
the following of models beside it. Its log, states, breakers and keys are in memory and die with it; its bucket is a
folder. `python -m fiso_cli.drill.region FILE`, with `Region` as JSON in the file.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns, S3Snapshots
from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs import signature
from fiso.codecs.catalog import snapshot_from_json
from fiso.codecs.lease_token import Keyring
from fiso.domain.access import AuthMode
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.ports import CatalogVersion
from fiso.services.log.copying import CopiedArchive
from fiso.services.log.ingest import ingest
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.publish import publish
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryLeaseKeys,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemoryPromotionWitness,
    InMemorySharedBreakers,
)
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.rig import LambdaContext
from fiso_cli.drill.folder_bucket import FolderBucket
from fiso_cli.training import keys
from fiso_client.core.transport import HttpTransport
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.wiring import Ports

HOST, STAGE = "127.0.0.1", "local"
ROUND_S = 0.25
"""How often keeper, consumer and follower take their turn. On AWS: a minute, about a second, and as it is scheduled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a region is and what it knows. `database` holds the catalog that all regions publish from; `follows` is the
    folder of the region whose models it takes over. Its time passes `pace` times as fast, since `began_at`."""

    name: str
    port: int
    bucket: str
    copies_to: str
    follows: str
    database: str
    executions: str
    lease_key: str
    catalog_key: str
    model_keys: str
    began_at: float
    pace: float

    def written(self, file: Path) -> Path:
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return file


class _Database:
    """The catalog as everybody's database has it. Reads only."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self, version: int | None = None) -> CatalogVersion:
        snapshot = snapshot_from_json(self._file.read_bytes())
        return CatalogVersion(
            version=snapshot.version, changed_at=snapshot.published_at, entries=dict(snapshot.functions)
        )


class Running:
    """The region's parts, wired."""

    def __init__(self, region: Region) -> None:
        self.region = region
        own, there = FolderBucket(Path(region.bucket)), FolderBucket(Path(region.copies_to))
        signer = OpenKeySigner.parsed(region.catalog_key)
        self._snapshots = S3Snapshots(own, region.name, keys.sealing(signer, STAGE))
        self._log, self._states, metrics = InMemoryInvocationLog(), InMemoryEndpointStates(), InMemoryMetrics()
        self._archive = CopiedArchive(
            own=S3Archive(own, region.name, clock=self.now),
            other=S3Archive(there, "other", clock=self.now),
            metrics=metrics,
            stopwatch=self.seconds,
        )
        self._seen: set[InvocationId] = set()
        model_keys = signature.parsed(region.model_keys)
        witness, models = InMemoryPromotionWitness(), S3ModelStore(own, region.name)
        self._follower = Follower(
            leader=S3ModelStore(FolderBucket(Path(region.follows or region.bucket)), "leader"),
            models=models,
            runs=S3RetrainingRuns(own, region.name),
            keys=model_keys,
            stage=STAGE,
            witness=witness,
        )
        idempotency = InMemoryIdempotencyKeys(clock=self.now)
        caller = HttpCaller(HttpTransport(dial=PublicDial(allow_loopback=True)), clock=self.now, allow_loopback=True)
        ports = Ports(
            snapshots=self._snapshots,
            states=self._states,
            layer=InMemoryModelStore(),
            models=models,
            promotions=witness,
            log=self._log,
            caller=caller,
            shared_breakers=InMemorySharedBreakers(),
            metrics=metrics,
            clock=self.now,
            ticks=self.seconds,
            lease_keys=lambda: InMemoryLeaseKeys(Keyring.parsed(region.lease_key)),
            idempotency_keys=lambda: idempotency,
            stage_keys=model_keys,
        )
        settings = OrchestratorSettings(
            stage=STAGE,
            log_table="log",
            state_table="state",
            bucket=region.name,
            model_dir=Path(),
            allow_loopback=True,
            region=region.name,
            access=AccessSettings(mode=AuthMode.NONE),
        )
        self.app = wiring.build(settings, metrics=metrics, ports=ports)

    def seconds(self) -> float:
        return time.monotonic() * self.region.pace

    def now(self) -> datetime:
        passed_s = (time.time() - self.region.began_at) * self.region.pace
        return datetime.fromtimestamp(self.region.began_at, UTC) + timedelta(seconds=passed_s)

    def round(self) -> None:
        """The scheduled parts' turn. What fails comes again."""
        try:
            publish(_Database(Path(self.region.database)), self._snapshots)  # type: ignore[arg-type]  # reads only
            if self.region.follows:
                self._follower.retrain(now=self.now(), trigger="schedule")
            records = list(self._log.records.values())
            fresh = [
                one for one in records if isinstance(one, InvocationRecord) and one.invocation_id not in self._seen
            ]
            batch_id = " ".join(record.invocation_id for record in fresh)
            ingest(fresh, states=self._states, archive=self._archive, batch_id=batch_id)
            self._seen.update(record.invocation_id for record in fresh)
        except StoreError as error:
            sys.stderr.write(f"{error}\n")

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
        event = {
            "rawPath": path.partition("?")[0],
            "rawQueryString": path.partition("?")[2],
            "headers": dict(headers),
            "requestContext": {"http": {"method": method}},
            "body": body.decode(),
        }
        return answer_event(self.app, event, LambdaContext())


class Server(ThreadingHTTPServer):
    """FISO under /v1 and /healthz, and this region's own copy of the function under /copy."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, executions: Path, running: Running | None = None) -> None:
        self.executions, self.running = executions, running
        super().__init__((HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.path.startswith("/copy"):
            with self.server.executions.open("ab") as executions:  # one write each: appended whole
                executions.write(body + b"\n")
            self._send(200, {"content-type": "text/plain"}, body)
        elif self.server.running is not None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.server.running.answer(self.command, self.path, headers, body)
            self._send(answer["statusCode"], answer["headers"], answer["body"].encode())

    do_GET = do_POST  # noqa: N815 - the base class calls it

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def main() -> None:
    region = Region(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    running = Running(region)
    running.round()
    server = Server(region.port, Path(region.executions), running)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parent = threading.Thread(target=sys.stdin.read, daemon=True)  # the drill's end is this process's
    parent.start()
    while parent.is_alive():
        time.sleep(ROUND_S)
        running.round()


if __name__ == "__main__":
    main()
