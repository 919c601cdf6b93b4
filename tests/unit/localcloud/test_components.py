"""The components as values: what is run with what, without running it."""

from pathlib import Path

import pytest

from fiso_cli.local_stage import CHECKOUT
from localcloud.components import Options, components
from localcloud.layout import LocalCloud
from localcloud.supervision.component import Component, stop_waves


@pytest.fixture
def cloud() -> LocalCloud:
    return LocalCloud(root=CHECKOUT, state=Path("/nowhere"), base_port=4566)


def named(cloud: LocalCloud, name: str, **options: bool) -> Component:
    return next(found for found in components(cloud, Options(**options)) if found.name == name)


def test_looking_at_the_components_writes_nothing(cloud: LocalCloud) -> None:
    components(cloud)
    assert not cloud.state.exists()


def test_no_two_listen_on_one_port(cloud: LocalCloud) -> None:
    ports = [
        port
        for component in components(cloud, Options(records_calls=True, has_issuer=True))
        for port in component.ports
    ]
    assert len(set(ports)) == len(ports)


def test_functions_call_aws_through_the_recorder_only_while_it_records(cloud: LocalCloud) -> None:
    quiet, recorded = named(cloud, "lambda-host"), named(cloud, "lambda-host", records_calls=True)
    assert "http://127.0.0.1:4568" not in quiet.command
    assert "http://127.0.0.1:4568" in recorded.command
    assert quiet.fingerprint != recorded.fingerprint
    assert "call-recorder" not in [component.name for component in components(cloud)]


def test_functions_invoke_the_aws_samples_through_the_provider_proxy(cloud: LocalCloud) -> None:
    proxy = named(cloud, "provider-proxy")
    assert "AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:4576" in named(cloud, "lambda-host").command
    assert 4576 in proxy.ports
    assert "aws=http://127.0.0.1:4567" in proxy.command


def test_the_issuer_is_there_only_if_it_was_asked_for(cloud: LocalCloud) -> None:
    assert "issuer" not in [component.name for component in components(cloud)]
    issuer = named(cloud, "issuer", has_issuer=True)
    assert issuer.ports == (4574,)
    assert issuer.writes == (cloud.issuer_dir,)


def test_distance_is_left_out_on_request_only(cloud: LocalCloud) -> None:
    assert "--no-distance" not in named(cloud, "provider-proxy").command
    assert "--no-distance" in named(cloud, "provider-proxy", has_distance=False).command


def test_the_pump_stops_before_the_functions_and_these_before_the_tables(cloud: LocalCloud) -> None:
    waves = stop_waves(components(cloud))
    assert waves["stream-pump"] < waves["lambda-host"] < waves["emulator"]
    assert waves["provider-proxy"] < waves["lambda-host"]
    assert waves["provider-proxy"] < waves["google-host"]


def test_every_component_keeps_its_files_in_the_state_directory(cloud: LocalCloud) -> None:
    for component in components(cloud, Options(records_calls=True)):
        assert all(folder.is_relative_to(cloud.state) for folder in component.writes), component.name


def test_everything_stays_on_loopback(cloud: LocalCloud) -> None:
    words = [word for component in components(cloud) for word in (*component.command, *component.environment.values())]
    assert "0.0.0.0" not in " ".join(words)
