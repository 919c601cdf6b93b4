"""Rendering: how every command prints. Results go to standard output as tables that fit the terminal, or as JSON;
progress and remarks go to standard error.

A pipe and a file get every column whole and no colour. rich is imported when something is drawn: help is not.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import typer

from fiso_cli.errors import FAILED, CommandError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Document: TypeAlias = Mapping[str, object]
Value: TypeAlias = str | Callable[[Any], object]
"""Where a row has what a cell shows: a key (`prediction.source`), or a call. Rows are of any kind."""

UNKNOWN = "-"
GAP = 2
"""Blanks between two columns."""
UNBOUNDED = 100_000
"""Columns where nobody looks at a screen."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `spare`: left out of a screen that is too narrow, the highest first; 0 is always there.

    `width` is the least; a column of a table that grows line by line has one, so that it holds still.
    """

    title: str
    cell: Callable[[Any], str]
    is_figure: bool = False
    spare: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under columns. `style` says how a row is to stand out (`bold`, `red`); `notes` are lines below."""

    columns: Sequence[Column]
    rows: Sequence[Any]
    title: str = ""
    notes: Sequence[str] = ()
    style: Callable[[Any], str] | None = None
    has_header: bool = True


Part: TypeAlias = Table | str | bytes
"""Of what is shown; bytes are a function's own, as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command found: `document` for machines, `shown` for people (without it the document, too), `remarks` for
    standard error either way."""

    document: Document | Sequence[Document] | None = None
    shown: Sequence[Part] | None = None
    remarks: Sequence[str] = ()
    exit_code: int = 0


def text(title: str, value: Value | None = None, *, spare: int = 0, width: int = 0) -> Column:
    """A column of words: what is at a key of the row (`prediction.source`; the title, if none is given), or a call."""
    return Column(title, _cell(title if value is None else value, plain), spare=spare, width=width)


def figure(
    title: str,
    value: Value | None = None,
    form: Callable[[object], str] | None = None,
    *,
    spare: int = 0,
    width: int = 0,
) -> Column:
    """A column of numbers, aligned right."""
    return Column(title, _cell(title if value is None else value, form or whole), True, spare, width)


def _cell(value: Value, form: Callable[[object], str]) -> Callable[[Any], str]:
    if isinstance(value, str):
        return lambda row: form(at(row, value))
    return lambda row: form(value(row))


def at(row: object, path: str) -> object:
    """What a mapping or an object has there; None where it has nothing, as an older stage's answer may."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, Mapping) else getattr(row, name, None)
    return row


def plain(value: object) -> str:
    """Words as they are; control characters, which could steer a terminal, as escapes."""
    said = UNKNOWN if value is None else str(value)
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in said)


def decimals(count: int, sign: str = "") -> Callable[[object], str]:
    """Numbers with so many decimals."""
    return lambda value: f"{value:{sign},.{count}f}" if isinstance(value, int | float | Decimal) else plain(value)


whole = decimals(0)


def ms(value: object) -> str:
    """Milliseconds, with as many decimals as they deserve."""
    if not isinstance(value, int | float):
        return plain(value)
    return decimals(0 if value >= 100 else 1 if value >= 10 else 2)(value)


def usd(value: object) -> str:
    """US dollars; a single call costs about a millionth of one."""
    return f"{value:.3g}" if isinstance(value, int | float) else plain(value)


def share(value: object) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else plain(value)


def counts(of: object) -> str:
    """`score 12, explore 1`."""
    found = of if isinstance(of, Mapping) else {}
    return ", ".join(f"{plain(name)} {count}" for name, count in found.items()) or UNKNOWN


def deliver(found: Output | Iterable[Output], *, as_json: bool) -> int:
    """Print what a command found; the exit code. Outputs that come one by one are a line of JSON each."""
    if isinstance(found, Output):
        return _deliver(found, as_json=as_json, indent=2)
    try:
        return max((_deliver(each, as_json=as_json, indent=None) for each in found), default=0)
    except KeyboardInterrupt:
        return 0  # how one ends what goes on until then


def _deliver(found: Output, *, as_json: bool, indent: int | None) -> int:
    if found.shown is not None and not as_json:
        show(*found.shown)
    elif found.document is not None:
        sys.stdout.write(json.dumps(found.document, indent=indent) + "\n")
    sys.stdout.flush()
    for line in found.remarks:
        remark(line, is_bad=found.exit_code == FAILED)
    return found.exit_code


def show(*parts: Part) -> None:
    """Tables, lines and bytes on standard output."""
    for part in parts:
        if isinstance(part, Table):
            draw(part, sys.stdout)
        elif isinstance(part, bytes):
            _write_bytes(part)
        else:
            sys.stdout.write(f"{plain(part)}\n")


def remark(line: str, *, is_bad: bool = False) -> None:
    """A line on standard error."""
    colour = {"fg": typer.colors.RED} if is_bad else {"dim": True}
    sys.stdout.flush()
    typer.secho(plain(line), err=True, **colour)


def width_of(stream: TextIO) -> int:
    """The terminal's columns; a pipe has no end."""
    return shutil.get_terminal_size().columns if stream.isatty() else UNBOUNDED


def _write_bytes(body: bytes) -> None:
    is_screen = sys.stdout.isatty()
    if is_screen and not is_printable(body):
        remark(f"{len(body):,} bytes that no terminal can show: use --output FILE")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(body + b"\n" if is_screen and not body.endswith(b"\n") else body)
    sys.stdout.buffer.flush()


def is_printable(body: bytes) -> bool:
    """Whether a terminal can show the bytes without being reprogrammed by them."""
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\r\t" for character in decoded)


def console(stream: TextIO) -> "Console":
    """Where rich draws."""
    from rich.console import Console

    # with its height, too, rich takes the width at its word; a dumb terminal would be 80 wide
    return Console(file=stream, width=width_of(stream), height=25, highlight=False, markup=False, emoji=False)


def draw(table: Table, stream: TextIO) -> None:
    """A table, in the width that there is."""
    from rich.table import Table as Drawn
    from rich.text import Text

    width = width_of(stream)
    cells = [[column.cell(row) for row in table.rows] for column in table.columns]
    kept = fitting(table.columns, cells, width)
    drawn = Drawn(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=table.has_header)
    for column in (table.columns[place] for place in kept):
        drawn.add_column(
            Text(column.title),
            justify="right" if column.is_figure else "left",
            no_wrap=column.is_figure,
            overflow="fold",
            min_width=min(column.width, width) or None,
        )
    for number, row in enumerate(table.rows):
        drawn.add_row(*(Text(cells[place][number]) for place in kept), style=table.style(row) if table.style else None)
    out = console(stream)
    if table.title:
        out.print(Text(plain(table.title)), style="bold")
    out.print(drawn)
    left_out = [column.title for place, column in enumerate(table.columns) if place not in kept]
    if left_out and table.has_header:
        out.print(f"not shown at {width} columns: {', '.join(left_out)} (--json has all)", style="dim")
    for line in table.notes:
        out.print(plain(line), style="dim")


def fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The places of the columns that fit side by side, without the sparest where that is too much.

    The last column of a table that grows line by line may fold; the others are as wide as they say.
    """
    from rich.cells import cell_len

    def wanted(place: int) -> int:
        column = columns[place]
        if column.width:
            return column.width
        return max(map(cell_len, [column.title, *(line for cell in cells[place] for line in cell.split("\n"))]))

    kept = list(range(len(columns)))
    while sum(map(wanted, kept)) + GAP * (len(kept) - 1) > width:
        sparest = max(kept, key=lambda place: columns[place].spare)
        if not columns[sparest].spare:
            break
        kept.remove(sparest)
    return kept


def write_json(path: Path, document: Document) -> None:
    """One document into a file. `CommandError` when it cannot be written."""
    save(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def save(path: Path, content: bytes) -> None:
    """Bytes into a file. `CommandError` when it cannot be written."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Bar:
    """What is shown of something that takes its time."""

    progress: "Progress"

    def advance(self, by: float = 1) -> None:
        """So much more is done."""
        self.progress.advance(self.progress.task_ids[0], by)

    def at(self, done: float) -> None:
        """So much is done."""
        self.progress.update(self.progress.task_ids[0], completed=done)

    def say(self, doing: str) -> None:
        """What is being done now."""
        self.progress.update(self.progress.task_ids[0], description=doing)

    def remark(self, part: str | Table, *, is_bad: bool = False) -> None:
        """A line or a table above."""
        if isinstance(part, Table):
            draw(part, sys.stderr)
        else:
            self.progress.console.print(plain(part), style="red" if is_bad else None, soft_wrap=True)


@contextmanager
def progress(doing: str, total: float | None = None) -> Iterator[Bar]:
    """A bar on standard error that vanishes at the end; nothing where that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else (SpinnerColumn(),)
    columns = (TextColumn("{task.description}", markup=False), *counted, TimeElapsedColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True, disable=not sys.stderr.isatty()) as shown:
        shown.add_task(doing, total=total)
        yield Bar(shown)


def one_line(error: Exception) -> str:
    """What an error says."""
    return " ".join(str(error).split())
