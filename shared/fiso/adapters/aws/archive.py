"""S3: the archive of finished records, as lines of JSON in packed objects, by the day and hour of each record.

    archive/date=2026-11-22/hour=13/<digest>.jsonl.gz                 a batch of the stream, until its hour is compacted
    archive/date=2026-11-22/compact/13-<records>-<digest>.jsonl.gz    many of them together
    archive/date=2026-11-22/<digest>.jsonl.gz                         a batch as older code wrote it, of a whole day
    archive/date=2026-11-22/compact/day-<records>-<digest>.jsonl.gz   many of those

Names follow from what is in them, so a repeated write changes nothing and equal names are equal records. In a compact
object the lines stand so that its beginning is a sample of all of it: each function's first before any one's second,
by a digest of the id (docs/decisions/0028-the-archive.md).
"""

import gzip
import hashlib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fiso.adapters.aws.s3 import Bucket
from fiso.codecs.record import to_document
from fiso.domain.archive import Extent
from fiso.domain.record import InvocationRecord
from fiso.ports import Clock

ROOT = "archive/"
LONGEST_LINE = 2**20
"""Far above any record's; a longer one is damage, and is not held."""
_CHUNK = 2**18
_HOUR = timedelta(hours=1)
_NAME = re.compile(
    r"archive/date=(\d{4}-\d\d-\d\d)/"
    r"(?:compact/(?P<of>\d\d|day)-(?P<records>\d+)-[0-9a-f]+|(?:hour=(?P<hour>\d\d)/)?[0-9a-f]+)\.jsonl\.gz"
)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The hour, or with None the whole day, that an object's records are of."""

    day: date
    hour: int | None

    @property
    def starts_at(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, self.hour or 0, tzinfo=UTC)

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + (_HOUR if self.hour is not None else 24 * _HOUR)


@dataclass(frozen=True, slots=True)
class Named:
    """What an object's name tells of it: `records` of a compact one only."""

    span: Span
    records: int | None


def named(key: str) -> Named | None:
    """None for what is no object of the archive."""
    found = _NAME.fullmatch(key)
    if found is None:
        return None
    hour = found["hour"] if found["records"] is None else found["of"]
    try:
        span = Span(date.fromisoformat(found[1]), None if hour in (None, "day") else int(hour))
        span.ends_at  # noqa: B018 - whether there is such an hour
    except (ValueError, OverflowError):
        return None
    return Named(span, None if found["records"] is None else int(found["records"]))


def day_prefix(day: date) -> str:
    return f"{ROOT}date={day.isoformat()}/"


def compact_prefix(span: Span) -> str:
    return f"{day_prefix(span.day)}compact/{'day' if span.hour is None else f'{span.hour:02d}'}-"


def compact_key(span: Span, lines: Sequence[bytes]) -> str:
    return f"{compact_prefix(span)}{len(lines):09d}-{_digest(lines)}.jsonl.gz"


def pack(lines: Iterable[bytes]) -> bytes:
    # No time in the header: the same lines are the same bytes, whenever they come again.
    return gzip.compress(b"\n".join(lines), 6, mtime=0)


class Damaged(ValueError):
    """What cannot be unpacked to its end."""


def unpacked(body: bytes, *, is_part: bool = False) -> Iterator[bytes]:
    """The lines of an object, without holding them all; of its beginning (`is_part`) those that are whole. `Damaged`
    after the lines that could be unpacked."""
    pending, rest = b"", body
    while rest:
        packed = zlib.decompressobj(wbits=31)
        while not packed.eof:
            try:
                chunk = packed.decompress(rest, _CHUNK)
            except zlib.error as error:
                raise Damaged(str(error)) from error
            rest = packed.unconsumed_tail
            if not (chunk or rest or packed.eof):
                if is_part:
                    return
                raise Damaged("it is cut short")
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > LONGEST_LINE:
                raise Damaged("a line is longer than any record")
            yield from filter(None, lines)
        rest = packed.unused_data
    if pending and not is_part:
        yield pending


class S3Archive:
    """The port `Archive` on a bucket."""

    def __init__(self, client: Any, bucket: str, *, clock: Clock) -> None:
        self._objects, self._clock = Bucket(client, bucket), clock

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        """One object per hour. The key follows from the batch, so a repeated batch overwrites itself."""
        by_hour: defaultdict[Span, list[InvocationRecord]] = defaultdict(list)
        for record in records:
            by_hour[Span(record.timestamp.date(), record.timestamp.hour)].append(record)
        for span, of_hour in by_hour.items():
            lines = [json.dumps(to_document(record), separators=(",", ":")).encode() for record in of_hour]
            # By its lines as well: a batch that is told again may tell more, and what was compacted is never changed.
            name = _digest([batch_id.encode(), *lines])
            key = f"{day_prefix(span.day)}hour={span.hour:02d}/{name}.jsonl.gz"
            self._objects.write(key, pack(lines), "application/gzip")

    def since(
        self,
        first: date,
        *,
        most: int | None = None,
        ends_at: datetime | None = None,
        extent: Extent | None = None,
    ) -> Generator[InvocationRecord]:
        """As the port says. Closing it ends the requests."""
        # The stream's consumer, which only appends, does not load it.
        from fiso.adapters.aws.archive_reading import Reading

        wanted = Reading(self._objects, self._clock, most=most, ends_at=ends_at, extent=extent or Extent())
        return wanted.records(first)


def _digest(parts: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
        whole.update(b"\n")
    return whole.hexdigest()[:24]
