"""Whether recorded AWS calls are within a role: IAM's matching of actions and resources, as far as these use it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fiso_cli.local_stage import ACCOUNT, REGION

PolicyDocument: TypeAlias = Mapping[str, object]

PERMISSIONS = {
    ("dynamodb", "TransactWriteItems"): "dynamodb:PutItem",  # FISO's transactions hold conditional puts only
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("s3", "HeadBucket"): "s3:ListBucket",
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "ListObjects"): "s3:ListBucket",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
}
"""The permission that a call needs, where it is not `service:Operation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One recorded call on one resource."""

    caller: str
    permission: str
    arn: str


def calls_of(line: Mapping[str, object]) -> Iterator[Call]:
    """The calls in one line of the recorder: one per resource."""
    service, operation = str(line["service"]), str(line["operation"])
    permission = PERMISSIONS.get((service, operation), f"{service}:{operation}")
    resources = line["resources"]
    assert isinstance(resources, list)
    for resource in resources or ["*"]:
        yield Call(caller=str(line["function"]), permission=permission, arn=arn_of(service, str(resource)))


def arn_of(service: str, resource: str) -> str:
    """What the recorder names, as IAM names it."""
    if resource.startswith("arn:") or resource == "*":
        return resource
    if service == "s3":
        return f"arn:aws:s3:::{resource}"
    if service == "logs":
        return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{resource}:*"
    kind = {"dynamodb": "table/", "lambda": "function:", "secretsmanager": "secret:", "ssm": "parameter"}.get(
        service, ""
    )
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{kind}{resource}"


def is_granted(call: Call, role: Sequence[PolicyDocument]) -> bool:
    """Whether a statement of the role allows the call. Denials are not used by FISO's roles and are refused here."""
    for document in role:
        statements = document["Statement"]
        assert isinstance(statements, list)
        for statement in statements:
            assert statement["Effect"] == "Allow"
            if _any_matches(statement["Action"], call.permission) and _any_matches(statement["Resource"], call.arn):
                return True
    return False


def key_of(function_name: str) -> str:
    """The access key under which the local Lambda host runs a function."""
    return "LOCAL" + re.sub(r"[^A-Z0-9]", "", function_name.upper())


def _any_matches(patterns: object, text: str) -> bool:
    listed = patterns if isinstance(patterns, list) else [patterns]
    return any(_expression(str(pattern)).fullmatch(text) for pattern in listed)


def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern))
