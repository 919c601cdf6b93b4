"""`python -m tests.lab rollback`: a new version under traffic, and both ways back: the alias, and the deployment."""

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fiso_cli.counting import Counts
from fiso_cli.errors import FAILED
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import LIVE, Stage
from fiso_cli.traffic.gateway import Gateway
from localcloud import ports
from localcloud.demo import plan
from localcloud.demo.findings import Check
from localcloud.layout import LocalCloud
from tests.lab.upgrade.commands import POLICIES, SETTLED_S, Checkout
from tests.lab.upgrade.traffic import Traffic

SETTING = "FISO_QUOTAS"
"""What differs between the two versions: a setting that refuses nobody here."""
FIRST, SECOND = "5000/10000", "6000/12000"


class Versions:
    """One stage whose orchestrator has two versions; `checks` is what was found."""

    def __init__(self, here: Checkout) -> None:
        self.here, self.checks = here, list[Check]()
        self._cloud, self._stage = LocalCloud.from_environ(here.environ), Stage.named("local", here.environ)
        self._began_at = datetime.now(UTC)
        self._orchestrator = self._stage.function_name("orchestrator")

    def run(self) -> None:
        """In the order in which an operator would do it."""
        self.here.fiso("local", "up", "--no-distance")
        self._deploy(FIRST)
        self.here.fiso("lease-key")
        self.here.fiso("apply", "-f", str(POLICIES), "--yes")
        traffic = Traffic(gateway=Gateway(url=self._stage.api_url), beside=self._invoke)
        first, deployed_at = self._live(), self._deployments()[-1]
        with self._phase(traffic, "a new version"):
            self._deploy(SECOND)
        second = self._live()
        self._check("the alias moved to the new version", first != second, f"{first} to {second}")
        with self._phase(traffic, "the alias back"):
            self._move(first)
        self._check("what is live is what was", self._setting() == FIRST, self._setting())
        with self._phase(traffic, "the alias forward"):
            self._move(second)
        with self._phase(traffic, "serverless rollback"):
            self._serverless("rollback", "--timestamp", deployed_at)
        self._check("what is live is what was deployed first", self._setting() == FIRST, self._setting())
        records = traffic.records()
        missing = [id for id, record in records.items() if not record]
        seen = "; ".join([f"{len(missing)} of {len(records)} are not there", *map(self._told_of, missing[:3])])
        self._check("each answer has its record, and each is readable", not missing, seen)
        self._check("what was logged is folded, once", *self._folded())

    @contextmanager
    def _phase(self, traffic: Traffic, name: str) -> Iterator[None]:
        with traffic.during(name, then_s=SETTLED_S):
            yield
        wrong = traffic.problems[name]
        self._check(
            f"no request failed: {name}", not wrong, "; ".join([f"{len(wrong)} of {traffic.sent[name]}", *wrong[:3]])
        )

    def _deploy(self, quotas: str) -> None:
        Checkout(root=self.here.root, environ={**self.here.environ, SETTING: quotas}).deploy()

    def _deployments(self) -> list[str]:
        """The deployments that the stage's bucket has, oldest first."""
        told = self._serverless("deploy", "list")
        return sorted(re.findall(r"Timestamp: (\d+)", told))

    def _serverless(self, *words: str) -> str:
        variables = self._cloud.aws_environment()
        return self.here.run("node_modules/.bin/serverless", *words, "--stage", "local", **variables)

    def _live(self) -> str:
        found = self._stage.client("lambda").get_alias(FunctionName=self._orchestrator, Name=LIVE)
        return str(found["FunctionVersion"])

    def _setting(self) -> str:
        found = self._stage.client("lambda").get_function_configuration(FunctionName=self._orchestrator, Qualifier=LIVE)
        return str(found["Environment"]["Variables"][SETTING])

    def _move(self, version: str) -> None:
        self._stage.client("lambda").update_alias(FunctionName=self._orchestrator, Name=LIVE, FunctionVersion=version)

    def _invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        host = self._stage.session.client("lambda", endpoint_url=self._cloud.lambda_host_url)
        answer = host.invoke(FunctionName=self._orchestrator, Qualifier=LIVE, Payload=json.dumps(event))
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        return document

    def _told_of(self, id: str) -> str:
        """What the log says of a record that is missing: how it was spilled, and whether with a mark."""
        found = self._stage.client("logs").filter_log_events(logGroupName="/fiso/local/api", filterPattern=f'"{id}"')
        return f"{id}: " + " | ".join(event["message"][:160] for event in found["events"])

    def _folded(self) -> tuple[bool, str]:
        counts, ends_at = Counts(stage=self._stage, functions=plan.functions()), time.monotonic() + 60
        while (
            (seen := (counts.logged_since(self._began_at), counts.folded()))
            and seen[0] != seen[1]
            and time.monotonic() < ends_at
        ):
            time.sleep(1)
        return seen[0] == seen[1], f"{seen[0]} logged, {seen[1]} folded"

    def _check(self, claim: str, held: bool, seen: str) -> None:
        self.checks.append(Check(claim=claim, held=held, seen=seen))
        remark(str(self.checks[-1]), is_bad=not held)


def rollback() -> Output:
    """A new version under traffic, and both ways back. Exits 1 if anything did not hold.

    \\b
    python -m tests.lab rollback
    """
    with tempfile.TemporaryDirectory(prefix="fiso-rollback-") as folder:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_", "PYTHON"))}
        port = ports.free_base(LocalCloud.from_environ(own).base_port)
        environ = own | {"FISO_LOCAL_DIR": f"{folder}/state", "FISO_LOCAL_PORT": str(port), "NO_COLOR": "1"}
        run = Versions(Checkout(root=CHECKOUT, environ=environ))
        try:
            run.run()
        finally:
            run.here.fiso("local", "down")
    rows = [{"claim": check.claim, "held": check.held, "seen": check.seen} for check in run.checks]
    return Output(document=rows, shown=[], exit_code=0 if all(check.held for check in run.checks) else FAILED)
