"""A function URL is made where a stage asks for one: signed on a stage for signatures, else open, and FISO checks."""

import json
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.packaging.template import serverless_package


@pytest.mark.parametrize(("auth", "kind"), [("iam", "AWS_IAM"), ("jwt", "NONE")])
def test_a_function_url_is_as_open_as_its_stage(auth: str, kind: str, tmp_path: Path) -> None:
    params = ["frontDoor=url", "reservedConcurrency=100", f"auth={auth}"]
    path = serverless_package("prod", tmp_path, params=params)
    resources: dict[str, dict[str, Any]] = json.loads(path.read_text())["Resources"]
    (url,) = (each["Properties"] for each in resources.values() if each["Type"] == "AWS::Lambda::Url")
    assert url["AuthType"] == kind
    orchestrator = resources["OrchestratorLambdaFunction"]["Properties"]
    assert orchestrator["ReservedConcurrentExecutions"] == 100
    account = orchestrator["Environment"]["Variables"]["FISO_URL_ACCOUNT"]
    assert account == ({"Ref": "AWS::AccountId"} if auth == "iam" else "")
    public = [
        each["Properties"]["Action"]
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::Permission" and each["Properties"]["Principal"] == "*"
    ]
    assert public == ([] if auth == "iam" else ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"])


def test_roles_are_tenants_where_a_stage_says_so_and_never_beside_a_url(tmp_path: Path) -> None:
    def told(*params: str) -> list[Any]:
        path = serverless_package("prod", tmp_path, params=[*params])
        resources: dict[str, dict[str, Any]] = json.loads(path.read_text())["Resources"]
        variables = [
            resources[f"{name}LambdaFunction"]["Properties"]["Environment"] for name in ("Orchestrator", "Console")
        ]
        return [each["Variables"][name] for each in variables for name in ("FISO_IAM_TENANT", "FISO_IAM_ADMINS")]

    assert told("iamTenant=role", "iamAdmins=Operators") == ["role", "Operators"] * 2
    with pytest.raises(CommandError):
        told("iamTenant=role", "frontDoor=url")
