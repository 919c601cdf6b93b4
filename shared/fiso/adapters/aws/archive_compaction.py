"""Compaction: the small objects of closed hours become few large ones, slice by slice.

    list -> a slice of small objects -> merge -> plan -> write the compact object -> read it back -> delete -> next

Stopped anywhere it loses nothing: an object is deleted only by whoever has read the whole of what takes its place.
What is deleted is planned before, so that the next run goes on where this one was stopped instead of compacting the
rest once more. Two at once keep off each other by the plan; were they not to, ids would still be read once
(docs/decisions/0028-the-archive.md).
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, takewhile
from typing import Any

from fiso.adapters.aws.archive import ROOT, Damaged, Span, compact_key, day_prefix, named, pack, unpacked
from fiso.adapters.aws.errors import DAMAGE, store_errors
from fiso.adapters.aws.s3 import Bucket, Entry, unless_changed
from fiso.codecs.record import instant, parse_instant
from fiso.domain.errors import StoreError, StoreUnavailable, WriteConflict
from fiso.domain.record import RecordStatus
from fiso.ports import Clock

PLAN = "compaction/plan.json"
AT_WORK = timedelta(minutes=20)
"""How long a plan keeps others off: longer than a function may run."""
GRACE = timedelta(minutes=15)
"""How long after its end an hour counts as closed; what comes later is taken in later."""
RECENT = timedelta(days=1)
"""What is compacted before all else: training reads it first."""
READERS = 32
MOST_IN_A_ROW = 20
"""Objects that may fail one after another before the store counts as away."""
MOST_OBJECTS = 20_000
MOST_BYTES = 32 * 2**20
"""Of one slice, packed; a compact object of less than HAS_ROOM is packed anew with what came later."""
HAS_ROOM = 8 * 2**20
MOST_UNPACKED = 512 * 2**20
"""Lines held at once; what would be more waits for the next slice."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Compacted:
    """What one run did: objects and records taken in, objects made. `left` objects of closed hours were left where they
    are, since they cannot be read. `is_done`: nothing else is to be compacted now. `problem`: why it ended early."""

    objects: int = 0
    made: int = 0
    records: int = 0
    left: int = 0
    is_done: bool = False
    problem: str | None = None


@dataclass(slots=True)
class _Slice:
    span: Span
    sources: list[Entry] = field(default_factory=list)
    size: int = 0

    def add(self, entry: Entry) -> None:
        self.sources.append(entry)
        self.size += entry.size

    @property
    def is_full(self) -> bool:
        return len(self.sources) >= MOST_OBJECTS or self.size >= MOST_BYTES


class Compaction:
    """Compacts the archive of a bucket (boto3's client of S3)."""

    def __init__(self, client: Any, bucket: str, *, clock: Clock) -> None:
        self._objects, self._clock = Bucket(client, bucket), clock
        self._etag: str | None = None

    def compact(self, *, ends_at: datetime) -> Compacted:
        """One run, which begins no further slice after `ends_at`. What fails is told, and is left for the next run."""
        done = Compacted()
        try:
            with ThreadPoolExecutor(READERS, thread_name_prefix="compaction") as pool:
                self._take_over()
                for each in self._slices():
                    if self._clock() >= ends_at:
                        break
                    self._compact(each, pool, done)
                else:
                    done.is_done = True
                self._plan({})
        except WriteConflict:
            done.problem = "another compaction is at work"
        except StoreError as error:
            done.problem = str(error)
        if done.problem:
            logger.warning("the archive is not compacted to its end: %s", done.problem)
        return done

    def _take_over(self) -> None:
        """Finish what a run before this one had planned. `WriteConflict` while that may still be at work."""
        self._etag = self._objects.etag(PLAN)
        plan = self._objects.read_json(PLAN) or {}
        with store_errors(f"read {PLAN}"):
            at, into, sources = plan.get("at"), str(plan.get("into", "")), [str(key) for key in plan.get("sources", [])]
            if at is not None and timedelta(0) <= self._clock() - parse_instant(str(at)) < AT_WORK:
                raise WriteConflict("another compaction is at work")
        self._plan({"at": instant(self._clock())})
        if named(into) is not None and _digest(self._objects.read(into)) == plan.get("sha256"):
            self._objects.delete([key for key in sources if key != into and named(key) is not None])

    def _plan(self, plan: dict[str, Any]) -> None:
        """Say what is at work. `WriteConflict` when another run said so meanwhile."""
        self._etag = self._objects.write(
            PLAN, json.dumps(plan, sort_keys=True).encode(), "application/json", **unless_changed(self._etag)
        )

    def _slices(self) -> Iterator[_Slice]:
        """What is to be compacted: the newest days first, then all others from the oldest on."""
        today = self._clock().date()
        recent = [today, today - RECENT]
        yield from self._slices_of(chain.from_iterable(self._objects.entries(day_prefix(day)) for day in recent))
        limit = day_prefix(recent[-1])
        yield from self._slices_of(takewhile(lambda entry: entry.key < limit, self._objects.entries(ROOT)))

    def _slices_of(self, entries: Iterable[Entry]) -> Iterator[_Slice]:
        """Slices in the order of a listing, in which a day's compact objects come before its hours."""
        pending: _Slice | None = None
        with_room: dict[Span, list[Entry]] = {}
        for entry in entries:
            found = named(entry.key)
            if found is None:
                continue
            if found.records is not None:
                if entry.size < HAS_ROOM:
                    with_room.setdefault(found.span, []).append(entry)
                continue
            if found.span.ends_at + GRACE > self._clock():
                continue
            if pending is not None and (pending.span != found.span or pending.is_full):
                yield pending
                pending = None
            if pending is None:
                pending = _Slice(found.span)
                for room in with_room.pop(found.span, ()):
                    pending.add(room)
            pending.add(entry)
        if pending is not None:
            yield pending

    def _compact(self, each: _Slice, pool: ThreadPoolExecutor, done: Compacted) -> None:
        """One slice. Nothing is changed where another one takes its objects away meanwhile."""
        merged, taken, failed_in_a_row = _Merged(), list[str](), 0
        # Small ones first, so that each run takes some in however much the compact ones unpack to.
        sources = sorted(each.sources, key=lambda entry: _is_compact(entry.key))
        for entry, body in zip(sources, pool.map(self._body, sources), strict=True):
            if body is None:
                logger.info("%s is gone: another compaction took it", entry.key)
                return
            if merged.unpacked_bytes > MOST_UNPACKED:
                break
            if isinstance(body, bytes) and merged.take(body):
                taken.append(entry.key)
                failed_in_a_row = 0
                continue
            done.left += 1
            failed_in_a_row += isinstance(body, StoreUnavailable)
            if isinstance(body, StoreUnavailable) and failed_in_a_row >= MOST_IN_A_ROW:
                raise body
            logger.warning("%s cannot be read to its end and is left as it is", entry.key)
        lines = merged.lines()
        if not taken:
            return
        into = compact_key(each.span, lines)
        if taken != [into]:
            self._replace(taken, into, pack(lines))
        done.objects, done.made, done.records = done.objects + len(taken), done.made + 1, done.records + len(lines)

    def _body(self, entry: Entry) -> bytes | StoreUnavailable | None:
        try:
            return self._objects.read(entry.key)
        except StoreUnavailable as error:
            return error

    def _replace(self, sources: Sequence[str], into: str, body: bytes) -> None:
        self._plan({"at": instant(self._clock()), "into": into, "sha256": _digest(body), "sources": list(sources)})
        self._objects.write(into, body, "application/gzip")
        if self._objects.read(into) != body:
            raise StoreUnavailable(f"{into} is not what was written: nothing is deleted")
        self._objects.delete([key for key in sources if key != into])


class _Merged:
    """The lines of several objects: each record once, the one that tells most."""

    def __init__(self) -> None:
        self._best: dict[str, tuple[bool, bytes]] = {}
        self._functions: dict[str, str] = {}
        self._damaged: set[bytes] = set()
        self.unpacked_bytes = 0

    def take(self, body: bytes) -> bool:
        """Take an object's lines in, unless it cannot be unpacked to its end."""
        try:
            lines = list(unpacked(body))
        except Damaged:
            return False
        for line in lines:
            self.unpacked_bytes += len(line)
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        try:
            document = json.loads(line)
            id, function = str(document["invocation_id"]), str(document["function_name"])
            rank = (document["status"] == RecordStatus.FINAL, line)
        except DAMAGE:
            self._damaged.add(line)
            return
        self._functions[id] = function
        self._best[id] = max(rank, self._best.get(id, rank))

    def lines(self) -> list[bytes]:
        """Each function's first before any one's second, by a digest of the id: whatever number of lines is read from
        the beginning is a sample in which rare functions keep theirs. What is no record comes last, as it is."""
        by_function: defaultdict[str, list[str]] = defaultdict(list)
        for id, function in self._functions.items():
            by_function[function].append(id)
        places = (
            (place, function, id)
            for function, ids in by_function.items()
            for place, id in enumerate(sorted(ids, key=_drawn))
        )
        return [self._best[id][1] for _, _, id in sorted(places)] + sorted(self._damaged)


def _is_compact(key: str) -> bool:
    found = named(key)
    return found is not None and found.records is not None


def _drawn(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()


def _digest(body: bytes | None) -> str | None:
    return None if body is None else hashlib.sha256(body).hexdigest()
