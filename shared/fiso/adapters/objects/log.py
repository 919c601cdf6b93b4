"""A front door's own log: lines appended as objects whose names are written once, for the keeper to merge.

An object holds what requests wrote at the same time (group commit), so that a busy door writes few. Its name says when:
`doors/<door>/<minute>/<second>-<random>.jsonl`, so that the keeper finds a minute's without listing more. A line is a
spilled line, with its mark: whoever else may write the bucket writes text. What the store did not take is written again
under another name, until it is taken; what then stands twice is merged once.
docs/decisions/0032-a-front-door-elsewhere.md
"""

import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Lock, Thread
from uuid import uuid4

from fiso.adapters.aws.s3 import Bucket
from fiso.codecs import spilled_line
from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import open_to_document, to_document
from fiso.codecs.typed import Json
from fiso.domain.errors import StoreError, StoreUnavailable, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId, TenantId
from fiso.ports import Clock, SpilledLine
from fiso_client.core.redaction import redact_document

WITHIN_S = 1.0
"""How long a request waits for its line; after that the line goes to the output as well, and is still written."""
WRITERS = 4
"""Objects that are written at once: one that is on its way holds up no other request's."""
MOST_LINES, MOST_WAITING = 500, 20_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
MOST_RECENT = 2_000
MARK = "log_spill"
_MINUTE = "%Y%m%dT%H%M"

logger = logging.getLogger(__name__)


class _Line:
    """One line on its way, and whether it is there."""

    __slots__ = ("text", "written")

    def __init__(self, text: str) -> None:
        self.text, self.written = text, Event()


class ObjectLog:
    """The port `InvocationLog` of a door. What it finds is what this process wrote last; the log of all is where the
    keeper merges it. `learn` is told of each closed record."""

    def __init__(
        self,
        objects: Bucket,
        door: str,
        *,
        clock: Clock,
        keyring: Keyring | None,
        learn: Callable[[InvocationRecord], object] = lambda _: None,
        within_s: float = WITHIN_S,
    ) -> None:
        self._objects, self._door, self._clock, self._keyring = objects, door, clock, keyring
        self._learn, self._within_s = learn, within_s
        self._waiting: deque[_Line] = deque()
        self._in_hand = 0
        self._has_more, self._lock = Condition(), Lock()
        self._are_writing, self._is_over = False, False
        self._recent: OrderedDict[InvocationId, InvocationRecord | OpenRecord] = OrderedDict()

    def open(self, record: OpenRecord) -> None:
        self._remember(record)
        self._append(open_to_document(record))

    def close(self, record: InvocationRecord) -> bool:
        self._remember(record)
        self._learn(record)
        self._append(to_document(record))
        return True

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """What this process wrote lately. `StoreUnavailable` while the store takes nothing."""
        if self.backlog > MOST_LINES:
            raise StoreUnavailable(f"{self.backlog} lines wait to be written")
        with self._lock:
            return self._recent.get(invocation_id)

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        with self._lock:
            closed = [record for record in self._recent.values() if isinstance(record, InvocationRecord)]
        wanted = [r for r in closed if (after is None or r.timestamp > after) and tenant in (None, r.request.tenant)]
        return sorted(wanted, key=lambda r: (r.timestamp, r.invocation_id), reverse=True)[:limit]

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Nobody's here: the keeper closes them where they are merged."""
        return []

    @property
    def backlog(self) -> int:
        return len(self._waiting) + self._in_hand

    def keep(self, written: str) -> None:
        """A spilled line as well, without waiting for it."""
        with self._has_more:
            if len(self._waiting) < MOST_WAITING:
                self._push(_Line(json.dumps({MARK: written})))

    def drain(self, *, within_s: float) -> bool:
        """Write what waits; whether all is there."""
        ends_at = time.monotonic() + within_s
        while self.backlog and time.monotonic() < ends_at:
            time.sleep(0.02)
        with self._has_more:
            self._is_over = True
            self._has_more.notify_all()
        return self.backlog == 0

    def _append(self, document: dict[str, Json]) -> None:
        line = _Line(json.dumps({MARK: spilled_line.written(redact_document(document), self._keyring)}))
        with self._has_more:
            if len(self._waiting) >= MOST_WAITING:
                raise StoreUnavailable("too many lines wait to be written")
            self._push(line)
        if not line.written.wait(self._within_s):
            raise StoreUnavailable(f"the log's store did not take a line within {self._within_s:g} s")

    def _push(self, line: _Line) -> None:
        self._waiting.append(line)
        if not self._are_writing:  # not before the process that writes is the one that was forked
            self._are_writing = True
            for number in range(WRITERS):
                Thread(target=self._write_all, name=f"log-{number}", daemon=True).start()
        self._has_more.notify()

    def _write_all(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            lines = self._taken()
            if not lines:
                return
            try:
                self._write(lines)
            except StoreError as error:
                logger.warning("%d lines of the log wait: %s", len(lines), error)
                with self._has_more:
                    self._waiting.extendleft(reversed(lines))
                    self._in_hand -= len(lines)
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
                continue
            pause_s = FIRST_PAUSE_S
            with self._has_more:
                self._in_hand -= len(lines)
            for line in lines:
                line.written.set()

    def _taken(self) -> list[_Line]:
        with self._has_more:
            while not self._waiting and not self._is_over:
                self._has_more.wait()
            lines = [self._waiting.popleft() for _ in range(min(MOST_LINES, len(self._waiting)))]
            self._in_hand += len(lines)
            return lines

    def _write(self, lines: Sequence[_Line]) -> None:
        """Under a name of this moment: one from before could lie where the keeper does not look any more."""
        body = "".join(f"{line.text}\n" for line in lines).encode()
        try:
            self._objects.write(name_of(self._door, self._clock()), body, "application/x-ndjson", IfNoneMatch="*")
        except WriteConflict:
            logger.info("the log's object was there already: the answer to its first writing was lost")

    def _remember(self, record: InvocationRecord | OpenRecord) -> None:
        with self._lock:
            self._recent[record.invocation_id] = record
            while len(self._recent) > MOST_RECENT:
                self._recent.popitem(last=False)


def name_of(door: str, now: datetime) -> str:
    return f"doors/{door}/{now:{_MINUTE}}/{now:%S.%f}-{uuid4().hex}.jsonl"


class ObjectLines:
    """The port `SpilledRecords` over a door's log: its lines, by when their object was written."""

    def __init__(self, objects: Bucket, door: str, *, executor: Executor) -> None:
        self._objects, self._door, self._executor = objects, door, executor

    def pages(self, start: datetime, end: datetime) -> Iterable[Sequence[SpilledLine]]:
        minute = start.astimezone(UTC).replace(second=0, microsecond=0)
        while minute < end:
            prefix = f"doors/{self._door}/{minute:{_MINUTE}}/"
            named = [(key, at) for key in self._objects.keys(prefix) if start <= (at := _written_at(key)) < end]
            yield from self._executor.map(lambda each: self._lines(*each), named)
            minute += timedelta(minutes=1)

    def _lines(self, key: str, at: datetime) -> Sequence[SpilledLine]:
        body = self._objects.read(key) or b""
        texts = body.decode("utf-8", "replace").splitlines()
        return [SpilledLine(id=f"{key}#{number}", written_at=at, text=text) for number, text in enumerate(texts)]


def _written_at(key: str) -> datetime:
    """By its name; the end of time for what is no name of a log's object."""
    _, minute, last = key.rsplit("/", 2)
    try:
        return datetime.strptime(f"{minute}{last.partition('-')[0]}", f"{_MINUTE}%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
