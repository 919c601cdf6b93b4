"""A stage's stores, roles and settings in an emulator, as CloudFormation makes them of the packaged template.

The code of functions is not deployed: tests call it. What Lambda itself does with a function's role is told from the
template: it writes the function's log, reads the stream of its mapping, and puts there what fails.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fiso_cli.local_stage import ACCOUNT
from tests.iam.policy import Statement
from tests.iam.wire import Access, arn_of
from tests.set_up import set_up

Clients: TypeAlias = Callable[[str], Any]
"""An operator's clients of AWS, by service."""

DEPLOYED = (
    "AWS::ApiGatewayV2::Api",
    "AWS::DynamoDB::Table",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
)
WITHIN_S = 20.0
STREAM_READERS = ("stream-consumer", "archiver")
LOG_STREAM = "2026/11/30/[$LATEST]0123456789abcdef0123456789abcdef"
DEAD_LETTER = "aws/lambda/5f1d0f3a-8a3a-4a0e-9a53-1c2f0c4b6a77/shardId-1/2026/11/30/2026-11-30T12.00.00-1c2f0c4b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """By the functions' short names: what their roles may, their variables, and what Lambda does with their roles
    (`caller` is empty). What a key's own policy lets a role do counts as the role's."""

    roles: Mapping[str, tuple[Statement, ...]]
    environ: Mapping[str, Mapping[str, str]]
    platform: Mapping[str, tuple[Access, ...]]


def deploy(template: Path, aws: Clients) -> Stage:
    """Create the stack. What intrinsic functions come to is CloudFormation's word, by outputs."""
    set_up("prod", aws)
    document: dict[str, Any] = json.loads(template.read_text())
    resources: dict[str, Any] = document["Resources"]
    functions = {
        each["Properties"]["FunctionName"].split("-", 2)[2]: each["Properties"]
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::Function"
    }
    wanted: dict[tuple[str, str], Any] = {
        (function, name): value
        for function, properties in functions.items()
        for name, value in properties["Environment"]["Variables"].items()
    }
    mappings = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::Lambda::EventSourceMapping"]
    for mapping in mappings:
        wanted["stream", ""] = mapping["EventSourceArn"]
        wanted["letters", ""] = mapping["DestinationConfig"]["OnFailure"]["Destination"]
    found = dict(zip(wanted, _outputs(aws, document, [*wanted.values()]), strict=True))
    granted = _by_keys(aws)
    return Stage(
        roles={function: (*_role(aws, function), *granted.get(role_arn(function), ())) for function in functions},
        environ={
            function: {name: value for (of, name), value in found.items() if of == function and value}
            for function in functions
        },
        platform={
            function: (
                *_logging(properties["LoggingConfig"]["LogGroup"]),
                *(_mapped(found["stream", ""], found["letters", ""]) if function in STREAM_READERS else ()),
            )
            for function, properties in functions.items()
        },
    )


def _outputs(aws: Clients, document: Mapping[str, Any], values: list[Any]) -> list[str]:
    kept = {
        name: each
        for name, each in document["Resources"].items()
        if each["Type"] in DEPLOYED and not name.startswith("ServerlessDeployment")
    }
    outputs = {f"Value{number}": {"Value": value} for number, value in enumerate(values)}
    made = aws("cloudformation")
    body = json.dumps({"Parameters": document["Parameters"], "Resources": kept, "Outputs": outputs})
    made.create_stack(StackName="fiso", TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
    ends_at = time.monotonic() + WITHIN_S
    while (stack := made.describe_stacks(StackName="fiso")["Stacks"][0])["StackStatus"] == "CREATE_IN_PROGRESS":
        assert time.monotonic() < ends_at
        time.sleep(0.02)
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    by_key = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return [by_key[f"Value{number}"] for number in range(len(values))]


def _role(aws: Clients, function: str) -> tuple[Statement, ...]:
    """Of the one policy that a function's role has of its own; none is attached to it."""
    iam, name = aws("iam"), f"fiso-prod-{function}"
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    return tuple(iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"])


def _by_keys(aws: Clients) -> Mapping[str, tuple[Statement, ...]]:
    """What KMS keys' policies grant, by the role that is named. The account's own policies are no function's."""
    kms, granted = aws("kms"), defaultdict[str, tuple[Statement, ...]](tuple)
    for key in kms.list_keys()["Keys"]:
        policy = json.loads(kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"])
        for statement in policy["Statement"]:
            if statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}:
                continue
            assert statement["Principal"] == {"AWS": "*"}, statement
            ((operator, keys),) = statement["Condition"].items()
            asked = dict(keys)
            assert (operator, asked.pop("kms:CallerAccount")) == ("StringEquals", ACCOUNT)
            whom, abroad = asked.pop("aws:PrincipalArn")
            assert abroad == f"{whom}-us-east-1"
            rest = {"Condition": {operator: asked}} if asked else {}
            of_role = {name: statement[name] for name in ("Sid", "Effect", "Action")}
            granted[whom] += ({**of_role, **rest, "Resource": key["KeyArn"]},)
    return granted


def _by_lambda(permission: str, arn: str) -> Access:
    return Access(caller="", operation="", permission=permission, arn=arn)


def _logging(group: str) -> tuple[Access, ...]:
    """docs.aws.amazon.com/lambda, "Sending Lambda function logs to CloudWatch Logs"."""
    stream = arn_of("logs", group) + LOG_STREAM
    return _by_lambda("logs:CreateLogStream", stream), _by_lambda("logs:PutLogEvents", stream)


def _mapped(stream: str, letters: str) -> tuple[Access, ...]:
    """docs.aws.amazon.com/lambda, "Using Lambda with DynamoDB" and "Configuring destinations": the mapping has no role
    of its own. ListStreams stands in AWS's own example on the stream, though the reference names no resource for it."""
    reads = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    return (
        *(_by_lambda(f"dynamodb:{action}", stream) for action in reads),
        _by_lambda("s3:PutObject", f"{letters}/{DEAD_LETTER}"),
        _by_lambda("s3:ListBucket", letters),
    )


def role_arn(function: str) -> str:
    """Whom a key's policy names."""
    return f"arn:aws:iam::{ACCOUNT}:role/fiso-prod-{function}"
