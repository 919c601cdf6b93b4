"""`fiso adopt`: the stack of a stage that was removed, made anew around what it left (CloudFormation, "Import AWS
resources into a CloudFormation stack")."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fiso.adapters.aws.errors import is_missing
from fiso_cli.errors import CommandError
from fiso_cli.setup.settings import Clients

CHANGE_SET = "adopt-what-was-kept"
KEPT = ("Retain", "RetainExceptOnCreate")
_WITHIN_S, _EVERY_S = 300.0, 0.5
_NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Logs::LogGroup": "LogGroupName",
}
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
"""Of a stack that can be changed; a deployment over what is there was rolled back."""


def adopted(aws: Clients, stack: str, body: Any, wait: Callable[[float], None] = time.sleep) -> list[str]:
    """The logical names of what was there and is the stack's now. `CommandError` when it cannot be; AWS's own errors as
    they are."""
    client = aws("cloudformation")
    making = _Making(client, stack, wait)
    if making.status() is None:
        begun = {name: each for name, each in body["Resources"].items() if each.get("DeletionPolicy") not in KEPT}
        client.create_stack(StackName=stack, TemplateBody=json.dumps({**body, "Resources": begun}))
    making.end()
    before = making.resources()
    found = {
        name: (each["Type"], each["Properties"][_NAMES[each["Type"]]])
        for name, each in body["Resources"].items()
        if name not in before and _is_there(aws, each)
    }
    if not found:
        return []
    whole = {name: each for name, each in body["Resources"].items() if name in before or name in found}
    client.create_change_set(
        StackName=stack,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="IMPORT",
        ResourcesToImport=[
            {"LogicalResourceId": name, "ResourceType": kind, "ResourceIdentifier": {_NAMES[kind]: called}}
            for name, (kind, called) in found.items()
        ],
        TemplateBody=json.dumps({**body, "Resources": whole}),
    )
    making.planned()
    client.execute_change_set(ChangeSetName=CHANGE_SET, StackName=stack)
    making.end()
    if lost := set(found) - making.resources():
        raise CommandError(f"stack {stack} did not take {', '.join(sorted(lost))}: {making.more}")
    return sorted(found)


def _is_there(aws: Clients, resource: Any) -> bool:
    kind, name = resource["Type"], resource["Properties"].get(_NAMES.get(resource["Type"], ""))
    try:
        if kind == "AWS::DynamoDB::Table":
            aws("dynamodb").describe_table(TableName=name)
        elif kind == "AWS::S3::Bucket" and name:
            aws("s3").head_bucket(Bucket=name)
        elif kind == "AWS::Logs::LogGroup":
            groups = aws("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
            return any(each["logGroupName"] == name for each in groups)
        else:
            return False
    except ClientError as error:
        if not is_missing(error):
            raise
        return False
    return True


class _Making:
    """One stack while it is made."""

    def __init__(self, client: Any, stack: str, wait: Callable[[float], None]) -> None:
        self._client, self._stack, self._wait = client, stack, wait
        self.more = f"`aws cloudformation describe-stack-events --stack-name {stack}`"

    def status(self) -> str | None:
        try:
            return str(self._client.describe_stacks(StackName=self._stack)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def resources(self) -> set[str]:
        """What stands in it, by logical names."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self._stack)
        every = (each for page in pages for each in page["StackResourceSummaries"])
        return {each["LogicalResourceId"] for each in every if each["ResourceStatus"] != "DELETE_COMPLETE"}

    def end(self) -> None:
        """Wait until nothing is under way."""
        waited_s = 0.0
        while (status := self.status() or "").endswith("IN_PROGRESS"):
            waited_s = self._later(waited_s, status)
        if status not in _DONE:
            raise CommandError(f"stack {self._stack} is {status}: {self.more}; `serverless remove`, then again")

    def planned(self) -> None:
        """Wait until the change set may be executed."""
        waited_s = 0.0
        while True:
            found = self._client.describe_change_set(ChangeSetName=CHANGE_SET, StackName=self._stack)
            if found["Status"] == "CREATE_COMPLETE":
                return
            if found["Status"] == "FAILED":
                self._client.delete_change_set(ChangeSetName=CHANGE_SET, StackName=self._stack)
                raise CommandError(f"stack {self._stack} adopts nothing: {found.get('StatusReason')}")
            waited_s = self._later(waited_s, found["Status"])

    def _later(self, waited_s: float, status: str) -> float:
        if waited_s > _WITHIN_S:
            raise CommandError(f"stack {self._stack} is still {status}: run it again, it goes on")
        self._wait(_EVERY_S)
        return waited_s + _EVERY_S


def template(folder: Path, account: str) -> dict[str, Any]:
    """What a stage keeps, beside the bucket that the serverless command begins each stack with. `CommandError` without
    a packaged stage. Names are literal, as an import takes them."""
    try:
        begun = json.loads((folder / "serverless" / "cloudformation-template-create-stack.json").read_bytes())
        whole = json.loads((folder / "cloudformation-template.json").read_bytes())["Resources"]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"{folder} holds no package: `fiso package --stage {folder.name} --template`") from error
    kept = {name: each for name, each in whole.items() if each.get("DeletionPolicy") in KEPT}
    for each in kept.values():
        if isinstance(name := each["Properties"].get("BucketName"), dict):
            each["Properties"]["BucketName"] = name["Fn::Sub"].replace("${AWS::AccountId}", account)
    return {**begun, "Resources": {**begun["Resources"], **kept}}
