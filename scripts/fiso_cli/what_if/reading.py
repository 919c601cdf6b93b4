"""Reading a log for a command: how far back, with a counter while it takes, and one line when it cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fiso.domain.record import InvocationRecord
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.what_if import source
from fiso_cli.what_if.source import InvalidLog

BAD_INPUT = 2
_SHOW_EVERY = 200


def start_of(since: str | None, now: datetime) -> datetime | None:
    """The moment that a span like 30d began; None without one. Ends the command when it is no span."""
    if since is None:
        return None
    try:
        return now - source.span(since)
    except ValueError as error:
        raise refused(str(error)) from error


@contextmanager
def records(
    where: Stage, log: Path | None, *, start: datetime | None, now: datetime
) -> Iterator[Iterator[InvocationRecord]]:
    """The records of a file, or of a stage's archive, counted on a terminal. Ends the command when a file is none."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = terminal.err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading records", total=None)

        def counted() -> Iterator[InvocationRecord]:
            found = source.in_file(log, start) if log else source.archived(where, start or now, now=now)
            for number, record in enumerate(found, start=1):
                if number % _SHOW_EVERY == 0:
                    progress.update(task, description=f"reading records: {number:,}")
                yield record

        try:
            yield counted()
        except InvalidLog as error:
            raise refused(str(error)) from error


def refused(problem: str) -> typer.Exit:
    """One line, exit 2."""
    typer.secho(f"error: {problem}", err=True, fg=typer.colors.RED)
    return typer.Exit(BAD_INPUT)
