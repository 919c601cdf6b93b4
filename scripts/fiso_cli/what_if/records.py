"""Logged records for a command: of a stage's archive, or of a file of record documents, one JSON object a line."""

import gzip
import json
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from fiso.codecs.record import from_document
from fiso.domain.archive import Extent
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso_cli.errors import BadInput
from fiso_cli.rendering import one_line, progress
from fiso_cli.stage import Stage

LONGEST = timedelta(days=3_650)
_SINCE = re.compile(r"([1-9][0-9]{0,4})([dh])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}
_GZIP = b"\x1f\x8b"
_SHOW_EVERY = 200
MOST_RECORDS = 200_000
"""Of an archive, when not said: as many as a laptop reads in minutes, and more than figures get surer by."""


class InvalidLog(BadInput):
    """A file that cannot be read as records. The message is one line and names the line of the file."""


def span(text: str) -> timedelta:
    """`30d` or `12h`."""
    found = _SINCE.fullmatch(text)
    length = int(found[1]) * _UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise BadInput(f"--since must be days or hours, as in 30d or 12h, not {text!r}")
    return length


@dataclass(slots=True)
class Log:
    """Records, and once they are read through how much of the log they were."""

    records: Iterator[InvocationRecord]
    extent: Extent = field(default_factory=Extent)

    def __iter__(self) -> Iterator[InvocationRecord]:
        return self.records

    @property
    def remarks(self) -> list[str]:
        """What must be known beside any figure that is made of them."""
        extent, said = self.extent, list[str]()
        if extent.records_each > 1.0:
            said.append(
                f"note: {extent.records:,} of about {extent.standing:,.0f} records were read, the same share of each "
                "hour, rare functions whole; --records 0 reads all"
            )
        if extent.left_out:
            said.append(f"note: {extent.left_out:,} objects of the archive could not be read whole")
        return said


def archived(
    stage: Stage, start: datetime, *, now: datetime, most: int | None, extent: Extent
) -> Iterator[InvocationRecord]:
    """A stage's archived records from `start` on. `CommandError` when the archive cannot be read."""
    from fiso.adapters.aws.archive import S3Archive

    with stage.wrapped_errors():
        archive = S3Archive(stage.client("s3"), stage.bucket, clock=lambda: now)
        yield from archive.since(start, most=most, extent=extent)


def in_file(path: Path, start: datetime | None = None) -> Iterator[InvocationRecord]:
    """The closed records in a plain or gzip file, once each, from `start` on where it is given. `InvalidLog`."""
    seen: set[str] = set()
    for record in _records(path):
        if record.invocation_id not in seen and (start is None or record.timestamp >= start):
            seen.add(record.invocation_id)
            yield record


def _records(path: Path) -> Iterator[InvocationRecord]:
    number = 0
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            for line in _lines(raw, stack):
                number += 1
                record = from_document(json.loads(line)) if line.strip() else None
                if isinstance(record, InvocationRecord):
                    yield record
    except (InvalidRecord, ValueError, RecursionError) as error:
        raise InvalidLog(f"{path}: line {number}: {one_line(error)}") from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidLog(f"{path}: line {number + 1} cannot be read: {why}") from error


def _lines(raw: BinaryIO, stack: ExitStack) -> Iterable[bytes]:
    is_gzip = raw.read(2) == _GZIP
    raw.seek(0)
    return stack.enter_context(gzip.GzipFile(fileobj=raw)) if is_gzip else raw


@contextmanager
def logged(
    stage: Stage,
    log: Path | None,
    *,
    since: str | None,
    default: str,
    now: datetime,
    most: int | None = MOST_RECORDS,
) -> Iterator[Log]:
    """The records of a file, all of it when no `since` is said, or of a stage's archive, at most so many of that;
    counted on a terminal."""
    wanted = since if log or since else default
    start, extent = None if wanted is None else now - span(wanted), Extent()
    with progress("reading records") as bar:

        def counted() -> Generator[InvocationRecord]:
            found = in_file(log, start) if log else archived(stage, start or now, now=now, most=most, extent=extent)
            for number, record in enumerate(found, start=1):
                if number % _SHOW_EVERY == 0:
                    hours = f", hour {extent.hours_read + 1:,} of {extent.hours:,}" if extent.hours else ""
                    bar.say(f"reading records: {number:,}{hours}")
                yield record

        with closing(counted()) as found:
            yield Log(found, extent)
