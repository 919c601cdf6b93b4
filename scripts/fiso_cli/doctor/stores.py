"""Checks of the tables and the bucket: what the template says of them, and whether it is so."""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from fiso_cli.doctor.finding import Finding, ok, wrong
from fiso_cli.doctor.site import Site, code_of, is_missing, listed, redeploy
from fiso_cli.doctor.stack import Resource

_UNSET = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)


def tables(site: Site) -> Iterator[Finding]:
    """Each table of the stack: there, expiring, restorable, with its indexes and its stream."""
    for resource in site.deployed.of_kind("AWS::DynamoDB::Table"):
        try:
            table = site.client("dynamodb").describe_table(TableName=resource.name)["Table"]
        except ClientError as error:
            if not is_missing(error):
                raise
            yield wrong(f"table {resource.name} is gone", why="nothing can be stored", fix=_import(site, resource))
            continue
        problems = [*_built(resource, table), *_kept(site, resource, table)]
        yield from problems
        if not problems:
            yield ok(f"{resource.name}, {table['TableStatus'].lower()}")


def _import(site: Site, resource: Resource) -> str:
    """A table may be restored from its point-in-time copies, under the same name, and belongs to the stack again."""
    return (
        f"aws dynamodb restore-table-to-point-in-time --source-table-name {resource.name} "
        f"--target-table-name {resource.name} --use-latest-restorable-time"
    )


def _built(resource: Resource, table: Mapping[str, Any]) -> Iterator[Finding]:
    name, wanted = resource.name, resource.properties
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        yield wrong(
            f"{name} is {table['TableStatus']}",
            why="it takes no writes",
            fix=f"aws dynamodb describe-table --table-name {name}",
        )
    there = {
        index["IndexName"]: index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])
    }
    declared = wanted.get("GlobalSecondaryIndexes")
    for index in declared if isinstance(declared, list) else ():  # a parameter may leave them out
        status = there.get(index["IndexName"])
        if status != "ACTIVE":
            yield wrong(
                f"{name}: index {index['IndexName']} is {status.lower() if status else 'gone'}",
                why="open records and the console's lists are found by it",
                fix=f"aws dynamodb update-table --table-name {name} --global-secondary-index-updates "
                "file://index.json  # as scripts/serverless/storage.yml has it",
            )
    if "StreamSpecification" in wanted and not table.get("StreamSpecification", {}).get("StreamEnabled"):
        view = wanted["StreamSpecification"]["StreamViewType"]
        yield wrong(
            f"{name} has no stream",
            why="states are not learned, and nothing is archived",
            fix=f"aws dynamodb update-table --table-name {name} --stream-specification "
            f"StreamEnabled=true,StreamViewType={view}",
        )


def _kept(site: Site, resource: Resource, table: Mapping[str, Any]) -> Iterator[Finding]:
    if site.stage.is_local:
        return  # the emulator makes tables without these
    name, wanted, asked = resource.name, resource.properties, site.client("dynamodb")
    attribute = wanted.get("TimeToLiveSpecification", {}).get("AttributeName")
    if attribute:
        found = asked.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if found["TimeToLiveStatus"] not in ("ENABLED", "ENABLING") or found.get("AttributeName") != attribute:
            yield wrong(
                f"{name} never forgets: its items do not expire",
                why="the bill grows each day, and keys count for ever",
                fix=f"aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification "
                f"Enabled=true,AttributeName={attribute}",
            )
    if _is_on(wanted.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")):
        copies = asked.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        if copies.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
            yield wrong(
                f"{name} has no point-in-time copies",
                why="what is deleted or overwritten by mistake is lost",
                fix=f"aws dynamodb update-continuous-backups --table-name {name} "
                "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
            )
    if _is_on(wanted.get("DeletionProtectionEnabled")) and not table.get("DeletionProtectionEnabled"):
        yield wrong(
            f"{name} may be deleted by one command",
            why="the log is what everything is learned and accounted from",
            fix=f"aws dynamodb update-table --table-name {name} --deletion-protection-enabled",
        )


def _is_on(value: object) -> bool:
    return str(value).lower() == "true"


def bucket(site: Site) -> Iterator[Finding]:
    """Each bucket of FISO's own: there, closed to the public, versioned, and forgetting what its rules say."""
    for resource in site.deployed.of_kind("AWS::S3::Bucket"):
        if resource.logical == "ServerlessDeploymentBucket":
            continue
        try:
            site.client("s3").head_bucket(Bucket=resource.name)
        except ClientError as error:
            if code_of(error) == "403":
                yield wrong(
                    f"bucket {resource.name} is closed to you",
                    why="catalog and models may be out of reach",
                    fix="aws s3api get-bucket-policy --bucket " + resource.name,
                )
            elif is_missing(error):
                yield wrong(
                    f"bucket {resource.name} is gone",
                    why="catalog, models and archive are in it",
                    fix=f"aws s3api create-bucket --bucket {resource.name}, then {redeploy(site)}",
                )
            else:
                raise
            continue
        problems = list(_guarded(site, resource))
        yield from problems
        if not problems:
            yield ok(f"{resource.name}, versioned and closed to the public")


def _guarded(site: Site, resource: Resource) -> Iterator[Finding]:
    asked, name, wanted = site.client("s3"), resource.name, resource.properties
    if _or_none(asked.get_bucket_versioning, name).get("Status") != "Enabled":
        yield wrong(
            f"{name} keeps no old versions",
            why="an overwritten catalog or model cannot be had back",
            fix=f"aws s3api put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled",
        )
    blocked = _or_none(asked.get_public_access_block, name).get("PublicAccessBlockConfiguration", {})
    if not blocked or not all(blocked.values()):
        yield wrong(
            f"{name} may be opened to the public",
            why="records of your callers are in it",
            fix=f"aws s3api put-public-access-block --bucket {name} --public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
        )
    if "aws:SecureTransport" not in _or_none(asked.get_bucket_policy, name).get("Policy", ""):
        yield wrong(
            f"{name} takes requests without TLS",
            why="what is read may be read by others on the way",
            fix=redeploy(site),
        )
    if site.stage.is_local:
        return  # the emulator takes no rules from a template
    rules = _or_none(asked.get_bucket_lifecycle_configuration, name).get("Rules", [])
    there = {rule.get("ID") for rule in rules if rule.get("Status") == "Enabled"}
    declared = [rule.get("Id") for rule in wanted.get("LifecycleConfiguration", {}).get("Rules", [])]
    if absent := [str(each) for each in declared if each not in there]:
        yield wrong(
            f"{name} forgets nothing: rules {listed(absent)} are off", why="the bill grows each day", fix=redeploy(site)
        )


def _or_none(ask: Any, bucket: str) -> Mapping[str, Any]:
    """What is set; nothing where it never was."""
    try:
        answer: Mapping[str, Any] = ask(Bucket=bucket)
    except ClientError as error:
        if code_of(error) not in _UNSET:
            raise
        return {}
    return answer
