"""`fiso deploy gcp` as it is typed, against a local Google that runs what it gets: from a folder to an answer."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.catalog.yaml_text import parse
from fiso_cli.clouds.google.command import LOCAL_PART
from fiso_cli.main import app
from localcloud.google_cloud.copies import Copies
from localcloud.google_cloud.identity import token
from localcloud.google_cloud.world import Fault
from tests.functional.clouds.google_rig import PROJECT, Rig, cloud
from tests.functional.clouds.test_google_copies import call

CALLER = f"fiso-local@{PROJECT}.iam.gserviceaccount.com"
CATALOG = """# our functions
version: 1

functions:
  # says hello
  greet:
    type: text  # whatever
    endpoints:
      - id: aws-use1  # the oldest
        provider: aws
        region: us-east-1
        memory_mb: 512
        address: arn:aws:lambda:us-east-1:123456789012:function:greet
"""


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with cloud(tmp_path / "google") as made:
        copies = Copies(made.world)
        monkeypatch.setenv("FISO_LOCAL_PORT", str(made.server.server_address[1] - LOCAL_PART))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "greet").mkdir()
        (tmp_path / "greet" / "handler.py").write_text("def handle(payload):\n    return {'hello': payload['name']}\n")
        locked = "functions-framework==3.10.2 --hash=sha256:" + "0" * 64
        (tmp_path / "greet" / "requirements.txt").write_text(locked)
        yield made
        copies.close()


def fiso(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["deploy", "gcp", "--stage", "local", *words])
    assert result.exit_code == code, result.output
    return result


def test_a_plain_handler_becomes_a_copy_that_answers_and_its_address_stands_in_the_catalog_file(
    rig: Rig, tmp_path: Path
) -> None:
    (tmp_path / "fiso.yaml").write_text(CATALOG)
    planned = fiso("greet", "--plan")
    assert "service greet gcp-us-east4-512" in planned.output
    assert not rig.world.things
    said = fiso("greet", "--yes")
    assert "next: fiso apply -f fiso.yaml --stage local" in said.output
    written = (tmp_path / "fiso.yaml").read_text()
    assert [line for line in CATALOG.splitlines() if line not in written.splitlines()] == []
    catalog: Any = parse(written).value
    endpoint = catalog["functions"]["greet"]["endpoints"][1]
    address = endpoint.pop("address")
    assert endpoint == {
        "id": "gcp-us-east4-512",
        "provider": "gcp",
        "region": "us-east4",
        "memory_mb": 512,
        "authentication": "id_token",
        "concurrency_limit": 100,
    }
    assert call(address, token(CALLER, address), data=b'{"name": "you"}').json() == {"hello": "you"}
    assert call(address, token(CALLER, address), data=b"no").status_code == 400
    assert call(address).status_code == 403

    again = json.loads(fiso("greet", "--yes", "--json").stdout)
    assert (again["done"]["made"], again["done"]["changed"]) == ([], [])
    fiso("--destroy", "--yes")
    assert (tmp_path / "fiso.yaml").read_text() == CATALOG
    assert "has nothing on Google" in fiso("--destroy", "--yes").output


def test_a_run_that_was_killed_holds_nobody_up_and_is_gone_on_with(rig: Rig, tmp_path: Path) -> None:
    """A genuine process, ended by SIGKILL while it holds the lock and waits for its build."""
    rig.world.faults = [Fault(method="run.projects.locations.builds.submit", hangs=True)]
    command = [sys.executable, "-c", "from fiso_cli.main import app; app()"]
    command += ["deploy", "gcp", "greet", "--stage", "local", "--yes"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and not any(name.startswith("build/") for name in [*rig.world.things]):
        time.sleep(0.02)
    run.kill()
    run.wait()
    assert any(name.endswith("/lock") for name in rig.world.things)
    for build in (thing for name, thing in rig.world.things.items() if name.startswith("build/")):
        build["status"] = "CANCELLED"
    assert "next: fiso apply" in fiso("greet", "--yes").output
    assert not any(name.endswith("/lock") for name in rig.world.things)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name at least one FUNCTION"),
        (["nowhere"], "nowhere: no such folder"),
        (["Greet=greet"], "'Greet': a function's name"),
        (["greet", "greet=greet"], "greet is named twice"),
        (["greet", "--regions", "mars"], "region 'mars'"),
        (["greet", "--regions", ","], "--regions"),
        (["greet", "--memory", "300"], "--memory '300'"),
        (["greet", "--invoker", "allUsers"], "open to nobody in general"),
        (["greet", "--json"], "--json asks nothing"),
        (["empty"], "no function is decorated"),
    ],
)
def test_bad_usage_is_one_line_before_anything_is_asked_of_google(
    rig: Rig, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = fiso(*words, code=2)
    assert said in result.output
    assert not rig.world.things


def test_a_google_that_is_away_is_one_line(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISO_LOCAL_PORT", "1024")
    monkeypatch.setattr("fiso_cli.clouds.google.client.TRIES", 1)
    assert fiso("greet", "--yes", code=1).output.startswith("error: Google cannot be reached: ")
