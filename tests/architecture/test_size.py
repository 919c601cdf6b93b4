"""What fits on a page can be read in one sitting: no file over 500 lines, no function over 60."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_FUNCTION = 500, 60


def sources() -> list[Path]:
    """All Python of the project; what the functions are packaged with is not its own."""
    return [path for folder in ("shared", "scripts", "functions", "tests") for path in (ROOT / folder).rglob("*.py")]


def too_long(path: Path) -> Iterator[str]:
    """What of a file is too long, with its place."""
    name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{name}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{name}:{node.lineno} {node.name}: {length} lines"


def test_no_file_and_no_function_is_too_long() -> None:
    assert [line for path in sources() for line in too_long(path)] == []
