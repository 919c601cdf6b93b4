"""What `fiso apply` says of functions on AWS that a stage may not call: AWS as the emulator speaks it, IAM's simulator
by what the orchestrator's role holds."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fiso.domain.endpoint import Endpoint, EndpointId, Provider, Region
from fiso_cli.catalog.callable import MOST_ASKED, doubts
from fiso_cli.stage import Stage
from tests.aws_wire import Refusal, Wire, wired
from tests.builders import an_endpoint
from tests.emulator import aws

ROLE = "arn:aws:iam::000000000000:role/fiso-prod-orchestrator"


def on_aws(address: str) -> Endpoint:
    return an_endpoint(id=EndpointId(address[-20:]), address=address, region=Region("us-east-1"))


def simulated(asked: Mapping[str, Any]) -> dict[str, Any]:
    """As IAM would by the role's two statements: the tag, within the account."""
    arn = asked["ResourceArns.member.1"]
    names = {value: name for name, value in asked.items() if name.endswith("ContextKeyName")}
    entry = names.get("aws:ResourceTag/fiso-target", "").removesuffix("ContextKeyName")
    may = ":000000000000:" in arn and asked.get(f"{entry}ContextKeyValues.member.1") == "prod"
    assert asked["PolicySourceArn"] == ROLE
    found = {
        "EvalActionName": "lambda:InvokeFunction",
        "EvalResourceName": arn,
        "EvalDecision": "allowed" if may else "implicitDeny",
    }
    return {"EvaluationResults": [found], "IsTruncated": False}


@pytest.fixture(scope="module")
def wire(emulator_url: str) -> Iterator[Wire]:
    with wired(emulator_url) as wire, closing(aws("lambda", emulator_url)) as lambdas:
        for name, tags in {"fiso-prod-orchestrator": {}, "tagged": {"fiso-target": "prod"}, "plain": {}}.items():
            lambdas.create_function(
                FunctionName=name,
                Runtime="python3.13",
                Role=ROLE,
                Handler="h.h",
                Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
                Tags=tags,
            )
        wire.answers["iam", "SimulatePrincipalPolicy"] = simulated
        yield wire


@pytest.fixture
def stage(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name, value in {
        "AWS_ENDPOINT_URL": wire.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return Stage.named("prod")


def test_a_tagged_function_is_passed_over_and_each_other_named_with_the_command_that_opens_it(stage: Stage) -> None:
    lines = list(doubts(stage, map(on_aws, ("tagged", "plain", "plain", "nobody"))))
    plain, nobody = lines
    assert plain.startswith("plain: the orchestrator may not invoke plain, so each call of it is refused")
    command = "aws lambda tag-resource --resource arn:aws:lambda:us-east-1:000000000000:function:plain"
    assert f"{command} --tags fiso-target=prod" in plain
    assert nobody.startswith("nobody: there is no function nobody in us-east-1")
    assert [line for line in lines if "\n" in line] == []


def test_no_function_of_another_cloud_is_asked_for(stage: Stage, wire: Wire) -> None:
    wire.asked.clear()
    others = [an_endpoint(provider) for provider in (Provider.AZURE, Provider.GCP)]
    assert (list(doubts(stage, others)), wire.asked) == ([], [])


def test_who_may_not_ask_is_told_what_was_not_found_out(stage: Stage, wire: Wire) -> None:
    wire.answers["iam", "SimulatePrincipalPolicy"] = Refusal(code="AccessDenied", status=403)
    try:
        (line,) = doubts(stage, [on_aws("plain")])
    finally:
        wire.answers["iam", "SimulatePrincipalPolicy"] = simulated
    assert line.startswith("whether the orchestrator may invoke plain was not told to you (AccessDenied;")


def test_a_stage_that_does_not_stand_yet_and_one_that_cannot_be_reached_are_said_to_be(
    wire: Wire, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = doubts(Stage.named("dev"), [on_aws("plain")])
    assert line == "fiso-dev-orchestrator is not deployed yet: nobody can tell yet which functions it may invoke"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    (line,) = doubts(Stage.named("prod"), [on_aws("plain")])
    assert line.startswith("no function on AWS was tried: Could not connect")


def test_of_many_functions_some_are_asked_for_and_it_is_said(stage: Stage) -> None:
    *_, last = doubts(stage, [on_aws(f"nobody-{number}") for number in range(MOST_ASKED + 2)])
    assert last == "2 more functions on AWS were not tried: `fiso doctor --stage prod`"


def test_the_local_stage_is_not_asked(tmp_path: Path) -> None:
    local = Stage.named("local", {"FISO_LOCAL_DIR": str(tmp_path)})
    assert list(doubts(local, [on_aws("plain")])) == []
