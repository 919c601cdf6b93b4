"""The three distributions, each installed alone into an empty environment, as `pip install` would.

Our own come from what is built here; everybody else's from the cache or the registry, at the versions that are locked.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from fiso_cli.commands import HOW_TO_GET_IT, LOCAL_CLOUD
from tests.documented import programs
from tests.functional.lease_servers import World

ROOT = Path(__file__).parents[2]
NAMES = ("fiso-client", "fiso", "fiso-cli")
ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "UV_SYSTEM_CERTS": "true"} | {
    name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_", "XDG_"))
}


def run(*words: str | Path, cwd: Path, **environ: str) -> str:
    ran = subprocess.run(words, cwd=cwd, env=ENVIRON | environ, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    for name in NAMES:
        build: list[str | Path] = [
            find_uv_bin(),
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
        ]
        run(*build, "--out-dir", folder, ROOT / "scripts" / "distributions" / name, cwd=folder)
    return folder


def installed(what: str, dist: Path, folder: Path) -> Path:
    """The commands of a new environment with one distribution and what it needs."""
    run(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder / "env", cwd=folder)
    sources: list[str | Path] = [
        "--find-links",
        dist,
        "--constraints",
        ROOT / "requirements.txt",
        "--only-binary",
        ":all:",
    ]
    python = folder / "env" / "bin" / "python"
    run(find_uv_bin(), "pip", "install", "--quiet", "--python", python, *sources, what, cwd=folder)
    return python.parent


def distributions(commands: Path, folder: Path) -> set[str]:
    listed = run(
        find_uv_bin(), "pip", "list", "--quiet", "--python", commands / "python", "--format", "freeze", cwd=folder
    )
    return {line.partition("==")[0] for line in listed.split()}


@pytest.fixture(scope="module")
def client(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed("fiso-client", dist, tmp_path_factory.mktemp("client"))


def test_the_client_comes_alone_and_calls(client: Path, tmp_path: Path) -> None:
    assert distributions(client, tmp_path) == {"fiso-client"}
    world = World()
    try:
        for program in programs("client.md"):
            said = run(client / "python", "-c", program, cwd=tmp_path, FISO_URL=world.url)
            assert said.splitlines()[-1] == "reported: 1"
    finally:
        world.close()


def test_the_clients_types_reach_who_installs_it(client: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from fiso_client import Client, Request\n"
        "answer = Client('https://fiso.example').call('f', Request(body=b''))\n"
        "reveal_type(answer.status)\nreveal_type(answer.billed_ms)\n"
    )
    mypy: list[str | Path] = [sys.executable, "-m", "mypy", "--strict", "--python-executable", client / "python"]
    said = run(*mypy, "--config-file", os.devnull, "--cache-dir", tmp_path / "cache", program, cwd=tmp_path)
    assert 'Revealed type is "int"' in said
    assert 'Revealed type is "float | None"' in said


IMPORT_ALL = """
import importlib, pkgutil, sys
import fiso
skipped = tuple(sys.argv[1:])
for module in pkgutil.walk_packages(fiso.__path__, "fiso."):
    if not module.name.startswith(skipped):
        importlib.import_module(module.name)
import fiso_client, functions.orchestrator.handler, functions.stream_consumer.handler
"""
OF_EXTRAS = (
    *("fiso.learning", "fiso.services.maintenance.retrain", "fiso.adapters.postgres"),
    "fiso.services.maintenance.trial",
    "fiso.services.maintenance.watch",
    *("fiso.adapters.identity.jwt_tokens", "fiso.adapters.identity.sealing"),
)


def test_the_library_imports_without_extras_and_tests_against_itself(dist: Path, tmp_path: Path) -> None:
    commands = installed("fiso", dist, tmp_path)
    run(commands / "python", "-c", IMPORT_ALL, *OF_EXTRAS, cwd=tmp_path)
    for program in programs("testing.md"):
        run(commands / "python", "-c", program, cwd=tmp_path)


HANDLERS = "import functions.console.handler, functions.keeper.handler, functions.retrainer.handler"


def test_with_its_extras_the_library_is_whole(dist: Path, tmp_path: Path) -> None:
    commands = installed("fiso[console,learning,postgres,tokens]", dist, tmp_path)
    run(commands / "python", "-c", IMPORT_ALL + HANDLERS, "-", cwd=tmp_path)


LOAD_ALL = f"""
from fiso_cli.local_stage import MODELS
from fiso_cli.commands import Group, load
from fiso_cli.main import COMMANDS
for word, entry in COMMANDS.items():
    for name, command in (entry.commands if isinstance(entry, Group) else {{word: entry}}).items():
        if not command.target.startswith("{LOCAL_CLOUD}."):
            load(name, command)
assert (MODELS / "champion.json").is_file()
"""


def test_the_command_line_comes_with_its_data_and_says_what_needs_the_checkout(dist: Path, tmp_path: Path) -> None:
    commands = installed("fiso-cli", dist, tmp_path)
    assert "invoke" in run(commands / "fiso", "--help", cwd=tmp_path)
    run(commands / "python", "-c", LOAD_ALL, cwd=tmp_path)
    for words, way_out in ((["demo"], HOW_TO_GET_IT), (["package", "--stage", "prod"], "no serverless.yml in")):
        refused = subprocess.run([commands / "fiso", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (refused.returncode, way_out in refused.stderr) == (1, True), refused.stderr
