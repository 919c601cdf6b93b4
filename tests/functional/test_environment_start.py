"""The start of an environment: ready before its first request, and nothing of one's own in what others start from."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fiso.adapters.aws.s3 import S3Snapshots
from fiso.codecs import signature
from fiso.testing.memory import InMemorySnapshots, answering, away
from fiso.testing.rig import Rig, Stores
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.training import keys
from functions.orchestrator import environment
from tests.lab.bench import cold_stores
from tests.lab.chaos.folder_bucket import BUCKET, FolderBucket


class CountedSnapshots(InMemorySnapshots):
    reads = 0

    def current(self, *, unless_version: int | None = None) -> Any:
        self.reads += 1
        return super().current(unless_version=unless_version)


def test_the_first_request_finds_read_what_it_needs() -> None:
    snapshots = CountedSnapshots()
    snapshots.publish(Rig().stores.snapshots.versions[1])
    rig = Rig(stores=Stores(snapshots=snapshots))
    environment.start(rig.app, {})
    assert snapshots.reads == 1
    assert rig.app.sources.model() is None  # asked for, and there is none
    rig.invoke("word-count")
    assert snapshots.reads == 1
    assert len(rig.stores.log.records) == 1  # the decision for nobody left no trace


def test_an_environment_starts_without_stores_and_serves_when_they_are_back() -> None:
    rig = Rig()
    rig.stores.snapshots.before = away()
    environment.start(rig.app, {})
    rig.stores.snapshots.before = answering
    rig.clock.advance(2)
    assert rig.invoke("word-count").status == 200


def test_a_snapshot_is_taken_at_rest_and_what_is_restored_gets_ready() -> None:
    import snapshot_restore_py

    rested: list[str] = []
    rig = Rig(ports=lambda ports: replace(ports, rest=lambda: rested.append("rest")))
    environment.start(rig.app, {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    before, *_ = snapshot_restore_py.get_before_snapshot()[-1]
    after, words, _ = snapshot_restore_py.get_after_restore()[-1]
    before()
    assert rested == ["rest"]
    after(*words)
    assert rig.invoke("word-count").status == 200


CLONES = """
import json, os, sys, threading
import snapshot_restore_py as hooks
from functions.orchestrator import handler

class Context:
    def get_remaining_time_in_millis(self): return 29_000

event = json.loads(sys.argv[1])
for call, words, named in reversed(hooks.get_before_snapshot()):
    call(*words, **named)
print(json.dumps({"threads": [thread.name for thread in threading.enumerate()]}), flush=True)
for _ in range(2):
    if os.fork() == 0:
        for call, words, named in hooks.get_after_restore():
            call(*words, **named)
        answer = handler.lambda_handler(event, Context())
        teller = handler.application().orchestrator.dispatcher.watched.__self__._teller()
        said = {"status": answer["statusCode"], "id": answer["headers"]["x-fiso-invocation-id"], "teller": teller}
        os.write(1, (json.dumps(said) + "\\n").encode())
        os._exit(0)
    os.wait()
"""


@dataclass
class Asked:
    """Who asked: the connection, and the access key that it was signed with."""

    connections: list[tuple[int, str]] = field(default_factory=list)
    handed_out: list[str] = field(default_factory=list)


@contextmanager
def stores(folder: Path, asked: Asked) -> Iterator[tuple[str, str]]:
    """S3, DynamoDB and Lambda, which note who asks, and where Lambda gives credentials; their address, and the key that
    catalogs are signed with."""
    signer = keys.new()
    bucket_folder = FolderBucket(folder=folder / "s3")
    S3Snapshots(bucket_folder, BUCKET, keys.sealing(signer)).publish(cold_stores.catalog())

    class Answers(cold_stores.Answers):
        bucket = bucket_folder

        def do_GET(self) -> None:  # noqa: N802 - its own name
            if self.path != "/credentials":
                super().do_GET()
                return
            assert self.headers["authorization"] == "Lambda's token"
            asked.handed_out.append(f"AK{len(asked.handed_out)}")
            ends_at = (datetime.now(UTC) + timedelta(hours=6)).isoformat(timespec="seconds")
            parts = {"AccessKeyId": asked.handed_out[-1], "SecretAccessKey": "s", "Token": "t", "Expiration": ends_at}
            self.answer(200, json.dumps(parts).encode())

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            _, found, rest = self.headers.get("authorization", "").partition("Credential=")
            if found:
                asked.connections.append((self.client_address[1], rest.partition("/")[0]))
            super().answer(status, body, **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", signature.text_of(signer.public.modulus)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_clones_of_one_composed_environment_share_no_name_connection_or_credential(tmp_path: Path) -> None:
    asked = Asked()
    with stores(tmp_path, asked) as (url, catalog_key):
        environ = cold_stores.environ_of(url, catalog_key) | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("shared", ".")),
            "FISO_MODEL_DIR": str(CHECKOUT / "ml_artifacts"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Lambda's token",
        }
        for given in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del environ[given]
        command = [sys.executable, "-c", CLONES, environ.pop("COLD_EVENT")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(('{"threads', '{"status'))]
    snapshot, *clones = told
    assert snapshot["threads"] == ["MainThread"]
    assert [clone["status"] for clone in clones] == [200, 200]
    assert len({clone["id"] for clone in clones}) == len({clone["teller"] for clone in clones}) == 2
    assert asked.handed_out == ["AK0", "AK1", "AK2"]  # before the snapshot, and one for each clone
    by_key = {key: {port for port, used in asked.connections if used == key} for key in asked.handed_out}
    assert all(by_key.values())
    assert sum(map(len, by_key.values())) == len(set.union(*by_key.values()))
