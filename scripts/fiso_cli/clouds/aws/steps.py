"""Steps of a deployment to AWS, for the engine in `clouds.plan`: a role for a function, and in each region and size its
logs and the Lambda function. What each looks at is the real thing; what each makes may be made twice.

Lambda's own API and not a stack of CloudFormation: a stack that fails half-way must be deleted before it can be made
again, wants a bucket in each region for what Lambda takes straight (50 MB), and hides what somebody changed by hand.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from fiso_cli.clouds.aws.client import Aws, Document, Refused
from fiso_cli.clouds.aws.names import PACKAGE_TAG, ROLE_PATH, TARGET_TAG, Copy, Place, is_ours
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

LOGS_POLICY = "logs"
EXISTS = frozenset({"EntityAlreadyExists", "ResourceAlreadyExistsException", "ResourceConflictException"})
ROLE_S, ROLE_PAUSE_S = 90.0, 2.0
"""A role that was made just now cannot be assumed everywhere yet; how long that is waited for."""
_NOT_YET = ("cannot be assumed by Lambda", "is not authorized to perform: sts:AssumeRole")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What all copies of a function have in common."""

    handler: str
    package: Path
    runtime: str = "python3.13"
    architecture: str = "arm64"
    timeout_s: int = 300
    retention_days: int = 30


def role(aws: Aws, place: Place, function: str) -> Step:
    """Who a function's copies run as: it may write their logs and nothing else."""
    name, tags = place.role(function), place.tags(function)
    trusts = _policy("lambda.amazonaws.com")
    logs = f"arn:{place.partition}:logs:*:{place.account}:log-group:/aws/lambda/{place.copies(function)}:*"
    writes = _policy("", Action=["logs:CreateLogStream", "logs:PutLogEvents"], Resource=logs)

    def look() -> Look:
        found = aws.find("iam", "get_role", RoleName=name)
        if found is None:
            return ABSENT
        if not is_ours(tags_of(found["Role"].get("Tags")), tags):
            return not_ours(f"role {name} does not carry this stage's tags")
        if document_of(found["Role"]["AssumeRolePolicyDocument"]) != trusts:
            return different("is trusted to somebody else")
        held = aws.find("iam", "get_role_policy", RoleName=name, PolicyName=LOGS_POLICY)
        return AS_WANTED if held and document_of(held["PolicyDocument"]) == writes else different("may not write logs")

    def make(say: Say) -> None:
        given = {"RoleName": name, "AssumeRolePolicyDocument": json.dumps(trusts)}
        marked = [{"Key": key, "Value": value} for key, value in tags.items()]
        ensured(lambda: aws.call("iam", "create_role", Path=ROLE_PATH, Tags=marked, **given))
        aws.call("iam", "update_assume_role_policy", RoleName=name, PolicyDocument=given["AssumeRolePolicyDocument"])
        aws.call("iam", "put_role_policy", RoleName=name, PolicyName=LOGS_POLICY, PolicyDocument=json.dumps(writes))

    return Step(name=f"role {function}", makes="a role that may write its logs, no more", look=look, make=make)


def copy(aws: Aws, of: Copy, wanted: Wanted) -> list[Step]:
    """One copy: its logs, and the function that the stage's orchestrator may invoke."""
    return [_logs(aws, of, wanted), _function(aws, of, wanted)]


def _logs(aws: Aws, of: Copy, wanted: Wanted) -> Step:
    def look() -> Look:
        found = group_of(aws, of.region, of.log_group)
        if found is None:
            return ABSENT
        if not is_ours(group_tags(aws, of.region, found), of.tags):
            return not_ours(f"log group {of.log_group} in {of.region} does not carry this stage's tags")
        kept = found.get("retentionInDays")
        return AS_WANTED if kept == wanted.retention_days else different(f"keeps {kept or 'all'} days")

    def make(say: Say) -> None:
        where = {"region": of.region, "logGroupName": of.log_group}
        ensured(lambda: aws.call("logs", "create_log_group", tags=of.tags, **where))
        aws.call("logs", "put_retention_policy", retentionInDays=wanted.retention_days, **where)

    what = f"kept {wanted.retention_days} days, in {of.region}"
    return Step(name=f"logs {of.function} {of.endpoint}", makes=what, look=look, make=make)


def _function(aws: Aws, of: Copy, wanted: Wanted) -> Step:
    packed = wanted.package.read_bytes()
    digest = hashlib.sha256(packed)
    settings: Document = {
        "Runtime": wanted.runtime,
        "Role": of.place.role_arn(of.function),
        "Handler": wanted.handler,
        "MemorySize": of.memory_mb,
        "Timeout": wanted.timeout_s,
    }
    tags = {**of.tags, TARGET_TAG: of.place.stage, PACKAGE_TAG: digest.hexdigest()[:16]}
    wants = {
        **settings,
        "Architectures": [wanted.architecture],
        "CodeSha256": base64.b64encode(digest.digest()).decode(),
    }
    where = {"region": of.region, "FunctionName": of.name}

    def look() -> Look:
        found = aws.find("lambda", "get_function", **where)
        if found is None:
            return ABSENT
        if not is_ours(found.get("Tags"), of.tags):
            return not_ours(f"function {of.name} in {of.region} does not carry this stage's tags")
        why = differs(found["Configuration"], wants) or _tags_differ(found.get("Tags", {}), tags)
        return different(why) if why else AS_WANTED

    def make(say: Say) -> None:
        if aws.find("lambda", "get_function", **where) is None:
            body: Document = {
                **settings,
                "Architectures": [wanted.architecture],
                "Tags": tags,
                "Code": {"ZipFile": packed},
            }
            _once_assumable(aws, say, lambda: ensured(lambda: aws.call("lambda", "create_function", **where, **body)))
        now = _settled(aws, of, say)
        if any(now.get(name) != wants[name] for name in ("CodeSha256", "Architectures")):
            architectures = [wanted.architecture]
            aws.call("lambda", "update_function_code", ZipFile=packed, Architectures=architectures, **where)
            now = _settled(aws, of, say)
        if any(now.get(name) != value for name, value in settings.items()):
            _once_assumable(aws, say, lambda: aws.call("lambda", "update_function_configuration", **settings, **where))
            now = _settled(aws, of, say)
        aws.call("lambda", "tag_resource", region=of.region, Resource=now["FunctionArn"], Tags=tags)

    what = f"{of.memory_mb} MB in {of.region}, {wanted.runtime} on {wanted.architecture}, {len(packed) / 1024:,.0f} kB"
    return Step(name=f"function {of.function} {of.endpoint}", makes=what, look=look, make=make, is_slow=True)


def _settled(aws: Aws, of: Copy, say: Say) -> Document:
    """The function's configuration once nothing is under way with it: Lambda refuses any change meanwhile."""
    found: Document = {}

    def is_done() -> bool:
        found.update(aws.call("lambda", "get_function_configuration", region=of.region, FunctionName=of.name))
        return found.get("State") != "Pending" and found.get("LastUpdateStatus") != "InProgress"

    aws.until(is_done, f"function {of.name}", say)
    return found


def differs(found: Document, wants: Mapping[str, object]) -> str:
    """In words what of a function is not as wanted."""
    if found.get("State") == "Pending" or found.get("LastUpdateStatus") == "InProgress":
        return "is still being deployed"
    for state, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if found.get(state) == "Failed":
            return f"has failed: {' '.join(str(found.get(reason)).split())[:120]}"
    for name, value in wants.items():
        if found.get(name) != value:
            return "other code" if name == "CodeSha256" else f"{name}: {found.get(name)} instead of {value}"
    return ""


def _tags_differ(found: Mapping[str, str], tags: Mapping[str, str]) -> str:
    missing = [name for name, value in tags.items() if found.get(name) != value]
    return f"lacks the tag {missing[0]}" if missing else ""


def _once_assumable(aws: Aws, say: Say, act: Callable[[], object]) -> None:
    waited = 0.0
    while True:
        try:
            act()
            return
        except Refused as refused:
            if waited >= ROLE_S or not any(words in str(refused) for words in _NOT_YET):
                raise
        if not waited:
            say("  the new role is not known everywhere yet …")
        aws.sleep(ROLE_PAUSE_S)
        waited += ROLE_PAUSE_S


def ensured(make: Callable[[], object]) -> None:
    """Make what has a name: another run, or an earlier try of this request, may have been quicker."""
    try:
        make()
    except Refused as refused:
        if refused.code not in EXISTS:
            raise


def group_of(aws: Aws, region: str, name: str) -> Document | None:
    """A log group by its whole name."""
    found = aws.pages("logs", "describe_log_groups", "logGroups", region=region, logGroupNamePrefix=name)
    return next((each for each in found if each["logGroupName"] == name), None)


def group_tags(aws: Aws, region: str, group: Document) -> Mapping[str, str]:
    """Its tags; none where it is gone by now."""
    arn = str(group["arn"]).removesuffix(":*")
    found = aws.find("logs", "list_tags_for_resource", region=region, resourceArn=arn)
    tags: Mapping[str, str] = (found or {}).get("tags", {})
    return tags


def tags_of(listed: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """As IAM has them, as a mapping."""
    return {each["Key"]: each["Value"] for each in listed or ()}


def document_of(policy: object) -> object:
    """A policy as boto3 gives it: read already, or as text in the form of an URL."""
    return json.loads(unquote(policy)) if isinstance(policy, str) else policy


def _policy(service: str, **statement: object) -> Document:
    who = {"Principal": {"Service": service}, "Action": "sts:AssumeRole"} if service else {}
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **who, **statement}]}
