"""Every AWS call that a function makes is within its role."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import CALLS, LiveCloud, eventually
from tests.e2e.granted import Call, PolicyDocument, arn_of, calls_of, is_granted, key_of

FUNCTIONS = ("orchestrator", "stream-consumer", "retrainer", "keeper", "console", "sample-aws")
ROLE: list[PolicyDocument] = [
    {"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::b/models/*"}]},
    {"Statement": [{"Effect": "Allow", "Action": "dynamodb:Query", "Resource": [arn_of("dynamodb", "t")]}]},
]


@pytest.mark.parametrize(
    ("service", "operation", "resource", "expected"),
    [
        ("s3", "GetObject", "b/models/1/model.joblib", True),
        ("s3", "HeadObject", "b/models/1", True),
        ("s3", "PutObject", "b/models/1", False),
        ("s3", "GetObject", "b/archive/1", False),
        ("s3", "GetObject", "other/models/1", False),
        ("s3", "ListObjectsV2", "b", False),
        ("dynamodb", "Query", "t", True),
        ("dynamodb", "Query", "t/index/by-time", False),
        ("dynamodb", "TransactWriteItems", "t", False),
        ("sts", "GetCallerIdentity", "*", False),
    ],
)
def test_a_call_is_granted_only_by_its_action_on_its_resource(
    service: str, operation: str, resource: str, expected: bool
) -> None:
    line = {"function": "f", "service": service, "operation": operation, "resources": [resource]}
    assert [is_granted(call, ROLE) for call in calls_of(line)] == [expected]


def deployed_roles(live: LiveCloud) -> dict[str, list[PolicyDocument]]:
    """By access key: what CloudFormation made of each function's role in the packaged template."""
    iam, roles = live.stage.client("iam"), dict[str, list[PolicyDocument]]()
    for function in FUNCTIONS:
        name = live.stage.function_name(function)
        policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
        found = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in policies]
        roles[key_of(name)] = found
    return roles


def recorded(live: LiveCloud) -> Iterator[Call]:
    for line in (live.cloud.state / CALLS).read_text(encoding="utf-8").splitlines():
        yield from calls_of(json.loads(line))


def test_every_call_of_every_function_is_within_its_role(live: LiveCloud) -> None:
    folded = live.machine.counts.folded()
    eventually(lambda: live.invoke("word-count").headers["x-fiso-provider"] == "aws")
    live.client.get("/console/invocations")
    assert live.client.post("/v1/decide/word-count").status_code == 200
    live.machine.retrain()
    lambdas = live.stage.client("lambda")
    kept = lambdas.invoke(FunctionName=live.stage.function_name("keeper"), Payload=b"{}")
    assert "FunctionError" not in kept, kept["Payload"].read()
    eventually(lambda: live.machine.counts.folded() > folded)

    roles = deployed_roles(live)
    own = live.cloud.access_key.id  # what this suite's own leasing client signs with: a caller's, no function's
    calls = {call for call in recorded(live) if call.caller != own}
    foreign = {call for call in calls if call.caller not in roles}
    assert foreign == set()
    assert {call for call in calls if not is_granted(call, roles[call.caller])} == set()
    assert {"lambda:InvokeFunction", "ssm:GetParameter"} <= {call.permission for call in calls}
    quiet = {key_of(live.stage.function_name("sample-aws"))}
    assert {call.caller for call in calls} == set(roles) - quiet
