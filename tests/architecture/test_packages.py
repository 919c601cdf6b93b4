"""The packages as they are deployed: what is in them, and that their handlers import from them alone."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fiso_cli.packaging import archive
from fiso_cli.packaging.build import ROOT, build
from fiso_cli.packaging.manifest import ACCESS_LAYER, PACKAGES
from fiso_cli.packaging.report import BuildReport
from functions.orchestrator.wiring import WITHOUT_ACCESS_LAYER

HEAVY = {"numpy", "scipy", "sklearn", "joblib", "pandas", "flask", "psycopg2"}
# Lambda's runtime brings boto3; here it stands for the runtime, after everything that the package ships.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")

IMPORT = """
import importlib, sys
task, runtime, name = sys.argv[1:]
sys.path[:0] = [task, task + "/shared"]
sys.path.append(runtime)
importlib.import_module(f"functions.{name}.handler")
print(*sorted(module.partition(".")[0] for module in sys.modules))
"""


SHOW_A_TOKEN = """
import json, sys
sys.path[:0] = sys.argv[1:]
from functions.orchestrator.handler import lambda_handler
class Context:
    def get_remaining_time_in_millis(self): return 1000
event = json.loads(sys.stdin.read())
lambda_handler(event, Context())
print(json.dumps([lambda_handler(event, Context())["statusCode"], "cryptography" in sys.modules]))
"""
UNSIGNED = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.e30.e30"  # refused before any key of the issuer is looked for
BY_TOKEN = {
    "FISO_STAGE": "prod",
    "FISO_LOG_TABLE": "l",
    "FISO_STATE_TABLE": "s",
    "FISO_BUCKET": "b",
    "FISO_AUTH": "jwt",
    "FISO_JWT_ISSUER": "https://issuer.example",
    "FISO_JWT_AUDIENCE": "fiso",
    **dict.fromkeys(("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "x"),
}


@pytest.fixture(scope="module")
def report() -> BuildReport:
    return build("local")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        module = sys.modules.get(name) or __import__(name)
        source = Path(str(module.__file__))
        source = source.parent if source.name == "__init__.py" else source
        (folder / source.name).symlink_to(source)
    return folder


def unpack(report: BuildReport, name: str, folder: Path) -> None:
    paths = {built.name: ROOT / built.path for built in report.built}
    with zipfile.ZipFile(paths[name]) as opened:
        opened.extractall(folder)


@pytest.mark.parametrize("name", [package.name for package in PACKAGES])
def test_a_handler_imports_from_its_package_alone(
    name: str, report: BuildReport, runtime: Path, tmp_path: Path
) -> None:
    unpack(report, name, tmp_path)
    command = [sys.executable, "-I", "-S", "-c", IMPORT, str(tmp_path), str(runtime), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    if name in ("orchestrator", "stream_consumer", "sample_aws"):
        assert HEAVY.isdisjoint(done.stdout.split())


def shipped(report: BuildReport, name: str) -> Iterator[str]:
    paths = {built.name: ROOT / built.path for built in report.built}
    return archive.names(paths[name])


@pytest.mark.parametrize("name", ["orchestrator", "stream_consumer", "sample_aws"])
def test_the_hot_path_ships_nothing_heavy(name: str, report: BuildReport) -> None:
    assert HEAVY.isdisjoint(entry.partition("/")[0] for entry in shipped(report, name))


def test_what_checks_tokens_is_in_the_access_layer_and_not_with_the_orchestrator(report: BuildReport) -> None:
    checking = {"jwt", "cryptography", "_cffi_backend"}
    tops = {entry.partition("/")[0].partition(".")[0] for entry in shipped(report, "orchestrator")}
    assert tops.isdisjoint(checking)
    folder, below = zip(*(entry.split("/")[:2] for entry in shipped(report, ACCESS_LAYER)), strict=True)
    assert set(folder) == {"python"}
    assert {entry.partition(".")[0] for entry in below} == checking


@dataclass(frozen=True)
class Shown:
    """What a token got, shown twice; `log` are the lines that say that nothing can check it."""

    status: int
    has_cryptography: bool
    log: list[str]


def show_a_token(paths: list[Path]) -> Shown:
    """Two requests with a token of nobody to the packaged handler, which finds modules at `paths` alone."""
    event = {
        "version": "2.0",
        "rawPath": "/v1/endpoints",
        "headers": {"authorization": f"Bearer {UNSIGNED}"},
        "requestContext": {"http": {"method": "GET", "path": "/v1/endpoints"}},
    }
    command = [sys.executable, "-I", "-S", "-c", SHOW_A_TOKEN, *map(str, paths)]
    done = subprocess.run(command, input=json.dumps(event), capture_output=True, text=True, check=True, env=BY_TOKEN)
    *log, last = done.stdout.splitlines()
    status, has_cryptography = json.loads(last)
    said = [line for line in log if "no token can be checked" in line]
    return Shown(status=status, has_cryptography=has_cryptography, log=said)


def test_the_packaged_orchestrator_checks_tokens_with_the_access_layer_and_refuses_them_without(
    report: BuildReport, runtime: Path, tmp_path: Path
) -> None:
    unpack(report, "orchestrator", tmp_path / "task")
    unpack(report, ACCESS_LAYER, tmp_path / "opt")
    code = [tmp_path / "task", tmp_path / "task" / "shared"]
    without, checked = show_a_token([*code, runtime]), show_a_token([*code, tmp_path / "opt" / "python", runtime])
    assert (without.status, without.has_cryptography) == (503, False)
    assert (checked.status, checked.has_cryptography) == (401, True)
    (line,) = without.log
    assert json.loads(line)["message"].endswith(WITHOUT_ACCESS_LAYER)
    assert checked.log == []


def test_no_package_ships_a_test_or_the_runtimes_own_sdk(report: BuildReport) -> None:
    for package in PACKAGES:
        tops = {entry.partition("/")[0] for entry in shipped(report, package.name)}
        assert tops.isdisjoint({"boto3", "botocore", "pytest", "tests"})


def test_locks_name_no_registry() -> None:
    locks = [ROOT / "requirements.txt", *ROOT.glob("functions/*/requirements.*"), *ROOT.glob("scripts/requirements/*")]
    assert locks
    assert not [lock for lock in locks if "://" in lock.read_text()]
