"""Set-up on machines that lack something: one line and the way out, before anything is written."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fiso_cli.local_stage import CHECKOUT

TOOLS = ("bash", "dirname", "sha256sum", "cut", "cat", "mkdir", "rm")


class Machine:
    """A checkout with nothing but the script, and a PATH with nothing but what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.checkout, self.path = root / "checkout", root / "bin"
        (self.checkout / "scripts").mkdir(parents=True)
        self.path.mkdir()
        shutil.copy(CHECKOUT / "scripts" / "setup", self.checkout / "scripts" / "setup")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.path / tool).symlink_to(found)
        self.tool("uname", 'case "$1" in -s) echo Linux;; -m) echo x86_64;; esac')
        self.tool("node", "echo v22.13.0")
        self.tool("npm", "exit 0")
        self.tool("python3", "exit 0")

    def tool(self, name: str, script: str) -> None:
        file = self.path / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    def set_up(self) -> str:
        done = subprocess.run(
            [str(self.checkout / "scripts" / "setup")],
            env={"PATH": str(self.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        return done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({}, "python3"),
        ({"python3.13": "exit 0", "python3.12": "exit 0"}, "python3.13"),
        ({"python3.14": "exit 127", "python3.12": "exit 0"}, "python3.12"),
        ({"python3.14": 'case "$2" in *ensurepip*) exit 1;; esac', "python3.13": "exit 0"}, "python3.13"),
    ],
)
def test_the_newest_python_that_can_make_environments_is_taken(
    machine: Machine, there: dict[str, str], taken: str
) -> None:
    for name, script in there.items():
        machine.tool(name, script)
    assert f".venv ({machine.path / taken}) ..." in machine.set_up()


@pytest.mark.parametrize(
    ("tool", "script", "told"),
    [
        ("uname", "echo Darwin", "needs Linux, this is Darwin: use WSL2"),
        ("uname", 'case "$1" in -s) echo Linux;; -m) echo aarch64;; esac', "needs x86-64, this is aarch64"),
        ("node", "exit 127", "Node is missing: install Node 20.19, 22.13 or 24 or newer"),
        ("node", "echo v18.19.1", "Node v18.19.1 does not do: install Node 20.19"),
        ("node", "echo v20.18.3", "Node v20.18.3 does not do"),
        ("node", "echo v22.12.0", "Node v22.12.0 does not do"),
        ("node", "echo v23.11.0", "Node v23.11.0 does not do"),
        ("python3", "exit 1", "Python 3.11 or newer is needed"),
        ("python3", 'case "$2" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
    ],
)
def test_what_is_missing_is_told_in_one_line(machine: Machine, tool: str, script: str, told: str) -> None:
    machine.tool(tool, script)
    message = machine.set_up()
    assert message.startswith("error: ")
    assert told in message
    assert message.count("\n") == 1


def test_no_npm_is_told_in_one_line(machine: Machine) -> None:
    (machine.path / "npm").unlink()
    assert machine.set_up() == "error: npm is missing: install the one that comes with Node\n"


def test_the_wrong_machine_is_told_before_anything_is_written(machine: Machine) -> None:
    machine.tool("node", "echo v18.0.0")
    machine.set_up()
    assert [path.name for path in machine.checkout.iterdir()] == ["scripts"]
