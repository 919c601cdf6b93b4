"""The packages as they are deployed: what is in them, and that their handlers import from them alone, here and under
the deployed interpreter where there is one."""

import ast
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fiso.learning.export import serving_rows
from fiso.prediction import artifact
from fiso_cli.packaging import archive
from fiso_cli.packaging.build import ROOT, build
from fiso_cli.packaging.manifest import ACCESS_LAYER, PACKAGES, FunctionPackage
from fiso_cli.packaging.report import BuildReport
from fiso_cli.packaging.target import host_system, lambda_target
from functions.orchestrator.wiring import WITHOUT_ACCESS_LAYER
from tests.models import generated_halves, packaged

SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
HEAVY = {"numpy", "scipy", "sklearn", "joblib", "pandas", "flask", "psycopg2"}
IMPORT = """
import importlib, sys
task, name, *services = sys.argv[1:]
sys.path[:0] = [task, task + "/shared"]
importlib.import_module(f"functions.{name}.handler")
for service in services:
    import boto3
    boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
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


def unpack(report: BuildReport, name: str, folder: Path) -> None:
    paths = {built.name: ROOT / built.path for built in report.built}
    with zipfile.ZipFile(paths[name]) as opened:
        opened.extractall(folder)


@dataclass(frozen=True)
class Under:
    """Packages, an interpreter that they are for, and where they are unpacked, each once."""

    python: Path
    report: BuildReport
    folder: Path

    def task(self, name: str) -> Path:
        task = self.folder / name
        if not task.exists():
            unpack(self.report, name, task)
        return task


@pytest.fixture(scope="module", params=["of this machine", "of Lambda"])
def under(request: pytest.FixtureRequest, report: BuildReport, tmp_path_factory: pytest.TempPathFactory) -> Under:
    folder = tmp_path_factory.mktemp("tasks")
    if request.param == "of this machine":
        return Under(Path(sys.executable), report, folder)
    target = lambda_target("x86_64")
    if target.compiler is None or host_system() != ("linux", "x86_64"):
        pytest.skip(f"no python{target.python} is here")
    return Under(target.compiler, build("x86-64", architecture="x86_64"), folder)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_handler_imports_and_makes_its_clients_from_its_package_alone(package: FunctionPackage, under: Under) -> None:
    words = (str(under.task(package.name)), package.name, *sorted(package.aws_services))
    command = [str(under.python), "-I", "-S", "-c", IMPORT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    if package.name in ("orchestrator", "stream_consumer", "sample_aws"):
        assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_sdks_models_that_are_shipped_are_those_of_clients_that_are_made(package: FunctionPackage) -> None:
    made = set()
    for path in (ROOT / "functions" / package.name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "boto3.client":
                made.add(ast.literal_eval(node.args[0]))
    assert made == package.aws_services


TRAIN_AND_READ = """
import json, pathlib, sys
from hashlib import sha256
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/shared"]
import joblib
from fiso.learning import dataset, export, synthetic, train
from fiso.prediction import artifact

def said(data):
    model = artifact.read(data, sha256=sha256(data).hexdigest())
    assert set(joblib.load(__import__("io").BytesIO(data))) >= {"format", "version", "targets"}
    rows = export.serving_rows(halves.held_out).tolist()[:50]
    return [list(model.predict(row)) for row in rows]

halves = dataset.split(synthetic.generate(600))
files = export.package(train.train(halves.train), halves, export.Origin(version_prefix="m", trained_at=None))
print(json.dumps([said(files.artifact), said(pathlib.Path(sys.argv[2]).read_bytes())]))
"""


def test_the_retrainer_trains_and_reads_models_as_this_machine_does(under: Under) -> None:
    (champion,) = (ROOT / "ml_artifacts").glob("*/model.joblib")
    command = [str(under.python), "-I", "-S", "-c", TRAIN_AND_READ, str(under.task("retrainer")), str(champion)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    trained, read = json.loads(done.stdout)
    rows = serving_rows(generated_halves().held_out).tolist()[:50]
    for said, data in ((trained, packaged().artifact), (read, champion.read_bytes())):
        model = artifact.read(data, sha256=hashlib.sha256(data).hexdigest())
        assert said == [pytest.approx(list(model.predict(row)), rel=1e-9) for row in rows]


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
    report: BuildReport, tmp_path: Path
) -> None:
    unpack(report, "orchestrator", tmp_path / "task")
    unpack(report, ACCESS_LAYER, tmp_path / "opt")
    code = [tmp_path / "task", tmp_path / "task" / "shared"]
    without, checked = show_a_token(code), show_a_token([*code, tmp_path / "opt" / "python"])
    assert (without.status, without.has_cryptography) == (503, False)
    assert (checked.status, checked.has_cryptography) == (401, True)
    (line,) = without.log
    assert json.loads(line)["message"].endswith(WITHOUT_ACCESS_LAYER)
    assert checked.log == []


def test_no_package_ships_a_test_and_whoever_uses_the_sdk_ships_it(report: BuildReport) -> None:
    for package in PACKAGES:
        tops = {entry.partition("/")[0].removesuffix(".py") for entry in shipped(report, package.name)}
        assert tops.isdisjoint({"pytest", "tests"})
        assert tops.issuperset(SDK) if package.aws_services else tops.isdisjoint({"boto3", "botocore"})


def test_locks_name_no_registry() -> None:
    locks = [ROOT / "requirements.txt", *ROOT.glob("functions/*/requirements.*"), *ROOT.glob("scripts/requirements/*")]
    assert locks
    assert not [lock for lock in locks if "://" in lock.read_text()]
