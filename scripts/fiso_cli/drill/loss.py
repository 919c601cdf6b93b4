"""The loss of a region, drilled: two regions from one catalog, traffic through FISO and by lease, and then the first
region's process is killed. What went on, what was lost, and for how long.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.models import LayerModelStore, S3ModelStore
from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs import signature
from fiso.codecs.catalog import snapshot_to_json
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.lease import LIFETIME
from fiso.domain.policy import Policy
from fiso.ports import ModelFiles
from fiso.prediction import manifest
from fiso_cli.drill.folder_bucket import FolderBucket
from fiso_cli.drill.region import HOST, STAGE, Region, Server
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import MODELS
from fiso_cli.training import keys
from fiso_client import Client, Options, Request
from fiso_client.core.failures import FisoError

FUNCTION = FunctionName("orders")
STARTING_S = 30.0
EVERY_S = 0.05
"""How long each caller rests between two requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request of a caller; times are seconds of this process's monotonic clock. `invocation_id` where FISO said."""

    caller: str
    id: str
    began: float
    ended: float
    is_answered: bool
    is_stale: bool = False
    invocation_id: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the drill came to. Times in seconds, as they pass here; `went_on_s` as clients counted them."""

    samples: tuple[Sample, ...]
    lost_at: float
    rpo_s: float
    left: int
    answered: int
    rto_s: float | None
    executions: Counter[str]
    declared_s: float
    went_on_s: float
    ended_in_no_lease: bool
    reported: int
    same_catalog: bool
    same_model: bool
    was_ready: bool

    @property
    def doubles(self) -> int:
        return sum(times > 1 for times in self.executions.values())

    def of(self, caller: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.caller == caller]


@dataclass(kw_only=True)
class Drill:
    """One drill in a folder of its own. `before_s` is how long all is well; a client that knows the first region alone
    may go on for `outage_s` by its last lease. Time passes `pace` times as fast for FISO and its clients."""

    folder: Path
    before_s: float
    outage_s: int
    pace: float
    say: Callable[[str], None] = lambda _: None
    samples: list[Sample] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Findings:
        executions = self.folder / "executions"
        executions.touch()
        clouds, *ports = free_ports(3)
        first, second = self._regions(ports, executions, clouds)
        with ExitStack() as stack:
            stack.enter_context(_serving(Server(clouds, executions)))
            one = stack.enter_context(self._running(first))
            stack.enter_context(self._running(second))
            urls = [f"http://{HOST}:{port}" for port in ports]
            was_ready = all(_is_ready(url) for url in urls)
            self.say("two regions serve, from one catalog")
            return self._with_traffic(stack, one, first, second, urls, executions, was_ready)

    def _with_traffic(
        self,
        stack: ExitStack,
        one: "subprocess.Popen[bytes]",
        first: Region,
        second: Region,
        urls: list[str],
        executions: Path,
        was_ready: bool,
    ) -> Findings:
        callers = {"through": urls, "leased": urls, "cut off": urls[:1]}
        clients = {name: stack.enter_context(self._client(known)) for name, known in callers.items()}
        threads = [threading.Thread(target=self._call, args=(name, client)) for name, client in clients.items()]
        for thread in threads:
            thread.start()
        try:
            time.sleep(self.before_s)
            lost_at = time.monotonic()
            one.kill()
            one.communicate()
            self.say("the first region is lost")
            longest_s = (LIFETIME.total_seconds() + self.outage_s) / self.pace
            time.sleep(longest_s + 1.0)
        finally:
            self.over.set()
            for thread in threads:
                thread.join()
        self.say("the first region returns, with an empty log")
        with self._running(first):
            for client in clients.values():
                client.flush()
            reported = sum(client.tally.accepted for client in clients.values())
        return self._findings(first, second, executions, lost_at, reported, was_ready)

    def _findings(
        self, first: Region, second: Region, executions: Path, lost_at: float, reported: int, was_ready: bool
    ) -> Findings:
        samples = tuple(self.samples)
        archive = S3Archive(FolderBucket(Path(second.bucket)), second.name, clock=lambda: datetime.now(UTC) + 2 * DAY)
        kept = {record.invocation_id for record in archive.since((datetime.now(UTC) - DAY).date())}
        before = [one for one in samples if one.invocation_id and one.ended <= lost_at]
        missing = [one for one in before if one.invocation_id not in kept]
        after = [one for one in samples if one.caller == "through" and one.began >= lost_at and one.is_answered]
        cut_off = [one for one in samples if one.caller == "cut off" and one.began >= lost_at]
        last = max((one.ended for one in cut_off if one.is_answered), default=lost_at)
        return Findings(
            samples=samples,
            lost_at=lost_at,
            rpo_s=max((lost_at - one.ended for one in missing), default=0.0),
            left=len(before) - len(missing),
            answered=len(before),
            rto_s=min((one.ended - lost_at for one in after), default=None),
            executions=Counter(executions.read_text(encoding="ascii").split()),
            declared_s=self.outage_s,
            went_on_s=(last - lost_at) * self.pace,
            ended_in_no_lease=any("no lease" in one.problem for one in cut_off if one.began > last),
            reported=reported,
            same_catalog=_same(first.bucket, second.bucket, "policies/1.json"),
            same_model=_same_model(first.bucket, second.bucket),
            was_ready=was_ready,
        )

    def _call(self, name: str, client: Client) -> None:
        while not self.over.is_set():
            id, began = f"{name.replace(' ', '-')}-{next(self.numbers)}", time.monotonic()
            request = Request(body=id.encode(), content_type="text/plain")
            try:
                answer = (client.invoke if name == "through" else client.call)(FUNCTION, request, timeout_s=5)
            except FisoError as error:
                sample = Sample(
                    caller=name, id=id, began=began, ended=time.monotonic(), is_answered=False, problem=str(error)
                )
            else:
                sample = Sample(
                    caller=name,
                    id=id,
                    began=began,
                    ended=time.monotonic(),
                    is_answered=answer.status == 200,
                    is_stale=answer.is_stale,
                    invocation_id=answer.headers.get("x-fiso-invocation-id", "") if name == "through" else "",
                )
            self.samples.append(sample)
            self.over.wait(EVERY_S)

    @contextmanager
    def _client(self, urls: list[str]) -> Iterator[Client]:
        options = Options(fiso_timeout_s=1.0, retry_s=2.0)
        with Client(urls, options=options, stopwatch=lambda: time.monotonic() * self.pace) as client:
            yield client

    def _regions(self, ports: list[int], executions: Path, clouds: int) -> tuple[Region, Region]:
        buckets = [self.folder / "one", self.folder / "two"]
        for bucket in buckets:
            bucket.mkdir()
        database, model_signer = self.folder / "database.json", keys.new()
        database.write_bytes(snapshot_to_json(self._catalog(ports, clouds)))
        self._train(buckets[0], model_signer)
        catalog_signers = [keys.new(), keys.new()]
        regions = [
            Region(
                name=name,
                port=ports[index],
                bucket=str(buckets[index]),
                copies_to=str(buckets[1 - index]),
                follows=str(buckets[0]) if index else "",
                database=str(database),
                executions=str(executions),
                lease_key=f"{name}:{os.urandom(24).hex()}",
                catalog_key=catalog_signers[index].text,
                model_keys=signature.text_of(model_signer.public.modulus),
                began_at=time.time(),
                pace=self.pace,
            )
            for index, name in enumerate(("first", "second"))
        ]
        return regions[0], regions[1]

    def _catalog(self, ports: list[int], clouds: int) -> Snapshot:
        """A function that must not run twice, with a copy in each region and two on other clouds."""
        places = [
            ("aws-first", Provider.AWS, "us-east-1", ports[0]),
            ("aws-second", Provider.AWS, "us-west-2", ports[1]),
            ("azure", Provider.AZURE, "eastus", clouds),
            ("gcp", Provider.GCP, "us-east4", clouds),
        ]
        endpoints = tuple(
            Endpoint(
                id=EndpointId(id), provider=provider, region=region, memory_mb=512, address=f"http://{HOST}:{port}/copy"
            )
            for id, provider, region, port in places
        )
        policy = Policy(version=1, lease_outage_s=self.outage_s, max_attempts=4)
        entry = CatalogEntry(name=FUNCTION, function_type="text", endpoints=endpoints, policy=policy)
        return Snapshot(version=1, published_at=datetime.now(UTC), functions={FUNCTION: entry})

    def _train(self, bucket: Path, signer: OpenKeySigner) -> None:
        """The packaged model, promoted in the first region."""
        packaged = LayerModelStore(MODELS)
        pointer = packaged.champion()
        if pointer is None or pointer.manifest is None:
            raise CommandError("there is no packaged model to promote: run `fiso train`")
        stated = manifest.restated(pointer.manifest, stage=STAGE, number=1)
        sealed = signature.signed(stated.text, signer.sign)
        files = ModelFiles(
            pointer=replace(pointer, manifest=sealed, previous=None, origin="store"),
            artifact=packaged.artifact(pointer),
            card={},
        )
        S3ModelStore(FolderBucket(bucket), "one").publish(files, replaces=None)

    @contextmanager
    def _running(self, region: Region) -> Iterator["subprocess.Popen[bytes]"]:
        file = region.written(self.folder / f"{region.name}.json")
        with (self.folder / f"{region.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fiso_cli.drill.region", str(file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        try:
            _await(lambda: process.poll() is not None or _is_ready(f"http://{HOST}:{region.port}"))
            if process.poll() is not None:
                raise CommandError(f"region {region.name} did not start: see {self.folder / f'{region.name}.log'}")
            yield process
        finally:
            process.kill()
            process.communicate()


DAY = timedelta(days=1)


def free_ports(number: int) -> list[int]:
    """Ports of loopback on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _is_ready(url: str) -> bool:
    """What a health check would see."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/healthz?ready=1")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _await(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + STARTING_S
    while not is_so():
        if time.monotonic() > ends_at:
            raise CommandError(f"a region was not ready within {STARTING_S:g} s")
        time.sleep(0.05)


def _same(one: str, other: str, key: str) -> bool:
    bodies = [FolderBucket(Path(folder)).body(key) for folder in (one, other)]
    return bodies[0] is not None and bodies[0] == bodies[1]


def _same_model(one: str, other: str) -> bool:
    """Whether both name the same signed champion, and hold the same file of it."""
    pointers = [S3ModelStore(FolderBucket(Path(folder)), folder).champion() for folder in (one, other)]
    if pointers[0] is None or pointers[1] is None or pointers[0].manifest != pointers[1].manifest:
        return False
    return _same(one, other, f"models/{pointers[0].version}/model.joblib")
