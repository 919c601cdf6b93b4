"""`fiso deploy aws-function | azure | gcp` as they are typed, against local clouds that run what they get: from a
folder to an answer, in two regions, in one again, and gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from typer.testing import CliRunner, Result

from fiso_cli.clouds.azure import command as azure_command
from fiso_cli.clouds.google import command as google_command
from fiso_cli.main import app
from localcloud.google_cloud.copies import Copies
from localcloud.google_cloud.identity import token
from tests.emulator import KEY
from tests.functional.clouds.aws_rig import state_table
from tests.functional.clouds.azure_world import APPLICATION, azure
from tests.functional.clouds.google_rig import PROJECT, cloud
from tests.functional.localcloud.emulator_fixture import free_ports
from tests.functional.localcloud.lambda_host_world import await_answer, running_emulator_at, running_host

ROOT = Path(__file__).parents[3]
HANDLER = "def handle(payload):\n    return {'hello': payload['name']}\n"
CATALOG = """# our functions
version: 1

functions:
  # says hello
  greet:
    type: text  # whatever
    endpoints:
      - id: here  # the oldest
        provider: aws
        region: us-east-1
        memory_mb: 512
        address: arn:aws:lambda:us-east-1:123456789012:function:greet
    policy: {home: here}
"""


@dataclass(kw_only=True)
class Cloud:
    """A local cloud: what a copy answers, whether anything is there, who holds the stage's lock."""

    call: Callable[[dict[str, Any], bytes], tuple[int, Any]]
    things: Callable[[], int]
    holder: Callable[[], str]
    stall: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Case:
    """How one cloud's command is typed, and what of its answer is its own."""

    word: str
    starts: Callable[[Path, pytest.MonkeyPatch], Any]
    regions: tuple[str, str]
    size: str
    endpoint: dict[str, Any]
    kept: str
    """What one step of a copy is called."""
    changed: list[str]
    requirements: str = ""
    bad: tuple[tuple[tuple[str, ...], str], ...] = ()

    def ids(self) -> list[str]:
        return [f"{self.endpoint['provider']}-{region}-512" for region in self.regions]


@contextmanager
def on_azure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with azure(folder, b"", runs=True) as site:
        monkeypatch.setenv("FISO_LOCAL_PORT", str(_port(site.arm.endpoint) - azure_command.LOCAL_PART))

        def holder() -> str:
            locks = [each for key, each in site.world.resources.items() if key.endswith("/containers/fiso-lock")]
            held = [each for each in locks if each["properties"].get("_lease", {}).get("id") is not None]
            return str(held[0]["properties"].get("metadata", {}).get("fisoholder", "")) if held else ""

        def call(endpoint: dict[str, Any], body: bytes) -> tuple[int, Any]:
            return _answer(requests.post(endpoint["address"], data=body, timeout=20))

        def stall() -> None:
            site.world.faults.builds = ["Deployment has been stopped due to SCM container restart."] * 3

        yield Cloud(call=call, things=lambda: len(site.world.resources), holder=holder, stall=stall)


@contextmanager
def on_google(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(folder) as rig:
        copies = Copies(rig.world)
        monkeypatch.setenv("FISO_LOCAL_PORT", str(rig.server.server_address[1] - google_command.LOCAL_PART))

        def call(endpoint: dict[str, Any], body: bytes) -> tuple[int, Any]:
            address, caller = endpoint["address"], f"fiso-local@{PROJECT}.iam.gserviceaccount.com"
            assert requests.post(address, data=body, timeout=20).status_code == 403
            headers = {"authorization": f"Bearer {token(caller, address)}"}
            return _answer(requests.post(address, data=body, headers=headers, timeout=20))

        def holder() -> str:
            locks = [thing for name, thing in [*rig.world.things.items()] if name.endswith("/lock")]
            return str(locks[0].get("metadata", {}).get("holder", "")) if locks else ""

        def things() -> int:
            return len([name for name in rig.world.things if not name.startswith(("build/", "location/"))])

        yield Cloud(call=call, things=things, holder=holder)
        copies.close()


@contextmanager
def on_aws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    folder.mkdir()
    port = free_ports(2)
    monkeypatch.setenv("FISO_LOCAL_PORT", str(port))
    emulator_url, host_url = (f"http://127.0.0.1:{port + more}" for more in (0, 1))
    KEY.write(Path(os.environ["FISO_LOCAL_DIR"]) / "access-key")

    def client(service: str, region: str = "us-east-1", url: str = emulator_url) -> Any:
        return boto3.client(
            service,
            endpoint_url=url,
            region_name=region,
            aws_access_key_id=KEY.id,
            aws_secret_access_key=KEY.secret,
        )

    def call(endpoint: dict[str, Any], body: bytes) -> tuple[int, Any]:
        event = {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "body": body.decode()}
        invoking = client("lambda", endpoint["region"], host_url)
        answer = json.load(invoking.invoke(FunctionName=endpoint["address"], Payload=json.dumps(event))["Payload"])
        invoking.close()
        return answer["statusCode"], json.loads(answer["body"])

    with (
        running_emulator_at(folder, emulator_url, host_url) as emulator,
        running_host(folder, folder / "cache", emulator_url, host_url),
    ):
        await_answer(f"{emulator_url}/_ministack/health", emulator)
        table, functions, iam = client("dynamodb"), client("lambda"), client("iam")
        state_table(table, "fiso-endpoint-state-local")

        def holder() -> str:
            found = table.scan(TableName="fiso-endpoint-state-local")["Items"]
            return str(found[0]["holder"]["S"]) if found else ""

        def things() -> int:
            return len(functions.list_functions()["Functions"]) + len(iam.list_roles()["Roles"])

        yield Cloud(call=call, things=things, holder=holder)
        for each in (table, functions, iam):
            each.close()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _answer(answer: requests.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json() if answer.content else None


NO_HASH = "functions-framework==3.10.2 --hash=sha256:" + "0" * 64
OF_EVERY: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "name at least one FUNCTION"),
    (("nowhere",), "nowhere: no such folder"),
    (("Greet=greet",), "a function's name"),
    (("greet", "greet=greet"), "greet is named twice"),
    (("greet", "--regions", "mars"), "mars"),
    (("greet", "--regions", ","), ""),
    (("greet", "--json"), "--json asks nothing: say --yes"),
    (("greet", "--file", "broken.yaml"), "broken.yaml: line 1"),
)
CASES = {
    "aws": Case(
        word="aws-function",
        starts=on_aws,
        regions=("us-east-1", "eu-west-1"),
        size="--memory",
        endpoint={"provider": "aws"},
        kept="function greet aws-us-east-1-512",
        changed=["function greet aws-us-east-1-512", "function greet aws-eu-west-1-512"],
        bad=(
            (("greet", "--memory", "64"), "--memory '64'"),
            (("greet", "--memory", "99999999999999999999"), "--memory"),
            (("greet", "--architecture", "riscv"), "arm64 or x86_64"),
            (("greet", "--runtime", "python2"), "--runtime"),
            (("greet", "--keep-logs", "2"), "--keep-logs 2"),
            (("greet", "--handler", "handler"), "must be MODULE.FUNCTION"),
            (("greet", "--handler", "other.f"), "must be MODULE.FUNCTION"),
            (("empty",), "no handler.py"),
        ),
    ),
    "azure": Case(
        word="azure",
        starts=on_azure,
        regions=("eastus", "westeurope"),
        size="--size",
        endpoint={"provider": "azure"},
        kept="package greet azure-eastus-512",
        changed=["package greet azure-eastus-512", "package greet azure-westeurope-512"],
        requirements=(ROOT / "functions/sample_azure/requirements.txt").read_text(encoding="utf-8"),
        bad=(
            (("empty",), "neither function_app.py"),
            (("greet", "--regions", "mars"), "Flex Consumption is in eastus, "),
            (("greet", "--regions", "eastus,eastus"), "name each once"),
            (("greet", "--size", "1024"), "an instance has 512, 2048, 4096 MB"),
            (("greet", "--python", "3.9"), "eastus runs 3.10, 3.11, 3.12, 3.13"),
            (("greet", "--application-id", "x"), "is not an id"),
            (("greet", "--application-id", APPLICATION), "needs --tenant"),
        ),
    ),
    "google": Case(
        word="gcp",
        starts=on_google,
        regions=("us-east4", "europe-west1"),
        size="--memory",
        endpoint={"provider": "gcp", "authentication": "id_token", "concurrency_limit": 100},
        kept="service greet gcp-us-east4-512",
        changed=[],
        requirements=NO_HASH,
        bad=(
            (("greet", "--memory", "300"), "--memory '300'"),
            (("greet", "--invoker", "allUsers"), "open to nobody in general"),
            (("empty",), "no function is decorated"),
        ),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def here(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "local").mkdir()
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "handler.py").write_text(HANDLER)
    if case.requirements:
        (tmp_path / "greet" / "requirements.txt").write_text(case.requirements)
    with case.starts(tmp_path / "cloud", monkeypatch) as started:
        yield started


def fiso(case: Case, *words: str, code: int = 0, says: str = "") -> Result:
    result = CliRunner().invoke(app, ["deploy", case.word, "--stage", "local", *words], input=says)
    assert result.exit_code == code, result.output
    return result


def endpoints() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(Path("fiso.yaml").read_text())["functions"]["greet"]["endpoints"]
    return found[1:]


def test_from_a_folder_to_answers_in_two_regions_then_in_one_and_gone(case: Case, here: Cloud) -> None:
    both, one = (["greet", "--regions", ",".join(case.regions[:count])] for count in (2, 1))
    Path("fiso.yaml").write_text(CATALOG)
    assert case.kept in fiso(case, *both, "--plan").output
    assert here.things() == 0
    assert fiso(case, *both, code=1, says="n\n").output.endswith("error: nothing was made\n")
    assert "next: fiso apply -f fiso.yaml --stage local" in fiso(case, *both, "--yes").output
    written = Path("fiso.yaml").read_text()
    assert [line for line in CATALOG.splitlines() if line not in written.splitlines()] == []
    assert [each["id"] for each in endpoints()] == case.ids()
    for number, each in enumerate(endpoints()):
        assert here.call(each, b'{"name": "you"}') == (200, {"hello": "you"})
        assert here.call(each, b"{no")[0] == 400
        place = {"id": case.ids()[number], "region": case.regions[number], "memory_mb": 512}
        assert {**each, "address": ""} == {**case.endpoint, **place, "address": ""}

    again = json.loads(fiso(case, *both, "--yes", "--json").stdout)["done"]
    assert (again["made"], again["changed"], again["removed"]) == ([], [], [])
    Path("greet/handler.py").write_text(HANDLER.replace("hello", "bye"))
    changed = json.loads(fiso(case, *both, "--yes", "--json").stdout)["done"]["changed"]
    assert changed == case.changed or not case.changed
    assert here.call(endpoints()[1], b'{"name": "you"}') == (200, {"bye": "you"})

    assert "remove" in fiso(case, *one, "--plan").output
    assert "and remove 1 copy?" in fiso(case, *one, code=1, says="n\n").output
    assert len(endpoints()) == 2
    assert json.loads(fiso(case, *one, "--yes", "--json").stdout)["done"]["removed"]
    assert [each["id"] for each in endpoints()] == case.ids()[:1]
    assert here.call(endpoints()[0], b'{"name": "you"}') == (200, {"bye": "you"})
    assert not json.loads(fiso(case, *one, "--yes", "--json").stdout)["done"]["removed"]

    fiso(case, "other", "--destroy", "--yes")
    assert here.things() > 0
    assert "their endpoints are out of fiso.yaml" in fiso(case, "greet", "--destroy", "--yes").output
    fiso(case, "--destroy", "--yes")
    assert Path("fiso.yaml").read_text() == CATALOG
    assert here.things() == 0
    assert fiso(case, "--destroy", "--yes").output.startswith("stage local has nothing on ")


def test_a_process_that_is_killed_leaves_a_lock_that_the_next_run_takes_over_at_once(case: Case, here: Cloud) -> None:
    fiso(case, "greet", "--regions", case.regions[0], "--yes")
    Path("greet/handler.py").write_text(HANDLER.replace("hello", "bye"))
    here.stall()
    command = [sys.executable, "-c", "from fiso_cli.main import app; app()"]
    command += ["deploy", case.word, "--stage", "local", "greet", "--regions", case.regions[0], "--yes"]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "shared", ROOT / "scripts")))}
    process = subprocess.Popen(command, env=around, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while here.holder().split(" ")[2:3] != [str(process.pid)]:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert here.holder().split(" ")[2:3] == [str(process.pid)]
    fiso(case, "greet", "--regions", case.regions[0], "--yes")
    assert here.holder() in ("", "-")


def test_what_cannot_be_is_one_line_and_nothing_is_made(case: Case, here: Cloud) -> None:
    Path("empty").mkdir()
    Path("broken.yaml").write_text("a: b: c")
    for words, line in (*OF_EVERY, *case.bad):
        result = fiso(case, *words, code=2)
        assert line in result.output, words
        assert "Traceback" not in result.output
    assert here.things() == 0
