"""Rendering: tables, figures as JSON, and progress, the same for every command."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fiso_cli.errors import CommandError

WIDTH_OF_FILES = 120
"""Columns where standard output is no terminal."""
Document = Mapping[str, object]


def table(
    title: str, left: Sequence[str], right: Sequence[str], rows: Iterable[Sequence[str]], *, bold: int = 0
) -> Table:
    """Columns aligned left, then right; the first `bold` rows stand out."""
    made = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in left:
        made.add_column(name, no_wrap=True)
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        made.add_row(*row, style="bold" if number < bold else None)
    return made


def show(*parts: Table | Iterable[str]) -> None:
    """Tables, and lines as they are, on standard output."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
    for part in parts:
        if isinstance(part, Table):
            console.print(part)
        else:
            for line in part:
                console.print(line, soft_wrap=True, markup=False)


def write_json(path: Path, document: Document) -> None:
    """One document into a file. `CommandError` when it cannot be written."""
    try:
        path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror}") from error


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on standard error that vanish at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield shown
