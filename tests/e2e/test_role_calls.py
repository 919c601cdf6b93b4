"""Every AWS call of a deployed function is within its role; `tests/contract/test_roles.py` says more of roles."""

from fiso_cli.access_key import access_key_of
from tests.e2e.conftest import LiveCloud, eventually
from tests.iam.comparison import forbidden
from tests.iam.policy import Statement

FUNCTIONS = ("orchestrator", "stream-consumer", "archiver", "retrainer", "keeper", "console", "sample-aws")


def deployed_roles(live: LiveCloud) -> dict[str, list[Statement]]:
    """By access key: what CloudFormation made of each function's role in the packaged template."""
    iam, roles = live.stage.client("iam"), dict[str, list[Statement]]()
    for function in FUNCTIONS:
        name = live.stage.function_name(function)
        policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in policies]
        roles[access_key_of(name)] = [statement for document in documents for statement in document["Statement"]]
    return roles


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
    accesses = {access for access in live.accesses if access.caller != own}
    assert {access.caller for access in accesses} <= set(roles)
    assert [access for access in accesses if forbidden(roles[access.caller], [access])] == []
    assert {"lambda:InvokeFunction", "ssm:GetParameter"} <= {access.permission for access in accesses}
    quiet = {access_key_of(live.stage.function_name("sample-aws"))}
    assert {access.caller for access in accesses} == set(roles) - quiet
