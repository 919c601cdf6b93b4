"""`fiso deploy azure` as it is typed, against a local Azure that runs what it gets: from a folder to an answer."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from typer.testing import CliRunner, Result

from fiso_cli.clouds.azure.command import LOCAL_PART
from fiso_cli.main import app
from tests.functional.clouds.azure_world import APPLICATION, TENANT, Site, azure

ROOT = Path(__file__).parents[3]
CATALOG = """# our functions
version: 1

functions:
  # shortens texts
  greet:
    type: text  # whatever
    endpoints:
      - id: aws-use1  # the oldest
        provider: aws
        region: us-east-1
        memory_mb: 512
        address: arn:aws:lambda:us-east-1:123456789012:function:greet
    policy: {home: aws-use1}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with azure(tmp_path / "azure", b"", runs=True) as found:
        port = int(found.arm.endpoint.rpartition(":")[2]) - LOCAL_PART
        monkeypatch.setenv("FISO_LOCAL_PORT", str(port))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
        monkeypatch.chdir(tmp_path)
        yield found


def fiso(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["deploy", "azure", "--stage", "local", *words])
    assert result.exit_code == code, result.output
    return result


def called(address: str, body: bytes, token: str = "") -> tuple[int, str]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(address, data=body, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""


def token(audience: str, expires_in: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"aud": audience, "exp": time.time() + expires_in}).encode())
    return f"e30.{claims.decode().rstrip('=')}.c2ln"


def handler(folder: Path) -> Path:
    folder.mkdir()
    (folder / "handler.py").write_text("def handle(payload):\n    return {'hello': payload['name']}\n")
    (folder / "requirements.txt").write_bytes((ROOT / "functions/sample_azure/requirements.txt").read_bytes())
    return folder


def test_a_plain_handler_becomes_a_copy_that_answers_and_its_address_stands_in_the_catalog_file(
    site: Site, tmp_path: Path
) -> None:
    handler(tmp_path / "greet")
    (tmp_path / "fiso.yaml").write_text(CATALOG)
    said = fiso("greet", "--yes").output
    assert "made" in said
    assert "next: fiso apply -f fiso.yaml --stage local" in said
    written = (tmp_path / "fiso.yaml").read_text()
    assert all(line in written.splitlines() for line in CATALOG.splitlines())
    endpoint = yaml.safe_load(written)["functions"]["greet"]["endpoints"][1]
    assert (endpoint["id"], endpoint["provider"], endpoint["region"], endpoint["memory_mb"]) == (
        "azure-eastus-512",
        "azure",
        "eastus",
        512,
    )
    assert called(endpoint["address"], b'{"name": "Ada"}') == (200, '{"hello": "Ada"}')
    assert called(endpoint["address"], b"{no") == (400, "")
    again = json.loads(fiso("greet", "--yes", "--json").stdout)
    assert again["done"]["made"] == again["done"]["changed"] == []
    (tmp_path / "greet/handler.py").write_text("def handle(payload):\n    return {'bye': payload['name']}\n")
    changed = json.loads(fiso("greet", "--yes", "--json").stdout)
    assert changed["done"]["changed"] == ["package greet azure-eastus-512"]
    assert called(endpoint["address"], b'{"name": "Ada"}') == (200, '{"bye": "Ada"}')
    assert fiso("other", "--destroy", "--yes").stdout == "other of stage local has nothing on Azure\n"
    assert "their endpoints are out of fiso.yaml" in fiso("greet", "--destroy", "--yes").output
    assert len(site.world.resources) > 4
    fiso("--destroy", "--yes")
    assert (tmp_path / "fiso.yaml").read_text() == CATALOG
    assert site.world.resources == {}
    assert fiso("--destroy", "--yes").stdout == "stage local has nothing on Azure\n"
    assert site.world.running.processes == {}


def test_the_sample_asks_for_a_token_of_the_application(site: Site, tmp_path: Path) -> None:
    words = ["word-count=" + str(ROOT / "functions/sample_azure"), "--yes", "--json"]
    told = json.loads(fiso(*words, "--application-id", APPLICATION, "--tenant", TENANT).stdout)
    (endpoint,) = told["endpoints"]
    assert endpoint["address"].endswith("/api/word-count")
    address = endpoint["address"]
    assert endpoint["authentication"] == "entra"
    audience = f"api://{TENANT}/{address.split('/')[2]}"
    assert called(address, b"a b a", token(audience, 60))[0] == 200
    for other in ("", token(f"api://{TENANT}/another", 60), token(APPLICATION, 60), token(audience, -1), "no.token"):
        assert called(address, b"a b a", other)[0] == 401


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name at least one FUNCTION"),
        (["nowhere"], "no such folder"),
        (["Greet=."], "a function's name is lower-case"),
        (["empty"], "neither function_app.py"),
        (["greet", "greet"], "named twice"),
        (["greet", "--regions", "mars"], "Flex Consumption is in eastus, "),
        (["greet", "--regions", "eastus,eastus"], "name each once"),
        (["greet", "--size", "1024"], "an instance has 512, 2048, 4096 MB"),
        (["greet", "--python", "3.9"], "eastus runs 3.10, 3.11, 3.12, 3.13"),
        (["greet", "--application-id", "x"], "is not an id"),
        (["greet", "--application-id", APPLICATION], "needs --tenant"),
        (["greet", "--json"], "--json asks nothing: say --yes"),
        (["greet", "--file", "broken.yaml"], "broken.yaml: line 1"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_made(
    site: Site, tmp_path: Path, words: Sequence[str], line: str
) -> None:
    handler(tmp_path / "greet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("a: b: c")
    result = fiso(*words, code=2)
    assert line in result.output
    assert "Traceback" not in result.output
    assert site.world.resources == {}


def test_a_plan_makes_nothing_and_shows_what_azure_foretells(site: Site, tmp_path: Path) -> None:
    handler(tmp_path / "greet")
    before = json.loads(fiso("greet", "--plan", "--json").stdout)
    assert {each["does"] for each in before["plan"]} == {"make", "keep"}
    assert site.world.resources == {}
    fiso("greet", "--yes")
    storage = site.world.resources[next(key for key in site.world.resources if "/storageaccounts/fiso" in key)]
    assert storage["properties"]["allowSharedKeyAccess"] is False
    for each in site.world.resources.values():
        if str(each["type"]) == "Microsoft.Storage/storageAccounts" and "fisolock" not in each["name"]:
            each["properties"]["allowSharedKeyAccess"] = True
    after = json.loads(fiso("greet", "--plan", "--json").stdout)
    assert [each["properties"] for each in after["what_if"] if each["does"] == "Modify"] == [
        ["properties.allowSharedKeyAccess"]
    ]


def test_a_process_that_is_killed_leaves_a_lock_that_the_next_run_takes_over_at_once(
    site: Site, tmp_path: Path
) -> None:
    handler(tmp_path / "greet")
    fiso("greet", "--yes")
    site.world.faults.builds = ["Deployment has been stopped due to SCM container restart."] * 3
    (tmp_path / "greet/handler.py").write_text("def handle(payload):\n    return 1\n")
    command = [sys.executable, "-c", "from fiso_cli.main import app; app()"]
    command += ["deploy", "azure", "--stage", "local", "greet", "--yes"]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "shared", ROOT / "scripts")))}
    process = subprocess.Popen(command, env=around, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not holds(site, process.pid):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert holds(site, process.pid)
    done = json.loads(fiso("greet", "--yes", "--json").stdout)["done"]
    assert done["changed"] == ["package greet azure-eastus-512"]


def holds(site: Site, process: int) -> bool:
    """Whether this process has the stage's lock."""
    (lock,) = (each for key, each in site.world.resources.items() if key.endswith("/containers/fiso-lock"))
    said = str(lock["properties"].get("metadata", {}).get("fisoholder", ""))
    return said.split(" ")[2:3] == [str(process)] and lock["properties"]["_lease"]["id"] is not None
