"""A second stage beside the first: nothing collides, and what is removed is gone."""

import pytest

from localcloud.demo.deployment import Deployment
from tests.e2e.conftest import LiveCloud

SECOND = "second"


@pytest.fixture
def second(live: LiveCloud) -> Deployment:
    return Deployment(
        root=live.cloud.root,
        log=live.cloud.log_dir / "deploy-second.log",
        environment=live.cloud.client_environment(live.environ),
        stage=SECOND,
    )


def test_a_second_stage_is_deployed_beside_the_first_and_removed(live: LiveCloud, second: Deployment) -> None:
    lambdas, tables = live.stage.client("lambda"), live.stage.client("dynamodb")
    serverless = str(live.cloud.root / "node_modules" / ".bin" / "serverless")
    second.run()
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    for function in ("orchestrator", "stream-consumer", "retrainer", "keeper", "console", "sample-aws"):
        assert {f"fiso-local-{function}", f"fiso-{SECOND}-{function}"} <= names
    assert {f"fiso-invocation-logs-{stage}" for stage in ("local", SECOND)} <= set(tables.list_tables()["TableNames"])
    assert live.invoke("word-count").status_code == 200

    second.execute([serverless, "remove", "--stage", SECOND])
    names = {found["FunctionName"] for found in lambdas.list_functions(MaxItems=100)["Functions"]}
    assert not [name for name in names if name.startswith(f"fiso-{SECOND}-")]
    assert live.invoke("word-count").status_code == 200
