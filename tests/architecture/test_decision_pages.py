"""Decisions and the code that they explain name each other: no page without code, no reference without its page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {page.name for page in (ROOT / "docs/decisions").glob("*.md")}
_REFERENCE = re.compile(r"decisions/(\d{4})(-[\w.-]+\.md)?")
_SOURCE = re.compile(r"`([\w./-]+\.py)`")


def sources() -> Iterator[Path]:
    """Where a page may be named from: all code but tests, and what it is deployed by."""
    for folder in ("shared", "functions", "scripts"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml", ".sql"))
    yield ROOT / "serverless.yml"


def references(text: str) -> set[str]:
    """The pages that a text names, by file or by number alone; the reference itself where there is no such page."""
    named = _REFERENCE.findall(text)
    return {
        next((page for page in PAGES if page == number + rest or (not rest and page[:4] == number)), number + rest)
        for number, rest in named
    }


def test_every_page_is_named_from_the_code_that_it_explains_and_every_reference_has_its_page() -> None:
    assert {page for path in sources() for page in references(path.read_text(encoding="utf-8"))} == PAGES


@pytest.mark.parametrize("text", ["docs/decisions/9999", "decisions/0001-of-another-name.md", "decisions/9999-new.md"])
def test_a_reference_without_a_page_is_found(text: str) -> None:
    assert not references(text) <= PAGES


def test_every_module_that_a_document_names_is_there() -> None:
    folders = ("shared", "functions", "scripts", "tests")
    modules = [f"/{path.relative_to(ROOT).as_posix()}" for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {name for page in (ROOT / "docs").rglob("*.md") for name in _SOURCE.findall(page.read_text("utf-8"))}
    assert {name for name in named if not any(module.endswith(f"/{name}") for module in modules)} == set()
