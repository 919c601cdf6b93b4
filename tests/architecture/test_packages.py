"""The packages as they are deployed: what is in them, and that their handlers import from them alone."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fiso_cli.packaging import archive
from fiso_cli.packaging.build import ROOT, build
from fiso_cli.packaging.manifest import PACKAGES
from fiso_cli.packaging.report import BuildReport

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


@pytest.mark.parametrize("name", [package.name for package in PACKAGES])
def test_a_handler_imports_from_its_package_alone(
    name: str, report: BuildReport, runtime: Path, tmp_path: Path
) -> None:
    paths = {built.name: ROOT / built.path for built in report.built}
    with zipfile.ZipFile(paths[name]) as opened:
        opened.extractall(tmp_path)
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


def test_no_package_ships_a_test_or_the_runtimes_own_sdk(report: BuildReport) -> None:
    for package in PACKAGES:
        tops = {entry.partition("/")[0] for entry in shipped(report, package.name)}
        assert tops.isdisjoint({"boto3", "botocore", "pytest", "tests"})


def test_locks_name_no_registry() -> None:
    locks = [*ROOT.glob("functions/*/requirements.*")]
    assert locks
    assert not [lock for lock in locks if "://" in lock.read_text()]
