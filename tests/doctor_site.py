"""A stage that is well, as `fiso doctor` would like to find it: deployed to the emulator by its own template, with
keys, secrets, a catalog and an alarm's receiver; what the emulator lacks is answered in AWS's wire format."""

import base64
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from fiso.adapters.aws.s3 import S3RetrainingRuns, S3Snapshots
from fiso.adapters.http.signers import KmsSigner
from fiso.codecs.seal import CatalogSeals
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, FunctionName, Provider, Region
from fiso.domain.model import RetrainingRun
from fiso.domain.policy import Policy
from tests.aws_wire import Wire, wired
from tests.emulator import clients, running_emulator
from tests.set_up import set_up

Clients: TypeAlias = Callable[[str], Any]
STAGE, CODE = "prod", "code"
CALLER = "arn:aws:iam::000000000000:user/ada"
TARGET = "thumbnails"
WITHIN_S = 20.0
UNKNOWN_KINDS = ("AWS::CloudWatch::CompositeAlarm",)
"""What the emulator refuses a template for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """`aws` are an operator's clients, straight to the emulator; `environ` is what the command runs in."""

    aws: Clients
    wire: Wire
    template: dict[str, Any]
    topic: str
    environ: Mapping[str, str]

    @property
    def bucket(self) -> str:
        return self.named("Artifacts")

    def named(self, logical: str) -> str:
        found = self.aws("cloudformation").describe_stack_resource(StackName=f"fiso-{STAGE}", LogicalResourceId=logical)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def variables(self, function: str) -> dict[str, str]:
        found = self.aws("lambda").get_function_configuration(FunctionName=f"fiso-{STAGE}-{function}")
        return dict(found["Environment"]["Variables"])


@contextmanager
def deployed(home: Path, template: Path) -> Iterator[Deployed]:
    with running_emulator(home) as url, wired(url) as wire, clients(url) as aws:
        made = _prepared(json.loads(template.read_text()), aws, wire, url)
        _deploy(made, url)
        for set_up in (_what_the_emulator_left_out, _secrets, publish, _rounds, _answers):
            set_up(made)
        yield made


def _prepared(template: dict[str, Any], aws: Clients, wire: Wire, url: str) -> Deployed:
    topic = aws("sns").create_topic(Name="fiso-alarms")["TopicArn"]
    aws("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="ada@example.com")
    set_up(STAGE, aws)
    aws("s3").create_bucket(Bucket=CODE)
    code = _zipped("return event")
    noted = base64.b64encode(sha256(code).digest()).decode()
    kept = {
        name: each
        for name, each in template["Resources"].items()
        if not name.startswith("ServerlessDeployment") and each["Type"] not in UNKNOWN_KINDS
    }
    kept = {n: each for n, each in kept.items() if not n.startswith("Canary")}  # the emulator has no CodeDeploy
    kept["OrchestratorLiveAlias"].pop("UpdatePolicy")
    for resource in kept.values():
        properties = resource.get("Properties", {})
        place = properties.get("Code") or properties.get("Content")
        if isinstance(place, dict):
            place["S3Bucket"] = CODE
            aws("s3").put_object(Bucket=CODE, Key=place["S3Key"], Body=code, Metadata={"filesha256": noted})
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            properties["AlarmActions"] = [topic]
    aws("lambda").create_function(
        FunctionName=TARGET,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/own",
        Handler="handler.lambda_handler",
        Code={"ZipFile": code},
    )
    environ = {
        "AWS_ENDPOINT_URL": wire.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FISO_DATABASE_URL": "",
    }
    body = {
        "Parameters": template["Parameters"],
        "Resources": kept,
        "Outputs": {"ApiUrl": {"Value": wire.url}, "ArtifactsBucket": {"Value": {"Ref": "Artifacts"}}},
    }
    return Deployed(aws=aws, wire=wire, template=body, topic=topic, environ=environ)


def _zipped(line: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("handler.py", f"def lambda_handler(event, context): {line}\n")
    return archive.getvalue()


OTHER_CODE = _zipped("return None")


def _deploy(made: Deployed, url: str) -> None:
    made.aws("s3").put_object(Bucket=CODE, Key="template", Body=json.dumps(made.template))
    asked = made.aws("cloudformation")
    asked.create_stack(
        StackName=f"fiso-{STAGE}", TemplateURL=f"{url}/{CODE}/template", Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    ends_at = time.monotonic() + WITHIN_S
    while "PROGRESS" in (status := asked.describe_stacks(StackName=f"fiso-{STAGE}")["Stacks"][0]["StackStatus"]):
        assert time.monotonic() < ends_at
        time.sleep(0.05)
    assert status == "CREATE_COMPLETE", status


def _what_the_emulator_left_out(made: Deployed) -> None:
    for resource in made.template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table":
            name, asked = properties["TableName"], made.aws("dynamodb")
            asked.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
            asked.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"]
            )
            if properties.get("DeletionProtectionEnabled"):
                asked.update_table(TableName=name, DeletionProtectionEnabled=True)
        elif "LifecycleConfiguration" in properties:
            rules = [
                {"ID": each["Id"], "Status": each["Status"], "Filter": {"Prefix": ""}, "Expiration": {"Days": 730}}
                for each in properties["LifecycleConfiguration"]["Rules"]
            ]
            made.aws("s3").put_bucket_lifecycle_configuration(
                Bucket=made.bucket, LifecycleConfiguration={"Rules": rules}
            )


def _secrets(made: Deployed) -> None:
    made.aws("ssm").put_parameter(Name=f"/fiso/{STAGE}/lease-keys", Value="k1:" + "a" * 64, Type="SecureString")


def publish(made: Deployed, *, version: int = 1, **addresses: str) -> None:
    """A catalog signed by the stage's own key: one function on AWS, and copies by name at further addresses."""
    signer = KmsSigner(made.aws("kms"), f"alias/fiso-{STAGE}-catalog")
    seals = CatalogSeals(stage=STAGE, keys={signer.public_key().id: signer.public_key()}, sign=signer.sign)
    copies = tuple(
        Endpoint(
            id=EndpointId(name),
            provider=Provider.AWS,
            region=Region("us-east-1"),
            memory_mb=512,
            address=address,
            authentication=Authentication.IAM,
        )
        for name, address in ({"aws": TARGET} | addresses).items()
    )
    name = FunctionName("thumbnails")
    entry = CatalogEntry(name=name, function_type="image", endpoints=copies, policy=Policy(version=1))
    snapshot = Snapshot(version=version, published_at=datetime.now(UTC), functions={name: entry})
    S3Snapshots(made.aws("s3"), made.bucket, seals).publish(snapshot)


def _rounds(made: Deployed) -> None:
    run = RetrainingRun(
        started_at=datetime.now(UTC),
        trigger="schedule",
        rows=10,
        promoted=False,
        reason="too few rows",
        champion_version="1",
    )
    S3RetrainingRuns(made.aws("s3"), made.bucket).append(run)


def _answers(made: Deployed) -> None:
    """What the emulator has otherwise than an account, or not at all."""
    limits = {"TotalCodeSize": 1, "CodeSizeUnzipped": 1, "CodeSizeZipped": 1, "ConcurrentExecutions": 1000}
    made.wire.answers |= {
        ("sts", "GetCallerIdentity"): {"UserId": "AIDA", "Account": "000000000000", "Arn": CALLER},
        ("iam", "SimulatePrincipalPolicy"): simulated(),
        ("lambda", "GetAccountSettings"): {"AccountLimit": {**limits, "UnreservedConcurrentExecutions": 1000}},
        ("service-quotas", "GetServiceQuota"): {"Quota": {"QuotaCode": "L-8A5B8E43", "Value": 10000.0}},
        ("dynamodb", "DescribeLimits"): {"TableMaxWriteCapacityUnits": 40_000},
        ("cloudwatch", "GetMetricStatistics"): counted(Invocations=15.0, Errors=0.0),
    }
    made.wire.pages["/healthz"] = {"status": "ok", "snapshot_version": 1, "parts": {}}


def simulated(*refused: str, of: str = "") -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """IAM's simulation, which refuses actions by these beginnings, to principals with `of` in their ARN."""

    def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
        actions = [value for name, value in asked.items() if name.startswith("ActionNames")]
        is_meant = of in asked["PolicySourceArn"]
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": asked.get("ResourceArns.member.1", "*"),
                "EvalDecision": "implicitDeny" if is_meant and action.startswith(refused) else "allowed",
            }
            for action in actions
        ]
        return {"EvaluationResults": results, "IsTruncated": False}

    return answer


def counted(**sums: float) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """CloudWatch's sums by metric."""

    def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
        found = sums.get(str(asked["MetricName"]))
        return {"Label": asked["MetricName"], "Datapoints": [] if found is None else [{"Sum": found}]}

    return answer
