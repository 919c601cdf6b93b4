"""Reconciling: spilled lines are written to the log, so that what its table did not take is in it after all.

Lines are read slice by slice from the watermark on. They may appear late: with each slice goes the one of OVERLAP
before it, and in between is looked while that takes little. A slice counts as done
when each of its lines is written, stands there already, or cannot be read at all; only then the watermark moves. One
that holds more than a round can take is cut. A line
that FISO did not mark is somebody else's: it is counted, and stays where it is. What
repeats changes nothing: a record only moves up from open to unknown to final, so a final record that comes after the
keeper gave up waiting corrects the unknown one. Only the final one is folded.
"""

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.codecs import spilled_line
from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import from_document
from fiso.domain.errors import InvalidRecord, LeasingNotSetUp, StoreUnavailable, UnmarkedRecord, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.ports import Clock, InvocationLog, SpilledLine, SpilledRecords, Watermark
from fiso.services.log.spill import MARK

OVERLAP = timedelta(minutes=10)
"""How late a line may appear in CloudWatch after it was written."""
FIRST_LOOK_BACK = timedelta(hours=1)
"""Where there is no watermark yet: a stage that was just deployed."""
SLICE, LEAST_SLICE = timedelta(minutes=1), timedelta(seconds=1)
"""Read and written as a whole: little enough for one round, even at the height of an outage."""
MOST_LINES, AT_ONCE = 5_000, 100
"""Of one slice, by what the keeper's memory holds; and written before the time is looked at."""
MOST_DONE = 100_000
"""Lines that are remembered as done. One that is forgotten costs a write that changes nothing."""
LOOKING_BACK = timedelta(seconds=4)
"""For late lines, beside their last chance."""

logger = logging.getLogger(__name__)


class Fate(StrEnum):
    WRITTEN = "written"
    KNOWN = "known"
    CONTRADICTED = "contradicted"
    UNREADABLE = "unreadable"
    UNMARKED = "unmarked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one round did. `is_complete`: every line there is was read; records still open are nobody's then."""

    written: int = 0
    known: int = 0
    contradicted: int = 0
    unreadable: int = 0
    unmarked: int = 0
    is_complete: bool = False

    def plus(self, fates: Sequence["Fate"]) -> "Reconciled":
        return Reconciled(
            written=self.written + fates.count(Fate.WRITTEN),
            known=self.known + fates.count(Fate.KNOWN),
            contradicted=self.contradicted + fates.count(Fate.CONTRADICTED),
            unreadable=self.unreadable + fates.count(Fate.UNREADABLE),
            unmarked=self.unmarked + fates.count(Fate.UNMARKED),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Replays spilled lines. `keys` reads those that mark them; `executor` writes several at once; `done` spares those
    of the overlap a second write, `span` is how much a slice holds. `accepts_older`: also lines in the form of before,
    which carry no mark. `marks_every`: how far the watermark may be behind where nothing was spilled."""

    spilled: SpilledRecords
    keys: Callable[[], Keyring]
    watermark: Watermark
    log: InvocationLog
    clock: Clock
    executor: Executor
    accepts_older: bool = False
    done: dict[str, datetime] = field(default_factory=dict)
    span: list[timedelta] = field(default_factory=lambda: [SLICE])
    marks_every: timedelta = timedelta(0)

    def reconcile(self, *, until: datetime, at_most_until: datetime | None = None) -> Reconciled:
        """One round, which begins no slice after `until`, and breaks one off at `at_most_until`. `StoreUnavailable`
        when log or lines cannot be read, or not in time."""
        now = self.clock()
        marked = self.watermark.read()
        last = at_most_until or until + SLICE
        start = now - FIRST_LOOK_BACK if marked is None else min(marked, now)
        done, begin = Reconciled(), start
        self._forget(before=start - OVERLAP)
        while begin < now:
            if self.clock() > until:
                return done
            end = min(now, begin + self.span[0])
            # A line's last chance: what appeared late enough to be missed as new is still there, or never comes.
            late = self._replay(begin - OVERLAP, end - OVERLAP, last) if marked is not None else []
            found = [*late, *self._replay(begin, end, last)]
            done, begin = done.plus(found), end
            if found or marked is None or end - marked >= self.marks_every:
                self.watermark.move(end)
                marked = marked and end
            if len(found) < MOST_LINES / 4:
                self.span[0] = min(SLICE, self.span[0] * 2)
        looked_back: Sequence[Fate] = [] if marked is None else self._looked_back(now, start, until)
        return replace(done.plus(looked_back), is_complete=True)

    def look_through(self, start: datetime, end: datetime, *, until: datetime) -> tuple[Reconciled, datetime]:
        """Every line of a time once more, and up to where that came before `until`; the watermark stays."""
        done, begin = Reconciled(), start
        while begin < end and self.clock() <= until:
            upto = min(end, begin + self.span[0])
            done, begin = done.plus(self._replay(begin, upto, until + SLICE)), upto
        return replace(done, is_complete=begin >= end), begin

    def _looked_back(self, now: datetime, start: datetime, until: datetime) -> Sequence[Fate]:
        """Late lines sooner than by their last chance, newest first, where reading takes little: above some hundred
        requests a second ten minutes of lines are more than a round can read."""
        found: list[Fate] = []
        begun_at, end = self.clock(), start
        while end > now - OVERLAP and self.clock() <= min(until, begun_at + LOOKING_BACK):
            begin = max(now - OVERLAP, end - 5 * self.span[0])
            try:
                found.extend(self._replay(begin, end, until))
            except StoreUnavailable as error:  # each of these has its last chance later
                logger.info("late lines are looked for another time: %s", error)
                break
            end = begin
        return found

    def _replay(self, start: datetime, end: datetime, at_most_until: datetime) -> Sequence[Fate]:
        """A slice as a whole, or cut where it holds too much for that."""
        lines = self._lines(start, end, at_most_until)
        if lines is None:
            middle = start + (end - start) / 2
            self.span[0] = max(LEAST_SLICE, min(self.span[0], middle - start))
            return [*self._replay(start, middle, at_most_until), *self._replay(middle, end, at_most_until)]
        return self._written([line for line in lines if line.id not in self.done], at_most_until)

    def _lines(self, start: datetime, end: datetime, at_most_until: datetime) -> Sequence[SpilledLine] | None:
        """Of one slice; None where they are too many and it can be cut. One that takes too long is tried in smaller
        ones from the next round on."""
        found = list[SpilledLine]()
        for page in self.spilled.pages(start, end):
            found.extend(page)
            if len(found) > MOST_LINES and end - start > LEAST_SLICE:
                return None
            self._in_time(at_most_until, f"lines of {start:%H:%M:%S} to {end:%H:%M:%S} are not all read")
        return found

    def _in_time(self, at_most_until: datetime, what: str) -> None:
        if self.clock() > at_most_until:
            self.span[0] = max(LEAST_SLICE, self.span[0] / 4)
            raise StoreUnavailable(f"{what} in time")

    def _written(self, lines: Sequence[SpilledLine], at_most_until: datetime) -> Sequence[Fate]:
        keyring = self._keyring() if lines else None
        told = list(zip(lines, _told(lines, keyring, self.accepts_older), strict=True))
        # A request that spilled both leaves two lines: writing the intent after its record would only be refused.
        closed = {record.invocation_id for _, record in told if isinstance(record, InvocationRecord)}
        fates, wanted = list[Fate](), list[tuple[SpilledLine, InvocationRecord | OpenRecord]]()
        for line, each in told:
            if isinstance(each, InvocationRecord) or (
                isinstance(each, OpenRecord) and each.invocation_id not in closed
            ):
                wanted.append((line, each))
                continue
            self.done[line.id] = line.written_at
            if each is not None:
                fates.append(each if isinstance(each, Fate) else Fate.KNOWN)
        for at in range(0, len(wanted), AT_ONCE):
            some = wanted[at : at + AT_ONCE]
            fates.extend(self.executor.map(self._write, [record for _, record in some]))
            self.done.update((line.id, line.written_at) for line, _ in some)
            if at + AT_ONCE < len(wanted):
                self._in_time(at_most_until, f"{len(wanted) - at - AT_ONCE} spilled records are not written")
        return fates

    def _keyring(self) -> Keyring | None:
        try:
            return self.keys()
        except LeasingNotSetUp as error:
            logger.error("no spilled line can be told from a forged one: %s", error)
            return None

    def _write(self, record: InvocationRecord | OpenRecord) -> Fate:
        try:
            is_new = self._put(record)
        except WriteConflict as error:
            logger.error("a spilled record of %s contradicts the log, which stands: %s", record.invocation_id, error)
            return Fate.CONTRADICTED
        return Fate.WRITTEN if is_new else Fate.KNOWN

    def _put(self, record: InvocationRecord | OpenRecord) -> bool:
        if isinstance(record, InvocationRecord):
            return self.log.close(record)
        known = self.log.find(record.invocation_id) is not None
        self.log.open(record)
        return not known

    def _forget(self, *, before: datetime) -> None:
        for id in [id for id, written_at in self.done.items() if written_at < before]:
            del self.done[id]
        for id in list(self.done)[: max(0, len(self.done) - MOST_DONE)]:
            del self.done[id]


def _told(
    lines: Sequence[SpilledLine], keyring: Keyring | None, accepts_older: bool
) -> list[InvocationRecord | OpenRecord | Fate | None]:
    """What each line tells. One without a mark is known where it stands there again with one."""
    found = [_read(line, keyring, accepts_older) for line in lines]
    if Fate.UNMARKED not in found:
        return found
    each_with_line = list(zip(lines, found, strict=True))
    marked = {_claimed(line) for line, each in each_with_line if not (each is None or isinstance(each, Fate))}
    return [Fate.KNOWN if each is Fate.UNMARKED and _claimed(line) in marked else each for line, each in each_with_line]


def _claimed(line: SpilledLine) -> str | None:
    """The document of a line, marked or not."""
    try:
        claimed = json.loads(line.text)[MARK]
    except (ValueError, RecursionError):
        return None
    return spilled_line.text_of(claimed)


def _read(
    line: SpilledLine, keyring: Keyring | None, accepts_older: bool
) -> InvocationRecord | OpenRecord | Fate | None:
    """None for a line that only speaks of spilling: a caller may have named a path or a function so."""
    try:
        return parse(line.text, keyring, accepts_older=accepts_older)
    except UnmarkedRecord as error:
        logger.error("spilled line %s is not FISO's own, it stays in the log group: %s", line.id, error)
        return Fate.UNMARKED
    except InvalidRecord as error:
        logger.error("spilled line %s does not parse, it stays in the log group: %s", line.id, error)
        return Fate.UNREADABLE


def parse(text: str, keyring: Keyring | None, *, accepts_older: bool = False) -> InvocationRecord | OpenRecord | None:
    """The record that a line carries, None where it claims to carry none. `UnmarkedRecord` and `InvalidRecord` as
    `spilled_line.read` has them. `accepts_older`: a document without a mark, as code of before wrote it, counts."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnmarkedRecord(f"not JSON: {type(error).__name__}") from error
    if not (isinstance(line, dict) and MARK in line):
        return None
    written = line[MARK]
    if accepts_older and isinstance(written, dict):
        return from_document(written)
    return spilled_line.read(written, keyring)
