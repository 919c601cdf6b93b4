"""The `fiso` command itself: quick help, failures in one line."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from fiso_cli.errors import CommandError, CommandGroup
from fiso_cli.main import COMMANDS, app

runner = CliRunner()


def test_help_lists_every_command_and_imports_none() -> None:
    script = "import sys; from fiso_cli.main import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *_, modules = done.stdout.splitlines()
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    loaded = {module for module in modules.split() if module.startswith("fiso")}
    assert loaded == {"fiso_cli", "fiso_cli.errors", "fiso_cli.main"}
    assert "boto3" not in modules.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_has_help(name: str) -> None:
    shown = runner.invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage" in shown.output


def test_a_misspelt_command_is_corrected() -> None:
    shown = runner.invoke(app, ["locl"])
    assert shown.exit_code == 2
    assert "'local'" in shown.output


def test_a_command_error_is_told_without_a_traceback() -> None:
    group = typer.Typer(cls=CommandGroup)

    @group.callback()
    def root() -> None: ...

    @group.command()
    def fails() -> None:
        raise CommandError("the oven is cold: light it")

    shown = runner.invoke(group, ["fails"])
    assert shown.exit_code == 1
    assert shown.stderr == "error: the oven is cold: light it\n"
    assert shown.stdout == ""


@pytest.mark.parametrize("name", ["demo", "local", "token"])
def test_a_command_of_the_local_cloud_says_how_to_get_it_where_it_is_absent(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.startswith("localcloud.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "localcloud", None)  # as import machinery marks what is not there
    shown = runner.invoke(app, [name, "--help"])
    assert shown.exit_code == 1
    assert f"`fiso {name}` needs the local cloud: it comes with the checkout" in shown.output
    assert len(shown.output.strip().splitlines()) == 1
