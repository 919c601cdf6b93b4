"""The loss of AWS, drilled: a whole local cloud with a stage is killed under load, tables, bucket, secrets, schedules,
functions and gateway, and a front door on another cloud serves on: the genuine server as a process, with nothing but
that cloud's storage. Then AWS returns with what it held, and the keeper merges what the door wrote.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fiso.codecs import signature
from fiso.domain.endpoint import FunctionName
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import HOST, MODELS
from fiso_cli.training import keys
from fiso_client import Answer, Client, Options, Request
from localcloud import ports
from localcloud.cloud import Record
from localcloud.demo.machine import STAGE, Machine
from localcloud.drill.object_store import Server
from localcloud.drill.regions import KILLED
from localcloud.drill.traffic import Ask, Callers, Sample, awaited, copies, free_ports, is_ready
from localcloud.layout import LocalCloud
from localcloud.parts import Options as Parts

READS, ORDERS = FunctionName("reads"), FunctionName("orders")
MERGING_S = 180.0
"""At least; of a long outage as long as that lasted."""
CALLERS = {"reads": (READS, False), "orders": (ORDERS, False), "leased reads": (READS, True)}
"""By name: the function, and whether it is called by lease."""
CATALOG = """version: 1
functions:
  reads:  # may run twice
    type: text
    endpoints: &copies
      - {{id: lost, provider: gcp, region: us-east1, memory_mb: 512, address: "{lost}/lost"}}
      - {{id: gcp, provider: gcp, region: us-east4, memory_mb: 512, address: "{others}/gcp"}}
      - {{id: azure, provider: azure, region: eastus, memory_mb: 512, address: "{others}/azure"}}
    policy: {{idempotent: yes, max_attempts: 3}}
  orders:  # must not
    type: text
    endpoints: *copies
    policy: {{max_attempts: 3}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the drill came to. Times in seconds of this process's clock. `detected_at` is when the last of the clients
    had found that AWS is away; `change` is what became of a change of the catalog during the outage."""

    samples: tuple[Sample, ...]
    lost_at: float
    detected_at: float
    back_at: float
    executions: Counter[str]
    logged: frozenset[str]
    reported: int
    merged_s: float | None
    change: str
    served_version: tuple[int, int]
    was_clean: bool

    def during(self, caller: str) -> list[Sample]:
        """A caller's requests that began from the second after detection on, until AWS returned."""
        return [
            one
            for one in self.samples
            if one.caller == caller and self.detected_at + 1.0 <= one.began and one.ended <= self.back_at
        ]

    @property
    def repeatable(self) -> list[Sample]:
        return [one for caller in ("reads", "leased reads") for one in self.during(caller)]

    @property
    def doubles(self) -> list[str]:
        return [id for id, times in self.executions.items() if times > 1 and id.startswith("orders")]

    @property
    def lost(self) -> list[Sample]:
        return [one for one in self.samples if one.invocation_id and one.invocation_id not in self.logged]


@dataclass(kw_only=True)
class Drill:
    """One drill in a folder of its own: `before_s` all is well, for `outage_s` AWS is away."""

    folder: Path
    before_s: float
    outage_s: float
    say: Callable[[str], None] = lambda _: None
    callers: Callers = field(default_factory=Callers)

    def run(self) -> Findings:
        executions = self.folder / "executions"
        executions.touch()
        lost_port, others_port, door_port = free_ports(3)
        declared = self.folder / "fiso.yaml"
        declared.write_text(CATALOG.format(lost=f"http://{HOST}:{lost_port}", others=f"http://{HOST}:{others_port}"))
        with ExitStack() as stack:
            lost = stack.enter_context(copies(lost_port, executions))
            stack.enter_context(copies(others_port, executions))
            storage = stack.enter_context(_storage())
            self.say("a local cloud starts, with a stage: a minute or two")
            machine = stack.enter_context(_aws(self.folder / "aws", declared, storage))
            door = stack.enter_context(_door(machine, door_port, storage, self.folder / "door.log"))
            urls = [machine.stage.api_url, f"http://{HOST}:{door_port}"]
            if not all(awaited(lambda url=url: is_ready(url)) for url in urls):  # type: ignore[misc]
                raise CommandError(f"not both doors got ready: see {self.folder / 'door.log'}")
            self.say("AWS serves, and a front door on another cloud, from one catalog")
            return self._with_traffic(stack, machine, door, lost, storage, urls)

    def _with_traffic(
        self,
        stack: ExitStack,
        machine: Machine,
        door: "subprocess.Popen[bytes]",
        lost: "subprocess.Popen[bytes]",
        storage: Server,
        urls: list[str],
    ) -> Findings:
        options = Options(fiso_timeout_s=1.0, retry_s=1.0)
        clients = {name: stack.enter_context(Client(urls, options=options)) for name in CALLERS}
        with self.callers.asking({name: (client, _asks(name)) for name, client in clients.items()}):
            time.sleep(self.before_s)
            lost_at = time.monotonic()
            lost.kill()
            _lose(machine)
            self.say(f"AWS is away, for {self.outage_s:g} s")
            change = self._change(machine)
            time.sleep(max(0.0, lost_at + self.outage_s - time.monotonic()))
            back_at = time.monotonic()
            self.say("AWS returns, with what it held")
            machine.options = replace(machine.options, access_key=machine.cloud.access_key_file)
            machine.boot()
            time.sleep(self.before_s / 2)
        awaited(lambda: all(client.flush() for client in clients.values()))
        door.send_signal(signal.SIGTERM)
        was_clean = door.wait(60) == 0
        merged_s = self._merge(machine)
        versions = (machine.stage.publish(), _version_at(storage))
        return Findings(
            samples=tuple(self.callers.samples),
            lost_at=lost_at,
            detected_at=self._detected_at(lost_at, back_at),
            back_at=back_at,
            executions=Counter((self.folder / "executions").read_text(encoding="ascii").split()),
            logged=_logged(machine),
            reported=sum(client.tally.accepted for client in clients.values()),
            merged_s=merged_s,
            change=change,
            served_version=versions,
            was_clean=was_clean,
        )

    def _detected_at(self, lost_at: float, back_at: float) -> float:
        """When each of the callers had been answered for the first time after the loss, the last of them."""
        after = [one for one in self.callers.samples if one.began > lost_at and one.is_answered]
        firsts = [min((one.ended for one in after if one.caller == name), default=back_at) for name in CALLERS]
        return max(firsts)

    def _change(self, machine: Machine) -> str:
        """A change of the catalog while its database is away with AWS."""
        declared = self.folder / "fiso.yaml"
        changed = self.folder / "changed.yaml"
        changed.write_text(declared.read_text(encoding="utf-8").replace("max_attempts: 3", "max_attempts: 2"))
        try:
            return f"kept: {machine.apply(changed)}"
        except CommandError as error:
            return f"refused: {str(error).splitlines()[0][:120]}"

    def _merge(self, machine: Machine) -> float | None:
        """Rounds of the keeper until one finds nothing more; how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < max(MERGING_S, self.outage_s):
            done = machine.stage.invoke("keeper", {}, within_s=60)
            if done.get("merged") == 0 and done.get("problems") is None:
                return time.monotonic() - began
        return None


def _asks(name: str) -> Ask:
    """How a caller asks: by lease, or through FISO."""
    function, by_lease = CALLERS[name]

    def ask(client: Client, request: Request) -> Answer:
        if by_lease:
            return client.call(function, request, timeout_s=5)
        return client.invoke(function, request, timeout_s=5, may_repeat=function == READS)

    return ask


@contextmanager
def _storage() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _aws(folder: Path, declared: Path, storage: Server) -> Iterator[Machine]:
    """A local cloud with the stage, its catalog, and the door's mirror."""
    port = ports.free_base(LocalCloud.from_environ().base_port)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_"))}
    own |= {"FISO_LOCAL_DIR": str(folder), "FISO_LOCAL_PORT": str(port)}
    machine = Machine.from_environ(own, Parts(has_distance=False))
    try:
        machine.boot()
        machine.deploy(FISO_MIRRORS=f"{storage.url}/mirror")
        machine.apply(declared)
        yield machine
    finally:
        machine.shut_down()


def _lose(machine: Machine) -> None:
    """Kill its parent, so that nothing is started again, and what runs functions; the kernel stops the rest."""
    if machine.lease is None:
        raise CommandError("the local cloud does not run")
    running = Record.read(machine.cloud.state).running
    machine.lease.process.kill()
    for name in KILLED:
        with suppress(ProcessLookupError):
            os.kill(running[name].pid, signal.SIGKILL)
    machine.lease.process.wait()


@contextmanager
def _door(machine: Machine, port: int, storage: Server, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The server, with what a container on another cloud is given: no address and no credential of AWS."""
    trusted = {
        name: signature.text_of(keys.ensured(keys.local_file(machine.cloud, signed)).public.modulus)
        for name, signed in (("FISO_CATALOG_KEYS", "catalog"), ("FISO_MODEL_KEYS", "models"))
    }
    secret = machine.stage.client("ssm").get_parameter(Name=f"/fiso/{STAGE}/lease-keys", WithDecryption=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_"))}
    environ = kept | trusted | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PORT": str(port),
        "FISO_STAGE": STAGE,
        "FISO_ALLOW_LOOPBACK": "1",
        "FISO_SERVE_HOST": HOST,
        "FISO_SERVE_WORKERS": "2",
        "FISO_SERVE_LAME_S": "0",
        "FISO_MIRROR": f"{storage.url}/mirror",
        "FISO_LEASE_KEYS": str(secret["Parameter"]["Value"]),
        "FISO_MODEL_DIR": str(MODELS),
        "IDENTITY_ENDPOINT": f"{storage.url}/token",
        "IDENTITY_HEADER": "local",
    }  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "functions.server"], env=environ, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _version_at(storage: Server) -> int:
    """The newest catalog that the mirror holds."""
    names = [name for owner, name in storage.objects.stored if owner == "mirror" and name.startswith("policies/")]
    numbers = [name.removeprefix("policies/").removesuffix(".json") for name in names]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _logged(machine: Machine) -> frozenset[str]:
    """The closed records that the log's table holds."""
    client, found = machine.stage.client("dynamodb"), set[str]()
    pages = client.get_paginator("scan").paginate(
        TableName=machine.stage.log_table, ProjectionExpression="invocation_id"
    )
    with machine.stage.wrapped_errors():
        for page in pages:
            found |= {str(item["invocation_id"]["S"]) for item in page["Items"]}
    return frozenset(found)
