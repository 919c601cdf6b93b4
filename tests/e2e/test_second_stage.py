"""A second stage beside the first: nothing collides, and what is removed is gone."""

from localcloud.demo.machine import serverless
from tests.e2e.conftest import LiveCloud

SECOND = "second"


def test_a_second_stage_is_deployed_beside_the_first_and_removed(live: LiveCloud) -> None:
    lambdas, tables = live.stage.client("lambda"), live.stage.client("dynamodb")
    environment = live.cloud.client_environment(live.environ)
    serverless(live.cloud, ("deploy", "--stage", SECOND), environment)
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    for function in ("orchestrator", "stream-consumer", "retrainer", "keeper", "console", "sample-aws"):
        assert {f"fiso-local-{function}", f"fiso-{SECOND}-{function}"} <= names
    assert {f"fiso-invocation-logs-{stage}" for stage in ("local", SECOND)} <= set(tables.list_tables()["TableNames"])
    assert live.invoke("word-count").status_code == 200

    serverless(live.cloud, ("remove", "--stage", SECOND), environment)
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    assert not [name for name in names if name.startswith(f"fiso-{SECOND}-")]
    assert live.invoke("word-count").status_code == 200
