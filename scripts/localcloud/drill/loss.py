"""The loss of a region, drilled: two whole regions with one catalog, traffic through FISO and by lease, and then the
first region's processes are killed. What went on, what was lost, and for how long.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fiso.domain.endpoint import FunctionName
from fiso.domain.lease import LIFETIME
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import HOST
from fiso_client import Answer, Client, Options, Request
from localcloud.demo.machine import Machine
from localcloud.drill.regions import Regions, running
from localcloud.drill.traffic import Callers, Sample, awaited, copies, free_ports, is_ready

FUNCTION = FunctionName("orders")
REPORTING_S = 60.0
CATALOG = """version: 1
functions:
  orders:  # must not run twice: a copy that is lost with the first region, and two that are not
    type: text
    endpoints:
      - {{id: gcp-lost, provider: gcp, region: us-east1, memory_mb: 512, address: "{first}/gcp-lost"}}
      - {{id: gcp, provider: gcp, region: us-east4, memory_mb: 512, address: "{others}/gcp"}}
      - {{id: azure, provider: azure, region: eastus, memory_mb: 512, address: "{others}/azure"}}
    policy: {{lease_outage_s: {outage_s}, max_attempts: 3}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the drill came to. Times in seconds; `published` is the catalog's version, `restored` the one that the
    second region's own database then has."""

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
    published: int
    restored: int

    @property
    def doubles(self) -> int:
        return sum(times > 1 for times in self.executions.values())

    def of(self, caller: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.caller == caller]


@dataclass(kw_only=True)
class Drill:
    """One drill in a folder of its own. `before_s` is how long all is well; a client that knows the first region alone
    may go on for `outage_s` by its last lease."""

    folder: Path
    before_s: float
    outage_s: int
    say: Callable[[str], None] = lambda _: None
    callers: Callers = field(default_factory=Callers)

    def run(self) -> Findings:
        executions = self.folder / "executions"
        executions.touch()
        first_port, others_port = free_ports(2)
        catalog = CATALOG.format(
            first=f"http://{HOST}:{first_port}", others=f"http://{HOST}:{others_port}", outage_s=self.outage_s
        )
        with ExitStack() as stack:
            firsts = stack.enter_context(copies(first_port, executions))
            stack.enter_context(copies(others_port, executions))
            self.say("two local clouds start, with a stage each: a minute or two")
            regions = stack.enter_context(running(self.folder, catalog))
            urls = [machine.stage.api_url for machine in (regions.first, regions.second)]
            was_ready = all(awaited(lambda url=url: is_ready(url)) for url in urls)  # type: ignore[misc]
            self.say("two regions serve, from one catalog")
            return self._with_traffic(stack, regions, firsts, urls, was_ready)

    def _with_traffic(
        self,
        stack: ExitStack,
        regions: Regions,
        firsts: "subprocess.Popen[bytes]",
        urls: list[str],
        was_ready: bool,
    ) -> Findings:
        known = {"through": urls, "leased": urls, "cut off": urls[:1]}
        options = Options(fiso_timeout_s=2.0, retry_s=2.0)
        clients = {name: stack.enter_context(Client(each, options=options)) for name, each in known.items()}
        asking = {name: (client, _through if name == "through" else _leased) for name, client in clients.items()}
        with self.callers.asking(asking):
            time.sleep(self.before_s)
            lost_at = time.monotonic()
            firsts.kill()
            regions.lose_first()
            self.say("the first region is lost")
            time.sleep(LIFETIME.total_seconds() + self.outage_s + 1.0)
        kept, restored = regions.copied(), _restored(regions.second)
        self.say("the first region returns")
        regions.bring_first_back()
        ends_at = time.monotonic() + REPORTING_S
        while not all(client.flush() for client in clients.values()) and time.monotonic() < ends_at:
            time.sleep(1)
        told = [client.tally for client in clients.values()]
        reported = sum(each.accepted + each.repeated for each in told)  # repeated: its answer was lost
        return self._findings(regions, kept, restored, lost_at, reported, was_ready)

    def _findings(
        self, regions: Regions, kept: set[str], restored: int, lost_at: float, reported: int, was_ready: bool
    ) -> Findings:
        samples = tuple(self.callers.samples)
        before = [one for one in samples if one.invocation_id and one.ended <= lost_at]
        missing = [one for one in before if one.invocation_id not in kept]
        after = [one for one in samples if one.caller == "through" and one.began >= lost_at and one.is_answered]
        cut_off = [one for one in samples if one.caller == "cut off" and one.began >= lost_at]
        last = max((one.ended for one in cut_off if one.is_answered), default=lost_at)
        published = regions.second.stage.publish()
        return Findings(
            samples=samples,
            lost_at=lost_at,
            rpo_s=max((lost_at - one.ended for one in missing), default=0.0),
            left=len(before) - len(missing),
            answered=len(before),
            rto_s=min((one.ended - lost_at for one in after), default=None),
            executions=Counter((self.folder / "executions").read_text(encoding="ascii").split()),
            declared_s=self.outage_s,
            went_on_s=last - lost_at,
            ended_in_no_lease=any("no lease" in one.problem for one in cut_off if one.began > last),
            reported=reported,
            same_catalog=regions.have_same(f"policies/{published}.json"),
            same_model=regions.have_same_model(),
            was_ready=was_ready,
            published=published,
            restored=restored,
        )


def _through(client: Client, request: Request) -> Answer:
    return client.invoke(FUNCTION, request, timeout_s=10)


def _leased(client: Client, request: Request) -> Answer:
    return client.call(FUNCTION, request, timeout_s=10)


def _restored(machine: Machine) -> int:
    """What `fiso restore` makes of the standby's own, empty database."""
    environ = os.environ | {"FISO_LOCAL_DIR": str(machine.cloud.state), "FISO_LOCAL_PORT": str(machine.cloud.base_port)}
    command = [str(Path(sys.executable).with_name("fiso")), "restore", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"fiso restore: {(done.stdout + done.stderr).strip()[-300:]}")
    return int(json.loads(done.stdout)["version"])
