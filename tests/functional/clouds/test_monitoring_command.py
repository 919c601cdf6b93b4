"""`fiso deploy monitoring` as it is typed, against the local clouds: what it prints is the archiver's setting."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.domain.identity import AzureMonitoring, GoogleMonitoring
from fiso_cli.clouds.azure.command import LOCAL_PART as AZURE_PART
from fiso_cli.clouds.azure.command import NOBODY
from fiso_cli.clouds.azure.lease import ContainerLease
from fiso_cli.clouds.google.command import LOCAL_PART as GOOGLE_PART
from fiso_cli.clouds.lock import held
from fiso_cli.main import app
from tests.functional.clouds.azure_world import Site, azure
from tests.functional.clouds.google_rig import PROJECT, Rig, cloud


def fiso(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["deploy", *words, "--stage", "local"])
    assert result.exit_code == code, result.output
    return result


def told(*words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(fiso(*words, "--json").stdout)
    return document


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with azure(tmp_path, b"") as made:
        port = int(made.arm.endpoint.rpartition(":")[2])
        monkeypatch.setenv("FISO_LOCAL_PORT", str(port - AZURE_PART))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
        yield made


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with cloud(tmp_path / "google") as made:
        monkeypatch.setenv("FISO_LOCAL_PORT", str(made.server.server_address[1] - GOOGLE_PART))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
        yield made


def test_azure_from_plan_to_nothing(site: Site) -> None:
    assert "two alerts" in fiso("monitoring", "azure", "--plan").output
    assert site.world.resources == {}
    settings = told("monitoring", "azure", "--email", "ops@example.com", "--yes")["settings"]
    assert AzureMonitoring.parsed(settings["azureMonitoring"], is_local=True).identity is None
    again = told("monitoring", "azure", "--email", "ops@example.com", "--yes")["done"]
    assert (again["made"], again["changed"]) == ([], [])
    shown = fiso("monitoring", "azure", "--destroy", "--plan").output
    assert re.search(r"^remove +scheduledqueryrules Failed Invocation Alert", shown, re.MULTILINE)
    removed = told("monitoring", "azure", "--destroy", "--yes")["done"]["removed"]
    assert "table FISOAttempts_CL" in removed
    assert "nothing is there" in fiso("monitoring", "azure", "--destroy").output
    fiso("azure", "--destroy", "--yes")
    assert site.world.resources == {}


def test_google_from_plan_to_nothing(rig: Rig) -> None:
    assert "policy Cost Budget Alert (local)" in fiso("monitoring", "gcp", "--plan").output
    assert not any(name.startswith("watch/") for name in rig.world.things)
    settings = told("monitoring", "gcp", "--daily-usd", "3", "--yes")["settings"]
    assert GoogleMonitoring.parsed(settings["googleMonitoring"], is_local=True).project == PROJECT
    again = told("monitoring", "gcp", "--daily-usd", "3", "--yes")["done"]
    assert (again["made"], again["changed"]) == ([], [])
    assert "policy Cost Budget Alert (local)" in told("monitoring", "gcp", "--destroy", "--yes")["done"]["removed"]
    left = [
        name for name, each in rig.world.things.items() if name.startswith("watch/") and "lifecycleState" not in each
    ]
    assert left == []


def test_the_removal_of_a_stages_copies_takes_its_monitoring(rig: Rig) -> None:
    told("monitoring", "gcp", "--yes")
    fiso("gcp", "--destroy", "--yes")
    left = [
        name for name, each in rig.world.things.items() if name.startswith("watch/") and "lifecycleState" not in each
    ]
    assert left == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("monitoring", "aws"), "'aws' is not one of 'azure', 'gcp'"),
        (("monitoring", "gcp", "--email", "nobody"), "is no address"),
        (("monitoring", "azure", "--failed-percent", "0"), "greater than or equal to 1"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str) -> None:
    assert said in " ".join(fiso(*words, code=2).output.split())


def test_of_two_at_once_the_second_says_who_is_at_it(site: Site) -> None:
    told("monitoring", "azure", "--yes")
    lock = ContainerLease(arm=site.arm, group=replace(site.group, stage="local", subscription=NOBODY))
    with held(lock):
        for words in (("--failed-percent", "9"), ("--destroy",)):
            assert "is at this stage" in fiso("monitoring", "azure", *words, "--yes", code=1).output
    assert told("monitoring", "azure", "--failed-percent", "9", "--yes")["done"]["changed"] == ["monitoring"]
