"""`fiso adopt`: the stack of a stage that was removed, made anew around what it left (CloudFormation, "Import AWS
resources into a CloudFormation stack automatically")."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

CHANGE_SET = "adopt-what-was-kept"
KEPT = ("Retain", "RetainExceptOnCreate")
_WITHIN_S, _EVERY_S = 300.0, 1.0


def adopt(
    *,
    stage: StageOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be adopted, and change nothing.")] = False,
) -> Output:
    """Make the stack of a removed stage around the table, bucket and logs that it left, so that it can be deployed.

    It reads what `fiso package --template` wrote. What the stage kept and nobody deleted is adopted with all it holds.

    \b
    fiso package --stage prod --template
    fiso adopt --stage prod
    """
    where = Stage.named(stage)
    if where.local is not None:
        raise BadInput("the local stage keeps nothing that would have to be adopted: `serverless deploy --stage local`")
    body = json.dumps(template(CHECKOUT / "build" / where.name))
    with where.wrapped_errors(), _planned(where.client("cloudformation"), where.stack_name, body) as plan:
        if not dry_run:
            plan.execute()
        adopted = plan.imported
    done = "would be adopted" if dry_run else "adopted"
    following = f"serverless deploy --stage {where.name}"
    shown = [f"{done}: {', '.join(adopted) or 'nothing'}", *([] if dry_run else [f"next: {following}"])]
    return Output(document={"stack": where.stack_name, "adopted": adopted, "done": not dry_run}, shown=shown)


def template(folder: Path) -> dict[str, Any]:
    """What a stage keeps, beside the bucket that the serverless command begins each stack with. `CommandError` without
    a packaged stage."""
    try:
        begun = json.loads((folder / "serverless" / "cloudformation-template-create-stack.json").read_bytes())
        whole = json.loads((folder / "cloudformation-template.json").read_bytes())["Resources"]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"{folder} holds no package: `fiso package --stage {folder.name} --template`") from error
    kept = {name: each for name, each in whole.items() if each.get("DeletionPolicy") in KEPT}
    return {**begun, "Resources": {**begun["Resources"], **kept}}


class _Plan:
    """A change set that is ready to be executed."""

    def __init__(self, client: Any, stack: str, wait: Callable[[float], None]) -> None:
        self._client, self._stack, self._wait = client, stack, wait
        changes = self._settled()["Changes"]
        found = (each["ResourceChange"] for each in changes)
        self.imported = sorted(each["LogicalResourceId"] for each in found if each["Action"] == "Import")

    def execute(self) -> None:
        self._client.execute_change_set(ChangeSetName=CHANGE_SET, StackName=self._stack)
        waited_s = 0.0
        while (status := self._status()).endswith("IN_PROGRESS"):
            waited_s = self._later(waited_s, status)
        if status not in ("CREATE_COMPLETE", "IMPORT_COMPLETE"):
            more = f"`aws cloudformation describe-stack-events --stack-name {self._stack}`"
            raise CommandError(f"stack {self._stack} is {status}: {more}")

    def _settled(self) -> Any:
        waited_s = 0.0
        while True:
            found = self._client.describe_change_set(ChangeSetName=CHANGE_SET, StackName=self._stack)
            if found["Status"] == "FAILED":
                raise CommandError(f"stack {self._stack} cannot be made: {found.get('StatusReason')}")
            if found["Status"] == "CREATE_COMPLETE":
                return found
            waited_s = self._later(waited_s, found["Status"])

    def _status(self) -> str:
        return str(self._client.describe_stacks(StackName=self._stack)["Stacks"][0]["StackStatus"])

    def _later(self, waited_s: float, status: str) -> float:
        if waited_s > _WITHIN_S:
            raise CommandError(f"stack {self._stack} is still {status}: look again later")
        self._wait(_EVERY_S)
        return waited_s + _EVERY_S


@contextmanager
def _planned(client: Any, stack: str, body: str, wait: Callable[[float], None] = time.sleep) -> Iterator[_Plan]:
    """What is not executed is taken back: a stack that was only planned would stand in the way of a deployment."""
    standing = client.list_stacks(StackStatusFilter=["REVIEW_IN_PROGRESS"])["StackSummaries"]
    if any(each["StackName"] == stack for each in standing):  # of a run that was stopped
        client.delete_stack(StackName=stack)
    client.create_change_set(
        StackName=stack,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="CREATE",
        ImportExistingResources=True,
        TemplateBody=body,
        Tags=[{"Key": "service", "Value": "fiso"}],
    )
    try:
        yield _Plan(client, stack, wait)
    finally:
        if client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS":
            client.delete_stack(StackName=stack)
