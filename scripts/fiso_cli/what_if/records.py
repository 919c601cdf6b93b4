"""Logged records for a command: of a stage's archive, or of a file of record documents, one JSON object a line."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from fiso.codecs.record import from_document
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso.ports import Archive
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.rendering import one_line, progress
from fiso_cli.stage import Stage

LONGEST = timedelta(days=3_650)
_SINCE = re.compile(r"([1-9][0-9]{0,4})([dh])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}
_GZIP = b"\x1f\x8b"
_SHOW_EVERY = 200


class InvalidLog(BadInput):
    """A file that cannot be read as records. The message is one line and names the line of the file."""


def span(text: str) -> timedelta:
    """`30d` or `12h`."""
    found = _SINCE.fullmatch(text)
    length = int(found[1]) * _UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise BadInput(f"--since must be days or hours, as in 30d or 12h, not {text!r}")
    return length


def archived(stage: Stage, start: datetime, *, now: datetime) -> Iterator[InvocationRecord]:
    """A stage's archived records from `start` on. `CommandError` when the archive cannot be read."""
    from fiso.adapters.aws.s3 import S3Archive

    with stage.wrapped_errors():
        archive = S3Archive(stage.client("s3"), stage.bucket, clock=lambda: now)
        try:
            yield from newer(archive, start)
        except (InvalidRecord, ValueError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CommandError(f"stage {stage.name}: the archive is damaged: {one_line(error)}") from error


def newer(archive: Archive, start: datetime) -> Iterator[InvocationRecord]:
    """The archive's records from a moment on."""
    return (record for record in archive.since(start.date()) if record.timestamp >= start)


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
        with ExitStack() as closing:
            raw = closing.enter_context(path.open("rb"))
            for line in _lines(raw, closing):
                number += 1
                record = from_document(json.loads(line)) if line.strip() else None
                if isinstance(record, InvocationRecord):
                    yield record
    except (InvalidRecord, ValueError, RecursionError) as error:
        raise InvalidLog(f"{path}: line {number}: {one_line(error)}") from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidLog(f"{path}: line {number + 1} cannot be read: {why}") from error


def _lines(raw: BinaryIO, closing: ExitStack) -> Iterable[bytes]:
    is_gzip = raw.read(2) == _GZIP
    raw.seek(0)
    return closing.enter_context(gzip.GzipFile(fileobj=raw)) if is_gzip else raw


@contextmanager
def logged(
    stage: Stage, log: Path | None, *, since: str | None, default: str, now: datetime
) -> Iterator[Iterator[InvocationRecord]]:
    """The records of a file, all of it when no `since` is said, or of a stage's archive; counted on a terminal."""
    wanted = since if log or since else default
    start = None if wanted is None else now - span(wanted)
    with progress("reading records") as bar:

        def counted() -> Iterator[InvocationRecord]:
            found = in_file(log, start) if log else archived(stage, start or now, now=now)
            for number, record in enumerate(found, start=1):
                if number % _SHOW_EVERY == 0:
                    bar.say(f"reading records: {number:,}")
                yield record

        yield counted()
