"""Reading the archive: newest hours first, many objects at once, no more than is wanted.

One pass: what is held are the ids of one hour (of a day, where older code wrote it), a listing, and the objects under
way. An object that a compaction took away meanwhile is found again in the listing, as part of what took its place.
"""

import json
import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, islice
from math import ceil, inf

from fiso.adapters.aws.archive import Damaged, day_prefix, unpacked
from fiso.adapters.aws.archive_listing import Hour, listed, records_of
from fiso.adapters.aws.errors import DAMAGE
from fiso.adapters.aws.s3 import Bucket, Entry
from fiso.codecs.record import from_document
from fiso.domain.archive import Extent
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId
from fiso.ports import Clock

READERS = 32
"""Objects that are read at once."""
MOST_HELD = 64 * 2**20
"""Bytes of objects that are under way, or wait to be unpacked."""
MOST_IN_A_ROW = 20
"""Objects that may fail one after another before the store counts as away."""
TRIES = 2
"""Beside the client's own, which know nothing of answers that end half-way."""
MOST_LISTINGS = 4
"""Of one hour whose objects are compacted while it is read."""
SPARE, SPARE_BYTES = 1.3, 8_192
"""How much more of a compact object is read than its mean line says."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Group:
    """Objects of an hour that are to give so many records together: one compact object, or all small ones."""

    wanted: float
    objects: float = 1.0
    read: int = 0
    taken: int = 0

    @property
    def is_full(self) -> bool:
        return self.taken >= self.wanted

    @property
    def standing(self) -> float:
        """How many records there are about, by those that were read of it."""
        return self.objects * self.taken / self.read if self.read else 0.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """One object, or its first bytes, to be read."""

    hour: Hour
    group: _Group
    key: str
    size: int
    first: int | None = None


class Reading:
    """One reading of the archive; `extent` tells of it."""

    def __init__(
        self, objects: Bucket, clock: Clock, *, most: int | None, ends_at: datetime | None, extent: Extent
    ) -> None:
        self._objects, self._clock, self._extent = objects, clock, extent
        self._most, self._ends_at = inf if most is None else most, ends_at
        self._seen: set[InvocationId] = set()
        self._unknown: dict[InvocationId, InvocationRecord] = {}
        self._small_ones: list[_Group] = []
        self._left_over = 0.0
        self._failed_in_a_row, self._has_read = 0, False

    def records(self, first: date) -> Generator[InvocationRecord]:
        start = first if isinstance(first, datetime) else datetime.combine(first, time(), UTC)
        pool = ThreadPoolExecutor(READERS, thread_name_prefix="archive")
        try:
            hours = self._listed_since(start, pool)
            self._extent.hours = len(hours)
            while hours and not self._is_over:
                of_day = [hour for hour in hours if hour.span.day == hours[0].span.day]
                for record in self._of_day(of_day, self._share(hours), pool):
                    if record.timestamp >= start:
                        self._extent.records += 1
                        yield record
                self._extent.standing += sum(group.standing for group in self._small_ones)
                self._small_ones.clear()
                hours = hours[len(of_day) :]
            if self._failed_in_a_row and not self._has_read:
                raise StoreUnavailable("nothing of the archive can be read")
        finally:
            # Whoever stops reading does not wait for what is under way.
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_over(self) -> bool:
        is_late = self._ends_at is not None and self._clock() >= self._ends_at
        return is_late or self._extent.records >= self._most

    def _share(self, hours: Sequence[Hour]) -> float:
        """How many records an hour is to give: all the same share, and what one has not goes to others."""
        left, units = self._most - self._extent.records, sum(hour.hours for hour in hours)
        for hour in sorted(hours, key=lambda hour: hour.supply / hour.hours):
            if hour.supply > hour.hours * left / units:
                return left / units
            left, units = left - hour.supply, units - hour.hours
        return inf

    def _of_day(self, hours: Sequence[Hour], share: float, pool: ThreadPoolExecutor) -> Iterator[InvocationRecord]:
        """A day's records, hour by hour. Of a day that older code wrote an id may come in any object."""
        is_one = any(hour.span.hour is None for hour in hours)
        read = self._extent.hours_read
        pieces = (piece for hour in hours for piece in self._pieces(hour, share))
        for hour, fetched in groupby(self._fetched(pieces, pool), key=lambda got: got[0].hour):
            yield from self._of_pieces(fetched)
            yield from self._of_what_took_its_place(hour, share, pool)
            if self._is_over:
                return
            if not is_one:
                yield from self._never_final()
            self._extent.hours_read = read + hours.index(hour) + 1
            self._extent.oldest = hour.span.starts_at
        yield from self._never_final()
        self._extent.hours_read = read + len(hours)

    def _of_what_took_its_place(self, hour: Hour, share: float, pool: ThreadPoolExecutor) -> Iterator[InvocationRecord]:
        """What is compacted while it is read is there once more under another name; ids tell what was read already."""
        for _ in range(MOST_LISTINGS):
            if not hour.has_vanished:
                return
            again = [found for found in self._listed(hour.span.day) if found.span == hour.span]
            hour.has_vanished = False
            for found in again:
                yield from self._of_pieces(self._fetched(self._pieces(found, share), pool))
                hour.has_vanished |= found.has_vanished

    def _never_final(self) -> Iterator[InvocationRecord]:
        yield from (record for id, record in self._unknown.items() if id not in self._seen)
        self._seen.clear()
        self._unknown.clear()

    def _pieces(self, hour: Hour, share: float) -> Iterator[_Piece]:
        """The objects to read of an hour, each kind for its part of the share by its size; asked for one by one, so
        that small ones are not read on when they have given enough."""
        wanted = share * hour.hours
        smalls = list(hour.smalls() if wanted == inf else islice(hour.smalls(), ceil(wanted)))
        compacts = hour.compacts if hour.compacts_then is None else list(hour.compacts_then())
        size = sum(entry.size for entry in [*compacts, *smalls]) or 1

        for entry in compacts:
            self._extent.standing += records_of(entry)
            if part := self._part(wanted, entry.size / size):
                yield _Piece(hour, _Group(part), entry.key, *_first_bytes(entry, part))
        part = self._part(wanted, sum(entry.size for entry in smalls) / size)
        group = _Group(part, objects=_standing(smalls, is_all=len(smalls) < wanted))
        self._small_ones.append(group)
        for entry in smalls:
            if not group.is_full:
                yield _Piece(hour, group, entry.key, entry.size)

    def _part(self, wanted: float, share: float) -> float:
        """Whole records of an hour's that some objects are to give; what is left over goes to the next ones."""
        if wanted == inf:
            return inf
        self._left_over += wanted * share
        part = int(self._left_over)
        self._left_over -= part
        return part

    def _fetched(
        self, pieces: Iterable[_Piece], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[_Piece, "Future[bytes | None]"]]:
        """In their order, several under way, within MOST_HELD bytes."""
        waiting: deque[tuple[_Piece, Future[bytes | None]]] = deque()
        held = 0
        for piece in pieces:
            waiting.append((piece, pool.submit(self._read, piece)))
            held += piece.size
            while len(waiting) >= READERS or (held > MOST_HELD and waiting):
                held -= waiting[0][0].size
                yield waiting.popleft()
        yield from waiting

    def _read(self, piece: _Piece) -> bytes | None:
        for _ in range(TRIES - 1):
            try:
                return self._objects.read(piece.key, first=piece.first)
            except StoreUnavailable:
                logger.info("%s is read once more", piece.key)
        return self._objects.read(piece.key, first=piece.first)

    def _of_pieces(self, fetched: Iterable[tuple[_Piece, "Future[bytes | None]"]]) -> Iterator[InvocationRecord]:
        for piece, future in fetched:
            body = self._body(piece, future)
            if body is not None and not piece.group.is_full:
                piece.group.read += 1
                yield from self._new_in(piece, body)
            if self._is_over:
                return

    def _body(self, piece: _Piece, future: "Future[bytes | None]") -> bytes | None:
        """None of an object that is gone, or cannot be read; `StoreUnavailable` when many in a row cannot."""
        try:
            body = future.result()
        except StoreUnavailable as error:
            self._failed(piece.key, error)
            return None
        self._failed_in_a_row, self._has_read = 0, True
        piece.hour.has_vanished |= body is None
        return body

    def _listed(self, day: date) -> list[Hour]:
        for _ in range(TRIES - 1):
            try:
                return listed(self._objects, day)
            except StoreUnavailable:
                logger.info("%s is listed once more", day_prefix(day))
        return listed(self._objects, day)

    def _failed(self, what: str, error: StoreUnavailable) -> None:
        self._extent.left_out += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MOST_IN_A_ROW:
            raise error
        logger.warning("%s is left out: %s", what, error)

    def _new_in(self, piece: _Piece, body: bytes) -> Iterator[InvocationRecord]:
        """One object's records that were not read yet, as many as are wanted. What is damaged is left out and named:
        one bad object must not end all retraining."""
        damaged = 0
        try:
            for line in unpacked(body, is_part=piece.first is not None):
                record = _record(line)
                damaged += record is None
                if record is None:
                    continue
                piece.group.taken += 1
                if record.status is RecordStatus.UNKNOWN:
                    self._unknown.setdefault(record.invocation_id, record)
                elif record.invocation_id not in self._seen:
                    self._seen.add(record.invocation_id)
                    yield record
                if piece.group.is_full or self._extent.records >= self._most:
                    break
        except Damaged as error:
            self._extent.left_out += 1
            logger.warning("%s is left out from where it does not unpack: %s", piece.key, error)
        if damaged:
            self._extent.left_out += 1
            logger.warning("%d records of %s are left out, they do not parse", damaged, piece.key)

    def _listed_since(self, start: datetime, pool: ThreadPoolExecutor) -> list[Hour]:
        """Every hour that has objects, newest first. `StoreUnavailable` when no day can be listed."""
        today, hours, errors = self._clock().date(), list[Hour](), list[StoreUnavailable]()
        days = [today - timedelta(days=back) for back in range((today - start.date()).days + 1)]
        for day, listing in [(day, pool.submit(self._listed, day)) for day in days]:
            try:
                hours += [hour for hour in listing.result() if hour.span.ends_at > start]
            except StoreUnavailable as error:
                self._failed(day_prefix(day), error)
                errors.append(error)
        if days and len(errors) == len(days):
            raise errors[0]
        return hours


def _first_bytes(entry: Entry, wanted: float) -> tuple[int, int | None]:
    """How many bytes of a compact object are read for so many records, and whether that is less than all."""
    records = records_of(entry)
    if wanted >= records:
        return entry.size, None
    needed = int(SPARE * entry.size / records * wanted) + SPARE_BYTES
    return (entry.size, None) if needed >= entry.size else (needed, needed)


def _standing(smalls: Sequence[Entry], *, is_all: bool) -> float:
    """How many small objects there are. Names are digests, so where a listing was ended early its last name tells."""
    if is_all or not smalls:
        return len(smalls)
    reached = int(smalls[-1].key.rsplit("/", 1)[-1][:8], 16) + 1
    return max(len(smalls), len(smalls) * 16**8 / reached)


def _record(line: bytes) -> InvocationRecord | None:
    try:
        record = from_document(json.loads(line))
    except DAMAGE:
        return None
    return record if isinstance(record, InvocationRecord) else None
