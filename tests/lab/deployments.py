"""`python -m tests.lab deployments`: first deployments that fail half-way and then succeed, a stage that is removed and
comes back, one beside another, and one in two regions, on the emulator's CloudFormation with the packaged template.

As osls does it: a stack with the deployment's bucket alone, then everything else by an update. Functions' code is a
stub, and none runs. That `RetainExceptOnCreate` deletes what the failed operation made is AWS's rule ("DeletionPolicy
attribute"), which the emulator follows; AWS itself was not asked.
"""

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fiso_cli.errors import FAILED
from fiso_cli.local_stage import ACCOUNT
from fiso_cli.packaging.template import TEMPLATE, make_template, serverless_package
from fiso_cli.rendering import Output, remark
from fiso_cli.setup import adopt
from localcloud.demo.findings import Check
from tests.emulator import clients, running_emulator
from tests.set_up import set_up

Clients = Callable[[str], Any]
CODE = "code"
WITHIN_S = 120.0
AWAY = "eu-west-1"
UNKNOWN = ("AWS::CloudWatch::CompositeAlarm", "AWS::CodeDeploy::")
"""Kinds of resources that the emulator has not, and that are left out."""
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


@dataclass(kw_only=True)
class Stage:
    """One stage's stack; `folder` holds what was packaged, the bucket `code` what functions run."""

    name: str
    folder: Path
    aws: Clients
    code: str = CODE

    @property
    def stack(self) -> str:
        return f"fiso-{self.name}"

    def template(self) -> dict[str, Any]:
        """Whole, with code that is there."""
        found: dict[str, Any] = json.loads((self.folder / TEMPLATE).read_text())
        every = found["Resources"].items()
        found["Resources"] = {name: each for name, each in every if not each["Type"].startswith(UNKNOWN)}
        for each in found["Resources"].values():
            each.pop("UpdatePolicy", None)
            place = each.get("Properties", {}).get("Code") or each.get("Properties", {}).get("Content")
            if isinstance(place, dict):
                place["S3Bucket"] = self.code
                self.aws("s3").put_object(Bucket=self.code, Key=place["S3Key"], Body=_code())
        return found

    def deploy(self, template: Mapping[str, Any] | None = None) -> str:
        """The stack's status in the end; begun anew where there is none."""
        if self.status() is None:
            begun = self.folder / "serverless" / "cloudformation-template-create-stack.json"
            self._act("create_stack", json.loads(begun.read_text()))
        return self._act("update_stack", template or self.template())

    def remove(self) -> None:
        self.aws("cloudformation").delete_stack(StackName=self.stack)
        self._settled()

    def status(self) -> str | None:
        for each in self.aws("cloudformation").describe_stacks()["Stacks"]:
            if each["StackName"] == self.stack and each["StackStatus"] != "DELETE_COMPLETE":
                return str(each["StackStatus"])
        return None

    def made(self) -> set[str]:
        """What the newest operation made, before it ended as it did."""
        made = set[str]()
        pages = self.aws("cloudformation").get_paginator("describe_stack_events").paginate(StackName=self.stack)
        for each in (event for page in pages for event in page["StackEvents"]):
            if (each["LogicalResourceId"], each["ResourceStatus"]) == (self.stack, "UPDATE_IN_PROGRESS"):
                break
            if each["ResourceStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):  # the emulator's word is the second
                made.add(each["LogicalResourceId"])
        return made

    def there(self) -> set[str]:
        """What of the stage exists, whoever made it: the kinds whose names are fixed."""
        tables = self.aws("dynamodb").list_tables()["TableNames"]
        buckets = [each["Name"] for each in self.aws("s3").list_buckets()["Buckets"]]
        roles = [each["RoleName"] for each in self.aws("iam").list_roles()["Roles"]]
        groups = [each["logGroupName"] for each in self.aws("logs").describe_log_groups()["logGroups"]]
        functions = [each["FunctionName"] for each in self.aws("lambda").list_functions()["Functions"]]
        own = [f"-{self.name}-", f"-{self.name}", f"/{self.name}/"]
        prod = [
            group for group in groups if self.name == "prod" and group.startswith("/fiso/") and group.count("/") == 2
        ]
        found = [*tables, *buckets, *roles, *groups, *functions]
        return {each for each in found if own[0] in each or each.endswith(own[1]) or own[2] in each} | set(prod)

    def _act(self, verb: str, template: Mapping[str, Any]) -> str:
        self.aws("s3").put_object(Bucket=self.code, Key=f"{self.name}.json", Body=json.dumps(template))
        url = f"{self.aws('s3').meta.endpoint_url}/{self.code}/{self.name}.json"
        act = getattr(self.aws("cloudformation"), verb)
        act(StackName=self.stack, TemplateURL=url, Capabilities=["CAPABILITY_NAMED_IAM"])
        return self._settled()

    def _settled(self) -> str:
        ends_at = time.monotonic() + WITHIN_S
        while (status := self.status() or "") and status.endswith("PROGRESS"):
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{self.stack} is still {status}")
            time.sleep(0.02)
        return status


def _code() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "def lambda_handler(event, context): return None\n")
    return packed.getvalue()


PLACES = (
    "OrchestratorRole",
    "ApiLogs",
    "InvocationLog",
    "Artifacts",
    "KeeperLambdaFunction",
    "HighLatencyAlarm",
)
"""After which a first deployment fails, each time with a stage that has nothing yet."""


@dataclass(kw_only=True)
class Run:
    """`prod` and `dev` are two stages of an account, `away` is `prod` in another region; `checks` is what was found."""

    prod: Stage
    dev: Stage
    away: Stage
    checks: list[Check] = field(default_factory=list)

    def run(self, places: tuple[str, ...] = PLACES) -> list[Check]:
        self._without_setup()
        set_up("prod", self.prod.aws)
        for place in places:
            self.fails_after(place, self.prod.template())
        self._check("then it succeeds", self.prod.deploy() in DONE)
        there = self.prod.there()
        self._removed(there)
        self._beside()
        self._elsewhere()
        return self.checks

    def _without_setup(self) -> None:
        before = self.prod.there()
        try:
            seen = self.prod.deploy()
        except ClientError as error:
            seen = str(error)
        self._check(
            "without setup nothing of it is made", "/fiso/prod/" in seen and _left(self.prod, before) == set(), seen
        )

    def fails_after(self, place: str, template: dict[str, Any]) -> None:
        """A resource of a kind that cannot be made; what does not wait for it is made or not, as it comes."""
        before = self.prod.there()
        nobody = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:nobody"
        fails = {"Type": "Custom::Fails", "Properties": {"ServiceToken": nobody}, "DependsOn": [place]}
        template["Resources"]["Fails"] = fails
        status, left, made = self.prod.deploy(template), _left(self.prod, before), self.prod.made()
        seen = f"{status}, {len(made)} made, left: {', '.join(sorted(left)) or 'nothing'}"
        is_gone = status == "UPDATE_ROLLBACK_COMPLETE" and place in made and not left
        self._check(f"fails after {place}: what was made is gone", is_gone, seen)

    def _removed(self, there: set[str]) -> None:
        """The stack is deleted; what it kept is in the way of another, and adopted."""
        mark = {"invocation_id": {"S": "kept"}, "timestamp": {"S": "2026-11-30"}}
        self.prod.aws("dynamodb").put_item(TableName="fiso-invocation-logs-prod", Item=mark)
        self.prod.remove()
        kept = self.prod.there()
        logs = {"/fiso/api", "/fiso/console", "/fiso/invocation-logs", "/fiso/spilled"}
        wanted = {"fiso-invocation-logs-prod", f"fiso-artifacts-prod-{ACCOUNT}", *logs}
        self._check("removed: records, models and logs stay", kept == wanted, ", ".join(sorted(kept)))
        over = self.prod.deploy()
        self._check(
            "deployed over them it fails, and they stay", over not in DONE and wanted <= self.prod.there(), over
        )
        body = adopt.template(self.prod.folder, ACCOUNT)
        adopted = adopt.adopted(self.prod.aws, self.prod.stack, body)
        self._check("adopted", len(adopted) == len(wanted), ", ".join(adopted))
        self._check("then deployed", self.prod.deploy() in DONE)
        now = {_nameless(each) for each in self.prod.there()}
        self._check("and whole again", now == {_nameless(each) for each in there})
        table = self.prod.aws("dynamodb").get_item(TableName="fiso-invocation-logs-prod", Key=mark)
        self._check("with the records of before", "Item" in table)

    def _beside(self) -> None:
        before = self.prod.there()
        set_up("dev", self.dev.aws)
        self._check("a second stage is deployed", self.dev.deploy() in DONE)
        self._check("the first is as it was", self.prod.there() == before)
        self.dev.remove()
        self._check("and when the second is removed", self.prod.there() == before and self.prod.status() in DONE)

    def _elsewhere(self) -> None:
        """Roles and the bucket are the account's, whichever region asks; all else is the region's own."""
        before = self.prod.there()
        set_up("prod", self.away.aws)
        ended = self.away.deploy()
        self._check("a second region of the stage is deployed", ended in DONE, ended)
        more = {each for each in self.prod.there() - before if "serverlessdeploymentbucket" not in each}
        named = bool(more) and all(each.endswith(AWAY) for each in more)
        self._check("the first is as it was, and shares no name with it", named and before <= self.prod.there())
        self.away.remove()
        left = {each for each in self.prod.there() - before if "serverlessdeploymentbucket" not in each}
        bucket = f"fiso-artifacts-prod-{ACCOUNT}-{AWAY}"
        self._check("and when that is removed", left == {bucket} and self.prod.status() in DONE, ", ".join(left))

    def _check(self, claim: str, held: bool, seen: str = "") -> None:
        remark(f"{'held' if held else 'NOT HELD'}: {claim}" + (f" ({seen})" if seen else ""), is_bad=not held)
        self.checks.append(Check(claim=claim, held=held, seen=seen))


def _left(stage: Stage, before: set[str]) -> set[str]:
    """But the deployment's own bucket, which the next try takes."""
    return {each for each in stage.there() - before if "serverlessdeploymentbucket" not in each}


def _nameless(name: str) -> str:
    return name.partition("serverlessdeploymentbucket")[0]


@contextmanager
def account(home: Path) -> Iterator[Run]:
    """An empty account, and the packages of two stages, one of them for two regions."""
    folders = {stage: make_template(stage).parent for stage in ("prod", "dev")}
    elsewhere = home / "elsewhere"
    packaged = serverless_package("prod", elsewhere / "serverless", region=AWAY)
    (elsewhere / TEMPLATE).write_bytes(packaged.read_bytes())
    with running_emulator(home) as url, clients(url) as aws, clients(url, AWAY) as away:
        aws("s3").create_bucket(Bucket=CODE)
        placed = {"LocationConstraint": AWAY}
        away("s3").create_bucket(Bucket=f"{CODE}-{AWAY}", CreateBucketConfiguration=placed)
        prod, dev = (Stage(name=name, folder=folder, aws=aws) for name, folder in folders.items())
        yield Run(prod=prod, dev=dev, away=Stage(name="prod", folder=elsewhere, aws=away, code=f"{CODE}-{AWAY}"))


def deployments() -> Output:
    """Fail first deployments half-way, succeed, remove, come back, stand beside another, and in a second region.

    Exits 1 if one claim fails.

    \b
    python -m tests.lab deployments
    """
    with tempfile.TemporaryDirectory(prefix="fiso-deployments-") as home, account(Path(home)) as run:
        checks = run.run()
    document = [{"claim": each.claim, "held": each.held, "seen": each.seen} for each in checks]
    failed = sum(not each.held for each in checks)
    shown = [f"{len(checks) - failed} of {len(checks)} claims held"]
    return Output(document=document, shown=shown, exit_code=FAILED if failed else 0)
