"""The `fiso` command itself: version, help, failures in one line, completion."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fiso import __version__
from fiso_cli.commands import CommandGroup, Commands, Group, Lazy
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.main import COMMANDS, app
from fiso_cli.rendering import Output

runner = CliRunner()
HEAVY = (
    "aiohttp", "asyncio", "boto3", "botocore", "cryptography", "flask", "httpx", "joblib", "jsonschema_rs", "jwt",
    "matplotlib", "numpy", "psycopg2", "rich", "scipy", "sklearn", "yaml",
)  # fmt: skip
"""What takes its time to import and draws, asks or computes something: no help needs it."""


def leaves(entries: Commands) -> Iterator[tuple[str, ...]]:
    for name, entry in entries.items():
        yield from ((name, word) for word in entry.commands) if isinstance(entry, Group) else ((name,),)


LEAVES = list(leaves(COMMANDS))


def python(script: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **environ}
    )
    return done.stdout


def test_help_lists_every_command_and_imports_none() -> None:
    shown = python(
        "import sys; from fiso_cli.main import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    *_, modules = shown.splitlines()
    for name in COMMANDS:
        assert f" {name} " in shown
    loaded = {module for module in modules.split() if module.startswith("fiso")}
    assert loaded == {f"fiso_cli{part}" for part in ("", ".commands", ".errors", ".main", ".rendering")}
    assert not set(HEAVY) & set(modules.split())


def test_no_help_imports_what_is_heavy() -> None:
    """In one process: what the first help loaded, the last must not need either."""
    script = f"""
import sys
from fiso_cli.main import app
for words in {LEAVES!r}:
    app([*words, "--help"], standalone_mode=False)
    for module in {HEAVY!r}:
        if sys.modules.pop(module, None):
            print("LOADED", *words, module)
"""
    assert [line for line in python(script).splitlines() if line.startswith("LOADED")] == []


def test_alone_it_helps_and_asked_it_says_its_version() -> None:
    for words in ([], ["local"], ["policy"]):
        alone = runner.invoke(app, words)
        assert (alone.exit_code, alone.stderr) == (0, "")
        assert "Commands:" in alone.stdout
    assert runner.invoke(app, ["--version"]).stdout == f"fiso {__version__}\n"


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_help_has_an_example_and_json_and_fits(words: tuple[str, ...]) -> None:
    shown = runner.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert any(line.startswith(f"  fiso {' '.join(words)}") for line in lines), "no example"
    assert any(line.startswith("  --json ") for line in lines), "no --json"
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("words", [(), ("policy",), *LEAVES], ids=" ".join)
def test_an_unknown_option_is_one_line_and_exit_2(words: tuple[str, ...]) -> None:
    refused = runner.invoke(app, [*words, "--no-such-option"], prog_name="fiso")
    assert (refused.exit_code, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ")
    assert "--no-such-option" in line
    assert line.endswith(f"({' '.join(['fiso', *words])} --help)")


@pytest.mark.parametrize("words", [(), *((name,) for name, entry in COMMANDS.items() if isinstance(entry, Group))])
def test_the_help_of_a_group_fits_and_has_an_example(words: tuple[str, ...]) -> None:
    shown = runner.invoke(app, [*words, "--help"], prog_name="fiso")
    assert [line for line in shown.stdout.splitlines() if len(line) > 80] == []
    assert f"fiso {' '.join([*words, ''])}" in " ".join(shown.stdout.partition("Commands:")[0].split("\n  ")[1:])


WRONG = (
    ["one", "two", "three", "four", "five", "\x1b[1m", "\udcff"],
    ["--stage"],
    ["--stage", "A B"],
    ["--json=1"],
    ["-%"],
)
"""Too many words, and such as no option takes. No command gets as far as doing something."""


@pytest.mark.parametrize("wrong", WRONG, ids=ascii)
@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_what_no_command_takes_is_one_line_without_a_traceback(words: tuple[str, ...], wrong: list[str]) -> None:
    usage, _, options = runner.invoke(app, [*words, "--help"]).stdout.partition("\n")
    if (wrong[0] == "--stage" and "--stage" not in options) or (
        wrong[0] == "one" and usage.endswith(("...", "\u2026"))
    ):
        return  # it is none of its options, or it takes any number of words
    refused = runner.invoke(app, [*words, *wrong], prog_name="fiso", env={"FISO_LOCAL_DIR": "/nowhere"})
    assert isinstance(refused.exception, SystemExit), refused.exception
    assert refused.exit_code == 2, refused.output
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()


def test_a_misspelt_command_is_corrected() -> None:
    shown = runner.invoke(app, ["locl"])
    assert shown.exit_code == 2
    assert "'local'" in shown.output


@pytest.mark.parametrize(("words", "way_out"), [(("replay", "--trace", "t"), "--out FILE"), (("endpoints",), "> FILE")])
def test_a_file_after_json_is_told_where_it_goes_now(words: tuple[str, ...], way_out: str) -> None:
    shown = runner.invoke(app, [*words, "--json", "figures.json"])
    assert shown.exit_code == 2
    assert f"--json is a flag: {way_out} writes a file" in shown.stderr


@dataclass
class Small:
    """A tree of one command, which stands here."""

    function: str

    def run(self, *words: str) -> Result:
        kind = type("Kind", (CommandGroup,), {"entries": {"cook": Lazy(f"{__name__}:{self.function}", "Cook.")}})
        group = typer.Typer(cls=kind, rich_markup_mode=None)
        group.callback()(lambda: None)
        return runner.invoke(group, ["cook", *words])


def finds() -> Output:
    return Output(document={"soup": 1}, shown=["a soup"], remarks=["hot"])


def counts() -> Iterator[Output]:
    yield Output(shown=["soups:"])
    yield from (Output(document={"soup": number}, shown=[f"soup {number}"]) for number in range(2))


def fails() -> Output:
    raise CommandError("the oven is cold: light it")


def refuses() -> Output:
    raise BadInput("--oven: there is none")


def test_what_a_command_found_is_shown_or_with_json_its_document() -> None:
    assert (Small("finds").run().stdout, Small("finds").run().stderr) == ("a soup\n", "hot\n")
    assert Small("finds").run("--json").stdout == '{\n  "soup": 1\n}\n'
    assert Small("counts").run().stdout == "soups:\nsoup 0\nsoup 1\n"
    assert Small("counts").run("--json").stdout == '{"soup": 0}\n{"soup": 1}\n'


@pytest.mark.parametrize(
    ("function", "code", "line"), [("fails", 1, "the oven is cold: light it"), ("refuses", 2, "--oven: there is none")]
)
def test_a_failure_is_told_without_a_traceback(function: str, code: int, line: str) -> None:
    shown = Small(function).run()
    assert (shown.exit_code, shown.stdout, shown.stderr) == (code, "", f"error: {line}\n")


@pytest.mark.parametrize("name", ["demo", "local", "token"])
def test_a_command_of_the_local_cloud_says_how_to_get_it_where_it_is_absent(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.startswith("localcloud.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "localcloud", None)  # as import machinery marks what is not there
    words = [name, "up"] if name == "local" else [name]
    shown = runner.invoke(app, [*words, "--help"])
    assert shown.exit_code == 1
    assert f"`fiso {words[-1]}` needs the local cloud: it comes with the checkout" in shown.output
    assert len(shown.output.strip().splitlines()) == 1


def completed(shell: str, line: str) -> set[str]:
    """What a shell is told when TAB is pressed at the end of the line, by the protocol of its completion script."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1]}
    shown = runner.invoke(app, env={**asked, "_FISO_COMPLETE": f"complete_{shell}"}, prog_name="fiso").stdout
    if shell == "zsh":
        return {part.split('"')[1].partition(":")[0] for part in shown.splitlines() if '"' in part}
    return {part.partition("\t")[0] for part in shown.splitlines() if part}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_functions_and_stages(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed(shell, "fiso invoke co") == set()
    Path("fiso.yaml").write_text("version: 1\nfunctions:\n  compress:\n    type: x\n  'count':\n    type: y\n")
    Path("build/prod").mkdir(parents=True)
    Path("build/prod/cloudformation-template.json").touch()
    assert completed(shell, "fiso e") == {"experiment", "explain", "endpoint", "endpoints", "export"}
    assert completed(shell, "fiso policy r") == {"rollback"}
    assert completed(shell, "fiso invoke --req") == {"--requests"}
    assert completed(shell, "fiso invoke co") == {"compress", "count"}
    assert completed(shell, "fiso endpoints --stage ") == {"local", "prod"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_by_the_variable_that_is_answered(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = runner.invoke(app, ["--show-completion", shell], prog_name="fiso")
    assert f"_FISO_COMPLETE=complete_{shell}" in shown.stdout


def in_bash(line: str, folder: Path) -> list[str]:
    """What a real bash offers at the end of the line, once it has read the script."""
    program = folder / "bin/fiso"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!{sys.executable}\nfrom fiso_cli.main import app\napp(prog_name='fiso')\n")
    program.chmod(0o755)
    script = """
        source <(fiso completion bash)
        read -ra COMP_WORDS <<< "$1"; [[ "$1" == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        "$(complete -p fiso | sed 's/.*-F \\([^ ]*\\).*/\\1/')" fiso
        printf '%s\n' "${COMPREPLY[@]}"
    """
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": ":".join(sys.path)}
    words = ["bash", "--norc", "-c", script, "bash", line]
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_real_bash_completes_by_the_script(tmp_path: Path) -> None:
    (tmp_path / "fiso.yaml").write_text("version: 1\nfunctions:\n  compress:\n    type: x\n")
    assert in_bash("fiso comp", tmp_path) == ["compare", "completion"]
    assert in_bash("fiso completion ", tmp_path) == ["bash", "zsh", "fish"]
    assert in_bash("fiso explain ", tmp_path) == ["compress"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_by_the_variable_that_is_answered(shell: str) -> None:
    shown = runner.invoke(app, ["completion", shell], prog_name="fiso")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert f"_FISO_COMPLETE=complete_{shell}" in shown.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=shown.stdout, text=True, check=True)
