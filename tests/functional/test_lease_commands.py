"""`fiso lease` against FISO's own handler, and `fiso lease-key` against Parameter Store as the emulator speaks it."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner

from fiso.codecs.lease_token import Keyring
from fiso_cli.local_stage import LocalStage
from fiso_cli.main import app
from fiso_cli.stage import Stage
from fiso_cli.stored_keys import lease_keys
from tests.emulator import running_emulator
from tests.functional.lease_servers import World

runner = CliRunner()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_a_lease_is_shown_as_a_table(world: World) -> None:
    shown = runner.invoke(app, ["lease", "word-count", "--data", "one two", "--api-url", world.url])
    assert shown.exit_code == 0, shown.output
    assert "word-count: lease until 09:31:" in shown.output
    assert f"{world.functions.url}/gcp" in shown.output
    assert "characters, outcomes until 2026-11-23T16:31:" in shown.output


def test_a_lease_as_json_is_the_answer_whole(world: World) -> None:
    shown = runner.invoke(app, ["lease", "word-count", "--json", "--api-url", world.url])
    document = json.loads(shown.output)
    assert document["token"].startswith("fl1.k1.")
    assert world.rig.stores.log.records == {}


def test_an_unknown_function_is_one_line(world: World) -> None:
    shown = runner.invoke(app, ["lease", "nobody", "--api-url", world.url])
    assert shown.exit_code == 1
    assert "no function 'nobody'" in shown.output
    assert len(shown.output.strip().splitlines()) == 1


def test_keys_are_made_once_and_rotated_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_emulator(tmp_path) as url:
        cloud = LocalStage(root=tmp_path, state=tmp_path / "state", base_port=int(url.rpartition(":")[2]))
        stage = Stage(name="local", environ={}, local=cloud)
        keys = lease_keys(stage)
        assert keys.ensured() == "/fiso/local/lease-keys written, k1 signs"
        assert keys.ensured() == "/fiso/local/lease-keys is there, k1 signs"
        first = keys_of(url)
        assert keys.rotated() == "/fiso/local/lease-keys written, k2 signs, k1 verifies"
        assert keys_of(url).keys[1] == first.newest
        monkeypatch.setenv("FISO_LOCAL_PORT", str(cloud.base_port))
        shown = runner.invoke(app, ["lease-key", "--rotate"])
        assert "k3 signs, k2 verifies" in shown.output
        assert all(key.secret.decode() not in shown.output for key in keys_of(url).keys)


def test_the_gateways_word_is_made_once_shown_to_nobody_and_rotated_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_emulator(tmp_path) as url:
        monkeypatch.setenv("FISO_LOCAL_PORT", url.rpartition(":")[2])
        shown = [
            runner.invoke(app, ["gateway-key", *words]).output for words in ([], [], ["--rotate"], ["--rotate"], [])
        ]
        secrets = boto3.client(
            "secretsmanager",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        stored = json.loads(secrets.get_secret_value(SecretId="fiso/local/gateway")["SecretString"])
        secrets.put_secret_value(SecretId="fiso/local/gateway", SecretString="{}")
        damaged = runner.invoke(app, ["gateway-key", "--rotate"])
        secrets.close()
    ends = ["written", "is there", "written", "written", "is there"]
    numbers = [1, 1, 2, 3, 3]
    assert [line.strip() for line in shown] == [
        f"fiso/local/gateway {end}: the next deployment takes word {number}"
        for end, number in zip(ends, numbers, strict=True)
    ]
    assert set(stored) == {"word-2", "word-3", "word-4", "hashes-2", "hashes-3"}
    assert not [word for word in stored.values() if word in "".join(shown)]
    assert (damaged.exit_code, "no gateway's words" in damaged.output) == (1, True)


def keys_of(url: str) -> Keyring:
    ssm = boto3.client(
        "ssm", region_name="us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
    )
    found = ssm.get_parameter(Name="/fiso/local/lease-keys", WithDecryption=True)["Parameter"]
    ssm.close()
    assert found["Type"] == "SecureString"
    return Keyring.parsed(found["Value"])
