"""Where the local stage's files lie and on which ports it listens."""

import os
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT, LocalStage


def a_cloud(**variables: str) -> LocalStage:
    return LocalStage.from_environ(variables, root=Path("/checkout"))


def test_lies_in_the_checkout_at_4566_unless_told_otherwise() -> None:
    cloud = LocalStage.from_environ({})
    assert cloud.root == CHECKOUT
    assert cloud.state == CHECKOUT / ".local"
    assert cloud.emulator_url == "http://127.0.0.1:4566"
    assert (CHECKOUT / "pyproject.toml").is_file()


def test_takes_its_folder_and_first_port_from_the_environment() -> None:
    cloud = a_cloud(FISO_LOCAL_DIR="/elsewhere", FISO_LOCAL_PORT="5566")
    assert cloud.state == Path("/elsewhere")
    assert cloud.emulator_url == "http://127.0.0.1:5566"
    assert cloud.provider_url(2) == "http://127.0.0.1:5578"


def test_empty_variables_count_as_unset() -> None:
    assert a_cloud(FISO_LOCAL_DIR="", FISO_LOCAL_PORT="") == a_cloud()


def test_a_relative_folder_is_meant_from_where_one_stands() -> None:
    assert a_cloud(FISO_LOCAL_DIR="here").state == Path.cwd() / "here"


@pytest.mark.parametrize("port", ["80", "65530", "-1", "4566.0", "four", "٤٥٦٦", "99999999999999999999"])
def test_refuses_a_first_port_that_cannot_be(port: str) -> None:
    with pytest.raises(CommandError, match="FISO_LOCAL_PORT"):
        a_cloud(FISO_LOCAL_PORT=port)


def test_another_port_alone_means_another_folder_so_that_two_clouds_never_share_one() -> None:
    assert a_cloud(FISO_LOCAL_PORT="5566").state == Path("/checkout/.local/5566")
    assert a_cloud(FISO_LOCAL_PORT="4566").state == Path("/checkout/.local")


def test_the_database_address_needs_the_generated_password(tmp_path: Path) -> None:
    cloud = a_cloud(FISO_LOCAL_DIR=str(tmp_path))
    with pytest.raises(CommandError, match="fiso local up"):
        _ = cloud.database_url
    cloud.postgres_dir.mkdir()
    (cloud.postgres_dir / "password").write_text("p@ss/word\n")
    assert cloud.database_url == "postgresql://fiso:p%40ss%2Fword@127.0.0.1:4572/fiso"


def test_clients_reach_this_cloud_and_no_account_of_the_users() -> None:
    mine = {"AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine", "AWS_ACCESS_KEY_ID": "mine", "PATH": "/bin"}
    environment = a_cloud(FISO_LOCAL_PORT="5566").client_environment(mine)
    assert environment["PATH"] == "/bin"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5566"
    assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert "mine" not in environment.values()
