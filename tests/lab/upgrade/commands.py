"""`python -m tests.lab upgrade`: founds a stage with an earlier commit, updates it under traffic, and goes back.

The earlier commit has a checkout, tools, local cloud and packages of its own. What outlives an update is read by both:
records, archive, states, policies, leases, idempotency keys, breakers.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fiso.testing.rig import http_event
from fiso_cli import keeper_database
from fiso_cli.counting import Counts
from fiso_cli.errors import FAILED, CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import Stage
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.training import keys
from localcloud import faults, ports
from localcloud.demo import plan
from localcloud.demo.findings import Check
from localcloud.layout import LocalCloud
from tests.lab.upgrade.traffic import TRIES, WORDS, Traffic

BEFORE = "a78573b"
"""The last commit before the files moved: what it wrote is what stages hold that stand since then."""
POLICIES = Path(__file__).with_name("stage.yaml")
SETTLED_S = 12.0
"""No execution environment decides for longer by what it has read."""
THIN = 3
"""What `fiso what-if` exits with when the log is there, and says too little."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """One commit's files and tools, at work on the local cloud that `environ` names."""

    root: Path
    environ: Mapping[str, str]

    def run(self, program: str, *words: str, **environ: str) -> str:
        """What a command prints; `CommandError` with the end of its complaints."""
        command = [str(self.root / program) if "/" in program else program, *words]
        done = subprocess.run(command, cwd=self.root, env={**self.environ, **environ}, capture_output=True, text=True)
        if done.returncode not in (0, THIN):
            raise CommandError(f"{program} {' '.join(words)}: {(done.stdout + done.stderr)[-2000:].strip()}")
        return done.stdout

    def fiso(self, *words: str) -> str:
        """This commit's own command."""
        return self.run(".venv/bin/fiso", *words)

    def policies(self, *functions: str) -> dict[str, Any]:
        """Functions as this commit reads them from the database, all by default."""
        found = {name: self.fiso("policy", "show", name, "--json") for name in functions or plan.functions()}
        return {name: {**json.loads(text), "catalog_version": None} for name, text in found.items()}

    def deploy(self) -> None:
        """Its packages and template."""
        cloud = LocalCloud.from_environ(self.environ)
        variables = cloud.aws_environment() | keys.local_variables(cloud)
        stage = Stage.named("local", self.environ)
        # the code of before knows the first name alone, and has no signed catalogs
        variables |= {
            "FISO_DATABASE_URL": cloud.database_url,
            "FISO_KEEPER_DATABASE_URL": keeper_database.ensured(stage),
        }
        variables |= {"FISO_ACCEPT_OLDER_FORMS": "1", "FISO_LOG_INDEXES": "both"}
        self.run("node_modules/.bin/serverless", "deploy", "--stage", "local", **variables)


@dataclass(kw_only=True)
class Upgrade:
    """One run; `checks` is what it found."""

    old: Checkout
    new: Checkout
    checks: list[Check] = field(default_factory=list)
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self) -> None:
        """In the order in which an operator would do it."""
        self._cloud, self._stage = LocalCloud.from_environ(self.new.environ), Stage.named("local", self.new.environ)
        self._found()
        self._traffic = traffic = Traffic(
            gateway=Gateway(url=self._stage.api_url), beside=lambda event: self._invoke("before", event)
        )
        with traffic.during("before", then_s=20):
            pass
        records, calls, policies = traffic.records(), self._calls(), self.old.policies()
        leases = [traffic.ask("/v1/decide/word-count", {}) for _ in range(5)]
        with traffic.during("update", then_s=SETTLED_S):
            self.new.deploy()
        self._compare("records of before", records, traffic.records())
        self._compare("policies of before", policies, self.new.policies())
        now, accepted = self._calls(), [traffic.ask("/v1/outcomes", _report(lease))["accepted"] for lease in leases]
        self._check("no count of calls fell", all(now[name] >= calls[name] for name in calls), f"{len(calls)} states")
        self._check("leases of before are reported", accepted == [1] * len(leases), f"{sum(accepted)} outcomes")
        with traffic.during("back", then_s=SETTLED_S):
            self.old.deploy()
        with traffic.during("update again, write the catalog", then_s=SETTLED_S):
            self.new.deploy()
            self._write_catalog()
        rows = json.loads(self.new.fiso("retrain", "--json"))["rows"]
        self._check("the retrainer reads the archive", rows >= len(records), f"{rows} rows")
        found = json.loads(self.new.fiso("what-if", "--policy", str(POLICIES), "--json"))
        self._check("what-if reads the archive", not found["not_in_log"], f"{len(found['functions'])} functions")
        self._share_breakers()
        records = traffic.records()
        with traffic.during("back with a written catalog", then_s=SETTLED_S):
            self.old.deploy()
        # the code of before leaves out what it does not know, and must show the rest as it is
        shown = traffic.records()
        self._compare("records of after, by the code of before", {id: shown[id] for id in records}, records)
        self._conclude()

    def _found(self) -> None:
        self.old.fiso("local", "up", "--no-distance")
        self.old.deploy()
        self.old.fiso("lease-key")
        self.old.fiso("apply", "-f", str(POLICIES), "--yes")
        self.old.fiso("policy", "pin", "word-count", "gcp-euw1")
        aws = self._stage.client("lambda")
        found = aws.get_function_configuration(FunctionName=self._stage.function_name("orchestrator"))
        aws.create_function(
            FunctionName=self._stage.function_name("before"),
            Code={"ZipFile": (self.old.root / "build" / "local" / "orchestrator.zip").read_bytes()},
            Environment={"Variables": found["Environment"]["Variables"]},
            Layers=[layer["Arn"] for layer in found["Layers"]],
            LoggingConfig={"LogGroup": "/fiso/local/api"},  # as every version of the orchestrator: the keeper reads it
            **{key: found[key] for key in ("Runtime", "Role", "Handler", "Timeout", "MemorySize")},
        )

    def _write_catalog(self) -> None:
        changed, others = self._cloud.state / "changed.yaml", ("compress", "pixels")
        changed.write_text(POLICIES.read_text().replace("cost: 0.6", "cost: 0.5"))
        before = self.new.policies(*others)
        self.new.fiso("apply", "-f", str(changed), "--yes", "--lift-pins")
        self._compare("policies that the first write leaves alone", before, self.new.policies(*others))
        self.new.fiso("policy", "pin", "compress", "aws-euw1", "--reason", "an update", "--for", "1h")
        self.new.fiso("policy", "unpin", "compress")

    def _share_breakers(self) -> None:
        """A pin leads one code's orchestrator into a dead cloud; the other's, which calls another one, must hear."""
        self.new.fiso("policy", "pin", "word-count", "gcp-euw1")
        pairs = (("orchestrator", "before", "azure-eastus"), ("before", "orchestrator", "aws-use1"))
        for teller, hearer, endpoint in pairs:
            self.new.fiso("policy", "pin", "graph-bfs", endpoint)
            faults.kill(self._cloud, endpoint.partition("-")[0])
            for _ in range(TRIES):
                for _ in range(12):
                    self._invoke(teller, http_event(path="/v1/invoke/graph-bfs"))
                self._invoke(hearer, http_event(body=WORDS.body, content_type=WORDS.content_type))
                answer = json.loads(self._invoke(hearer, http_event(method="GET", path="/v1/endpoints"))["body"])
                rows = {(row["function"], row["endpoint"]): row["breaker"] for row in answer["endpoints"]}
                if (seen := rows["graph-bfs", endpoint]) != "closed":
                    break
                time.sleep(2)  # so old may be what an environment heard of others
            self._check(f"`{hearer}` hears of a breaker from `{teller}`", seen != "closed", seen)
            faults.heal(self._cloud, endpoint.partition("-")[0])
        for function in ("graph-bfs", "word-count"):
            self.new.fiso("policy", "unpin", function)

    def _conclude(self) -> None:
        traffic, ends_at = self._traffic, time.monotonic() + 60
        missing = sum(record is None for record in traffic.records().values())
        self._check("each answer has its record", not missing, f"{missing} of {len(traffic.known)} are not there")
        counts = Counts(stage=self._stage, functions=plan.functions())
        while counts.logged_since(self.began_at) != counts.folded() and time.monotonic() < ends_at:
            time.sleep(1)
        logged, folded = counts.logged_since(self.began_at), counts.folded()
        self._check("what was logged is folded, once", logged == folded, f"{logged} logged, {folded} folded")
        for phase, wrong in traffic.problems.items():
            seen = "; ".join([f"{len(wrong)} of {traffic.sent[phase]}", *wrong[:3]])
            self._check(f"no request failed: {phase}", not wrong, seen)
        remark("; ".join(f"{name}: {number}" for name, number in traffic.notes.items()))

    def _invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        host = self._stage.session.client("lambda", endpoint_url=self._cloud.lambda_host_url)
        answer = host.invoke(FunctionName=self._stage.function_name(function), Payload=json.dumps(event))
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        return document

    def _calls(self) -> dict[str, int]:
        rows = self._traffic.ask("/v1/endpoints")["endpoints"]
        return {f"{row['function']} {row['endpoint']}": row.get("attempts", 0) for row in rows}

    def _compare(self, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        differ = [f"{one} became {now.get(name)}" for name, one in before.items() if not _holds(one, now.get(name))]
        seen = "; ".join([f"{len(differ)} of {len(before)} differ", *differ[:1]])
        self._check(f"read as they were: {what}", not differ, seen)

    def _check(self, claim: str, held: bool, seen: str) -> None:
        self.checks.append(Check(claim=claim, held=held, seen=seen))
        remark(str(self.checks[-1]), is_bad=not held)


def _holds(before: object, now: object) -> bool:
    """Whether nothing of it is gone or another; keys may have come."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and _holds(part, now[name]) for name, part in before.items())
    if isinstance(before, list) and isinstance(now, list):  # of parts of a record, or of the fields of one
        return len(before) <= len(now) and all(map(_holds, before, now))
    return before == now


def _report(lease: Mapping[str, Any]) -> dict[str, Any]:
    attempt = {"endpoint": lease["endpoints"][0]["id"], "after_ms": 1, "latency_ms": 20.0, "status": 200}
    outcome = {"number": 0, "request_size_bytes": 11, "response_size_bytes": 40, "attempts": [attempt]}
    return {"leases": [{"token": lease["token"], "outcomes": [outcome]}]}


def upgrade(
    commit: Annotated[str, typer.Option("--from", help="The commit that founds the stage.")] = BEFORE,
) -> Output:
    """Update an earlier commit's stage in place under traffic, and go back. Exits 1 if anything did not hold.

    \b
    python -m tests.lab upgrade --from a78573b
    """
    with tempfile.TemporaryDirectory(prefix="fiso-upgrade-") as folder:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_", "PYTHON"))}
        port = ports.free_base(LocalCloud.from_environ(own).base_port)
        environ = own | {"FISO_LOCAL_DIR": f"{folder}/state", "FISO_LOCAL_PORT": str(port), "NO_COLOR": "1"}
        new, old = (Checkout(root=root, environ=environ) for root in (CHECKOUT, Path(folder) / "before"))
        new.run("git", "worktree", "add", "--detach", str(old.root), commit)
        run = Upgrade(old=old, new=new)
        try:
            old.run("make", "setup")
            run.run()
        finally:
            old.fiso("local", "down")
            new.run("git", "worktree", "remove", "--force", str(old.root))
    rows = [{"claim": check.claim, "held": check.held, "seen": check.seen} for check in run.checks]
    return Output(document=rows, shown=[], exit_code=0 if all(check.held for check in run.checks) else FAILED)
