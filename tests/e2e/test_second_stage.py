"""A second stage beside the first, as it is deployed to AWS: nothing collides, and what is removed is gone."""

import json
from typing import Any

import pytest

from fiso.services.identity.access import GATEWAY_WORD
from fiso.testing.rig import http_event
from fiso_cli.errors import CommandError
from localcloud.demo.machine import serverless
from tests.e2e.conftest import LiveCloud
from tests.set_up import set_up

SECOND = "second"
DEPLOY = ("deploy", "--stage", SECOND, "--param=burnRates=scripts/serverless/none.yml")  # which the emulator lacks


def test_a_second_stage_is_deployed_beside_the_first_and_removed(live: LiveCloud) -> None:
    lambdas, tables = live.stage.client("lambda"), live.stage.client("dynamodb")
    environment = live.cloud.client_environment(live.environ)
    with pytest.raises(CommandError, match=f"there is no parameter .*: run `fiso setup --stage {SECOND}` first"):
        serverless(live.cloud, DEPLOY, environment)
    stacks = live.stage.client("cloudformation").list_stacks()["StackSummaries"]
    assert f"fiso-{SECOND}" not in {stack["StackName"] for stack in stacks}
    settings = set_up(SECOND, live.stage.client)
    stored = live.stage.client("secretsmanager").get_secret_value(SecretId=f"fiso/{SECOND}/gateway")
    words = json.loads(stored["SecretString"])
    serverless(live.cloud, DEPLOY, environment)
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    for function in ("orchestrator", "stream-consumer", "retrainer", "keeper", "console", "sample-aws"):
        assert {f"fiso-local-{function}", f"fiso-{SECOND}-{function}"} <= names
    assert {f"fiso-invocation-logs-{stage}" for stage in ("local", SECOND)} <= set(tables.list_tables()["TableNames"])
    assert live.invoke("word-count").status_code == 200
    assert statuses(lambdas, {}, {GATEWAY_WORD: words["hashes-1"].split()[0]}) == [401, 401]
    assert 401 not in statuses(lambdas, {GATEWAY_WORD: words["word-1"]}, {GATEWAY_WORD: words["word-2"]})
    told = lambdas.get_function_configuration(FunctionName=f"fiso-{SECOND}-orchestrator")["Environment"]["Variables"]
    assert told["FISO_GATEWAY_HASHES"] == words["hashes-1"]
    assert told["FISO_CATALOG_KEYS"] == settings.read("catalog-keys")

    settings.write("endpoint-hosts", "own.example.com")
    serverless(live.cloud, DEPLOY, environment)  # though no file of it changed
    told = lambdas.get_function_configuration(FunctionName=f"fiso-{SECOND}-orchestrator")["Environment"]["Variables"]
    assert told["FISO_ENDPOINT_HOSTS"] == "own.example.com"

    serverless(live.cloud, ("remove", "--stage", SECOND), environment)
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    assert not [name for name in names if name.startswith(f"fiso-{SECOND}-")]
    assert live.invoke("word-count").status_code == 200


def statuses(lambdas: Any, *shown: dict[str, str]) -> list[int]:
    """Of direct invocations with such headers, which name a caller whom the gateway would have verified."""
    found = []
    for headers in shown:
        event = http_event("GET", "/v1/endpoints", "")
        event["headers"] |= headers
        iam = {"accountId": "111122223333", "userArn": "arn:aws:iam::111122223333:user/somebody"}
        event["requestContext"]["authorizer"] = {"iam": iam}
        answer = lambdas.invoke(FunctionName=f"fiso-{SECOND}-orchestrator", Payload=json.dumps(event).encode())
        found.append(json.loads(answer["Payload"].read())["statusCode"])
    return found
