"""AWS as the emulator has it, and deployments to it that can be killed before or after any request, or refused."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session
from botocore.session import Session

from fiso_cli.clouds.aws.client import Aws
from fiso_cli.clouds.aws.deployment import Deployment
from fiso_cli.clouds.aws.names import Place
from fiso_cli.clouds.aws.steps import Wanted
from tests.emulator import aws as plain_client
from tests.functional.clouds.google_rig import Killed

ACCOUNT, TABLE = "000000000000", "fiso-endpoint-state-prod"
REGIONS = ("us-east-1", "eu-west-1")


@dataclass
class Fault:
    """What an operation is answered with so many times, before it is carried out or after; a dropped connection."""

    operation: str
    status: int = 0
    code: str = ""
    message: str = "no"
    times: int = 1
    after: bool = False


@dataclass
class Wire:
    """Every request passes here."""

    at: int | None = None
    before: bool = True
    count: int = 0
    is_dead: bool = False
    asked: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    changes: Callable[[str, Any], None] = lambda operation, parsed: None

    def kill_at(self, at: int | None = None, *, before: bool = True) -> None:
        self.at, self.before, self.count, self.is_dead = at, before, 0, False

    def session(self) -> boto3.Session:
        core = Session()
        core.register("before-send", self._before)
        core.register("after-call", self._after)
        return boto3.Session("test", "test", region_name=REGIONS[0], botocore_session=core)

    def _before(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        self.count += 1
        self.asked.append(operation)
        is_it = self.count == self.at
        if self.is_dead or (is_it and self.before):
            self.is_dead = True
            raise Killed
        fault = next((each for each in self.faults if each.times and each.operation in (operation, "*")), None)
        if fault is None:
            return None
        fault.times -= 1
        if fault.after:
            URLLib3Session().send(request)
        if not fault.status:
            raise ConnectionClosedError(endpoint_url=request.url)
        return _refusal(request, fault)

    def _after(self, model: Any, parsed: Any, **_: Any) -> None:
        if self.count == self.at:
            self.is_dead = True
            raise Killed
        if model.name == "DescribeRegions":  # an account that has switched on two: the others cost a test its time
            parsed["Regions"] = [each for each in parsed["Regions"] if each["RegionName"] in REGIONS]
        self.changes(model.name, parsed)


def _refusal(request: Any, fault: Fault) -> AWSResponse:
    xml = f"<ErrorResponse><Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error></ErrorResponse>"
    json = f'{{"__type": "{fault.code}", "message": "{fault.message}"}}'
    body = request.body or b""
    is_xml = "Action=" in (body if isinstance(body, str) else body.decode("latin-1"))
    response = AWSResponse(request.url, fault.status, {"x-amzn-errortype": fault.code}, None)
    response._content = (xml if is_xml else json).encode()
    return response


@dataclass(kw_only=True)
class Rig:
    """One emulator; each rig has a stage of its own."""

    url: str
    folder: Path
    wire: Wire
    aws: Aws
    stage: str = "prod"

    def deployment(self, **given: Any) -> Deployment:
        """Of one function to two regions, without waiting between requests."""
        package = self.folder / "package.zip"
        if not package.exists():
            package.write_bytes(PACKAGE)
        wanted = Wanted(handler="handler.lambda_handler", package=package, architecture="x86_64")
        whole = {"functions": {"time-keeper": wanted}, "regions": REGIONS, "memories": (512,), **given}
        place = Place(stage=whole.pop("stage", self.stage), account=ACCOUNT)
        return Deployment(aws=self.aws, place=place, table=TABLE, **whole)

    def state(self) -> dict[str, Any]:
        """What there is, without what differs from run to run."""
        found: dict[str, Any] = {}
        iam = plain_client("iam", self.url)
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            whole = iam.get_role(RoleName=name)["Role"]
            held = iam.list_role_policies(RoleName=name)["PolicyNames"]
            found[f"role {name}"] = (whole["AssumeRolePolicyDocument"], held, whole.get("Tags"))
        iam.close()
        for region in REGIONS:
            for kind, name, what in self._of_region(region):
                found[f"{kind} {name} {region}"] = what
        return found

    def _of_region(self, region: str) -> Iterator[tuple[str, str, Any]]:
        functions, logs = self._client("lambda", region), self._client("logs", region)
        own = ("FunctionName", "CodeSha256", "MemorySize", "Role", "Handler", "Timeout", "Architectures")
        for each in functions.list_functions()["Functions"]:
            tags = functions.list_tags(Resource=each["FunctionArn"])["Tags"]
            yield "function", each["FunctionName"], ({name: each.get(name) for name in own}, tags)
        for each in logs.describe_log_groups()["logGroups"]:
            tags = logs.list_tags_for_resource(resourceArn=each["arn"].removesuffix(":*"))["tags"]
            yield "logs", each["logGroupName"], (each.get("retentionInDays"), tags)
        functions.close()
        logs.close()

    def _client(self, service: str, region: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def client(self, service: str, region: str = REGIONS[0]) -> Any:
        """A client that nothing is done to."""
        return self._client(service, region)


def _briefly(seconds: float) -> None:
    """The emulator is as quick as this machine."""
    time.sleep(min(seconds, 0.1))


def _package() -> bytes:
    import io
    import zipfile

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("handler.py", "def lambda_handler(event, context):\n    return 1\n")
    return content.getvalue()


PACKAGE = _package()


def state_table(client: Any, name: str) -> None:
    """What the lock is in."""
    keys = [("function_name", "HASH"), ("item", "RANGE")]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
    )


@contextmanager
def rig(url: str, folder: Path) -> Iterator[Rig]:
    """With the stage's state table, in which the lock is."""
    wire = Wire()
    aws = Aws(session=wire.session(), home=REGIONS[0], endpoint=url, sleep=_briefly)
    table = plain_client("dynamodb", url)
    state_table(table, TABLE)
    try:
        yield Rig(url=url, folder=folder, wire=wire, aws=aws)
    finally:
        aws.close()
        table.delete_table(TableName=TABLE)
        table.close()
