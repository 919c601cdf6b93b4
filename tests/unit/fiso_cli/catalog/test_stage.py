import pytest

from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage


def test_names_follow_the_stage() -> None:
    stage = Stage.named("prod", {})
    assert (stage.log_table, stage.state_table) == ("fiso-invocation-logs-prod", "fiso-endpoint-state-prod")
    assert stage.idempotency_table == "fiso-idempotency-prod"
    assert (stage.function_name("keeper"), stage.stack_name) == ("fiso-prod-keeper", "fiso-prod")


@pytest.mark.parametrize("name", ["", "Prod", "a b", "../local", "x" * 21])
def test_a_name_that_no_stage_can_have_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="must be lower-case letters"):
        Stage.named(name, {})


def test_a_deployed_stage_needs_the_address_of_its_database() -> None:
    with pytest.raises(CommandError, match="FISO_DATABASE_URL is not set"):
        _ = Stage.named("dev", {}).database_url


def test_the_local_stage_ignores_the_database_of_another() -> None:
    stage = Stage.named(
        "local", {"FISO_DATABASE_URL": "postgresql://db.example.com/x", "FISO_LOCAL_DIR": "/nonexistent"}
    )
    with pytest.raises(CommandError, match="fiso local up"):
        _ = stage.database_url


def test_the_environments_own_addresses_win_over_this_machines() -> None:
    stage = Stage.named("local", {"FISO_GCP_US_EAST4_URL": "http://127.0.0.1:1"})
    assert stage.address_variables["FISO_GCP_US_EAST4_URL"] == "http://127.0.0.1:1"
    assert stage.address_variables["FISO_AZURE_EASTUS_URL"] == "http://127.0.0.1:4577"


def test_a_deployed_stage_gets_its_addresses_from_the_environment_alone() -> None:
    assert Stage.named("dev", {"FISO_GCP_X_URL": "https://g.example"}).address_variables == {
        "FISO_GCP_X_URL": "https://g.example"
    }


def test_the_local_stage_speaks_to_this_machine_only() -> None:
    client = Stage.named("local", {"FISO_LOCAL_PORT": "30000"}).client("dynamodb")
    assert client.meta.endpoint_url == "http://127.0.0.1:30000"
    assert client.meta.region_name == "us-east-1"
