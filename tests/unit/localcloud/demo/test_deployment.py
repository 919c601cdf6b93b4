import sys
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from localcloud.demo.deployment import Deployment, tail


def deployment(folder: Path) -> Deployment:
    return Deployment(root=folder, log=folder / "logs" / "deploy.log", environment={"SAID": "hello"}, stage="local")


def test_what_the_command_says_goes_to_the_log(tmp_path: Path) -> None:
    script = "import os, sys; sys.stdout.write(os.environ['SAID']); sys.stderr.write(' and more')"
    deployment(tmp_path).execute([sys.executable, "-c", script])
    assert sorted((tmp_path / "logs" / "deploy.log").read_text().split()) == ["and", "hello", "more"]


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"(?s)the deployment failed \(exit 3\); .*it broke"):
        deployment(tmp_path).execute([sys.executable, "-c", "import sys; sys.stderr.write('it broke'); sys.exit(3)"])


def test_a_missing_command_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="serverless is not installed: run `make setup`"):
        deployment(tmp_path).run()


def test_a_tail_leaves_out_empty_lines() -> None:
    assert tail("a\n\n b \n\n\nc\n", lines=2) == " b\nc"
