"""Every field that a log line is given is one that lines may have; the formatter leaves out any other."""

import ast
from collections.abc import Iterator
from pathlib import Path

from fiso import telemetry
from fiso.services.log import spill

ROOT = Path(__file__).parents[2]
CONSTANTS = {"MARK": spill.MARK}


def fields_given(tree: ast.AST) -> Iterator[str]:
    """The keys of each `extra=`, a literal there or one that its name was given; `?` where neither is to be seen."""
    literals = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in ([node.target] if isinstance(node, ast.AnnAssign) else node.targets)
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "extra":
                    yield from keys_of(keyword.value, literals)


def keys_of(value: ast.expr, literals: dict[str, ast.expr | None]) -> Iterator[str]:
    found = literals.get(value.id) if isinstance(value, ast.Name) else value
    if not isinstance(found, ast.Dict):
        yield "?"
        return
    for key in found.keys:
        yield str(key.value) if isinstance(key, ast.Constant) else CONSTANTS.get(getattr(key, "id", ""), "?")


def test_every_field_given_to_a_line_may_be_on_it() -> None:
    sources = [path for folder in ("shared/fiso", "functions") for path in (ROOT / folder).rglob("*.py")]
    given = {
        f"{path.relative_to(ROOT)}: {field}"
        for path in sources
        for field in fields_given(ast.parse(path.read_text(encoding="utf-8")))
        if field not in telemetry.LOGGED
    }
    assert given == set()
