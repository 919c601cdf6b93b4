"""The documentation as a site: whole, no dead link, no request to elsewhere; every command and error is in it."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand

from fiso.domain.errors import HttpError
from fiso_cli.commands import Group, load
from fiso_cli.main import COMMANDS
from tests.documented import fiso_commands

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LEAVES = [
    (name, word) if word else (name,)
    for name, entry in COMMANDS.items()
    for word in (entry.commands if isinstance(entry, Group) else [""])
]
EDGES = ("functions/orchestrator", "functions/server")
_OWN = re.compile(r"^https?://(?!127\.0\.0\.1|localhost)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def problems() -> Iterator[tuple[str, int]]:
    """Title and status of each problem document, of the classes and where one is made by hand."""
    todo = [HttpError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if hasattr(kind, "title"):
            yield kind.title, kind.status
    for file in (file for edge in EDGES for file in (ROOT / edge).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("problem", "_Refused")
            ):
                match node.args:
                    case [ast.Constant(int(status)), ast.Constant(str(title)), *_]:
                        yield title, status


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    asked = [
        (page.relative_to(site).as_posix(), address)
        for page in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|img|iframe|link rel=\"?stylesheet)[^>]*>", page.read_text(encoding="utf-8"))
        for address in re.findall(r"(?:src|href)=\"?([^\" >]+)", tag)
        if _OWN.match(address)
    ]
    assert asked == []


def test_every_page_is_found_from_the_first_one_and_by_programs(site: Path) -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    top = [page.name for page in (ROOT / "docs").glob("*.md")]
    assert [name for name in top if f" {name}\n" not in nav] == []
    listed = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert len(listed) >= len(top)
    assert [place for place in listed if not (site / place / "index.html").is_file()] == []


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "reference/commands/index.html").read_text(encoding="utf-8")
    assert [words for words in LEAVES if f"Usage: fiso {' '.join(words)}" not in text] == []


def test_every_problem_has_a_page_with_its_status_and_no_page_is_of_none() -> None:
    known = {title.lower().replace(" ", "-"): status for title, status in problems()}
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs/errors").glob("*.md")}
    assert set(known) == set(pages)
    assert [slug for slug, text in pages.items() if f"`{known[slug]}`, `urn:fiso:problem:{slug}`" not in text] == []
    assert [
        slug for slug, text in pages.items() if "**Has the function run?**" not in text or "**What to do.**" not in text
    ] == []


def metrics() -> Iterator[str]:
    """The names that the functions count something under."""
    for file in (file for folder in ("shared", "functions") for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
                match node.args:
                    case [ast.Constant(str(name)), _, *_]:
                        yield name


def test_every_metric_is_told_and_none_that_is_not() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    told = {
        name for row in page.splitlines() if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert told == set(metrics())


def command_of(words: list[str]) -> tuple[TyperCommand, list[str]]:
    """The genuine command, and what it is given."""
    entry, rest = COMMANDS[words[1]], words[2:]
    if isinstance(entry, Group):
        return load(rest[0], entry.commands[rest[0]]), rest[1:]
    return load(words[1], entry), rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_is_there_with_its_options(page: Path) -> None:
    for words in fiso_commands(page.read_text(encoding="utf-8")):
        if words[1].startswith("-"):
            continue
        command, given = command_of(words)
        taken = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {
            "--json",
            "--help",
        }
        options = {word.partition("=")[0] for word in given if word.startswith("-") and len(word) > 1}
        assert options <= taken, " ".join(words)


def test_a_command_that_is_not_there_would_be_found() -> None:
    text = "```sh\nfiso endpoints --stage prod | head  # a table\nsleep 1 && fiso no-such\n```\n"
    assert fiso_commands(text) == [["fiso", "endpoints", "--stage", "prod"], ["fiso", "no-such"]]
    with pytest.raises(KeyError):
        command_of(["fiso", "no-such"])
