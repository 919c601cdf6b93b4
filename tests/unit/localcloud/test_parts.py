"""The parts as values: what is run with what, without running it."""

from pathlib import Path

import pytest

from fiso_cli.local_stage import CHECKOUT
from localcloud.cloud import words
from localcloud.layout import LocalCloud
from localcloud.parent import options_of
from localcloud.parts import Options, Part, parts


@pytest.fixture
def cloud() -> LocalCloud:
    return LocalCloud(root=CHECKOUT, state=Path("/nowhere"), base_port=4566)


def named(cloud: LocalCloud, name: str, options: Options | None = None) -> Part:
    return next(found for found in parts(cloud, options) if found.name == name)


def test_no_two_listen_on_one_port(cloud: LocalCloud) -> None:
    ports = [port for part in parts(cloud, Options(has_issuer=True)) for port in part.ports]
    assert len(set(ports)) == len(ports)


def test_functions_invoke_the_aws_samples_through_the_provider_proxy(cloud: LocalCloud) -> None:
    proxy = named(cloud, "provider-proxy")
    assert "AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:4576" in named(cloud, "lambda-host").command
    assert 4576 in proxy.ports
    assert "aws=http://127.0.0.1:4567" in proxy.command


def test_what_records_calls_stands_behind_the_proxy_and_before_the_emulator(cloud: LocalCloud) -> None:
    recorded = Options(aws_url="http://a", lambda_url="http://l")
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:4566" in named(cloud, "lambda-host").command
    assert "AWS_ENDPOINT_URL=http://a" in named(cloud, "lambda-host", recorded).command
    assert "aws=http://l" in named(cloud, "provider-proxy", recorded).command


def test_the_issuer_is_there_only_if_it_was_asked_for(cloud: LocalCloud) -> None:
    assert "issuer" not in [part.name for part in parts(cloud)]
    issuer = named(cloud, "issuer", Options(has_issuer=True))
    assert issuer.ports == (4574,)
    assert issuer.writes == (cloud.issuer_dir,)


def test_every_part_keeps_its_files_in_the_state_directory(cloud: LocalCloud) -> None:
    for part in parts(cloud, Options(has_issuer=True)):
        assert all(folder.is_relative_to(cloud.state) for folder in part.writes), part.name


def test_everything_stays_on_loopback(cloud: LocalCloud) -> None:
    said = [word for part in parts(cloud) for word in (*part.command, *part.environment.values())]
    assert "0.0.0.0" not in " ".join(said)


@pytest.mark.parametrize(
    "options", [Options(), Options(has_issuer=True, has_distance=False, aws_url="http://a", lambda_url="http://l")]
)
def test_the_parents_command_line_carries_the_options_whole(options: Options) -> None:
    assert options_of(words(options)) == options
