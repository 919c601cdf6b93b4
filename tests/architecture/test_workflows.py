"""The pipeline: workflows by their schema, with pinned actions, few permissions, and commands that there are."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from fiso_cli.commands import load
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.main import COMMANDS

FOLDER = CHECKOUT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    return found


def steps() -> Iterator[dict[str, Any]]:
    for path in FILES:
        for job in workflow(path.stem)["jobs"].values():
            yield from job.get("steps", [])


def lines() -> list[str]:
    """What runs in a shell, line by line."""
    return [line.strip() for step in steps() for line in str(step.get("run", "")).splitlines() if line.strip()]


def test_each_is_a_workflow_by_the_published_schema() -> None:
    """`check-jsonschema` carries the schema, so that nothing is fetched."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, FILES)], capture_output=True, text=True, check=False)
    assert (done.returncode, len(FILES)) == (0, 3), done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path) -> None:
    """A tag can be moved to other code, as tj-actions/changed-files' were in March 2025."""
    for line in path.read_text().splitlines():
        if "uses: " in line:
            used = line.partition("uses: ")[2].strip()
            assert used.startswith("./.github/workflows/") or PINNED.fullmatch(used), used


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_job_may_read_the_repository_and_only_what_deploys_may_ask_for_a_token(path: Path) -> None:
    found = workflow(path.stem)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        asked = job.get("permissions", {"contents": "read"})
        deploys = job.get("uses", "").endswith("deploy-stage.yml") or path.stem == "deploy-stage"
        assert asked == ({"contents": "read", "id-token": "write"} if deploys else {"contents": "read"}), name


def test_no_job_goes_on_for_ever() -> None:
    """Taking on a role can hang without end (aws-actions/configure-aws-credentials#1915)."""
    jobs = [job for path in FILES for job in workflow(path.stem)["jobs"].values() if "steps" in job]
    assert all(job["timeout-minutes"] <= 60 for job in jobs)


def test_nothing_that_somebody_may_name_is_pasted_into_a_shell() -> None:
    """Expressions are put into a script before the shell reads it (GitHub, "Script injections")."""
    assert [line for line in lines() if "${{" in line] == []


def test_no_secret_is_stored() -> None:
    assert [path.name for path in FILES if "secrets." in path.read_text()] == []


def test_tested_packaged_tried_and_then_promoted() -> None:
    jobs = workflow("deploy")["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "test": None,
        "package": "test",
        "dev": "package",
        "prod": "dev",
    }
    named = [step.get("run", step.get("uses", "")) for step in workflow("deploy-stage")["jobs"]["deploy"]["steps"]]
    order = ["download-artifact", "configure-aws", "deploy-diff", "serverless deploy", "fiso smoke", "rollback"]
    places = [next(number for number, line in enumerate(named) if word in line) for word in order]
    assert places == sorted(places)


def test_what_is_run_is_there() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    seen = set()
    for line in lines():
        words = shlex.split(line.replace('${SMOKE_FUNCTION:+"$SMOKE_FUNCTION"}', "bfs").partition("||")[0])
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[0].endswith("/fiso"):
            command = load(words[1], COMMANDS[words[1]])
            command.make_context(words[1], words[2:], resilient_parsing=False).close()
            seen.add(words[1])
    assert seen == {"deploy-diff", "doctor", "smoke"}


def test_a_command_with_an_option_that_there_is_not_would_be_found() -> None:
    with pytest.raises(typer.TyperException):
        load("smoke", COMMANDS["smoke"]).make_context("smoke", ["--stages", "prod"])


DEPLOYED = (("2026-11-28", 1000), ("2026-11-29", 1001), ("2026-11-30", 1002))


def test_the_timestamp_before_the_last_is_what_is_rolled_back_to() -> None:
    """As `serverless deploy list` prints deployments, the oldest first."""
    (line,) = [line for line in lines() if "deploy list" in line]
    shown = "".join(f"{day} 10:00:00 UTC\nTimestamp: {stamp}\nFiles:\n  - a.zip\n" for day, stamp in DEPLOYED)
    script = line.partition("| ")[2].rpartition(")")[0]
    done = subprocess.run(["bash", "-c", script], input=shown, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1001"
