"""docs/security.md and the tests that it names: a boundary without a test that is there is no boundary."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(\w+))?`")


def boundaries() -> list[str]:
    table = PAGE.partition("## Trust boundaries")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("|")][2:]


def named(text: str) -> list[tuple[str, str]]:
    """The files and, where it says which, the tests that a text names."""
    return [(path, test) for path, test in _NAMED.findall(text) if path.startswith("tests/")]


@cache
def known_in(path: str) -> frozenset[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module(body=[], type_ignores=[])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing(text: str) -> Iterator[str]:
    for path, test in named(text):
        if not (ROOT / path).exists() or (test and test not in known_in(path)):
            yield f"{path}::{test}"


def test_every_test_that_the_page_names_is_there() -> None:
    assert list(missing(PAGE)) == []


@pytest.mark.parametrize("row", boundaries())
def test_every_boundary_has_a_test_by_name(row: str) -> None:
    assert [test for _, test in named(row) if test.startswith("test_")]


def test_every_file_of_attacks_holds_a_boundary() -> None:
    attacks = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/security").glob("test_*.py")}
    assert attacks <= {path for row in boundaries() for path, _ in named(row)}


@pytest.mark.parametrize(
    "text", ["`tests/security/test_desync.py::test_of_another_name`", "`tests/security/test_no_such.py`"]
)
def test_a_test_that_is_not_there_is_found(text: str) -> None:
    assert list(missing(text))
