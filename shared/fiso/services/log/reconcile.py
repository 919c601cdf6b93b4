"""Reconciling: spilled lines are written to the log, so that what its table did not take is in it after all.

Lines are read slice by slice from the watermark on, less an overlap, because lines appear late. A slice counts as done
when each of its lines is written, stands there already, or cannot be read at all; only then the watermark moves. What
repeats changes nothing: a record only moves up from open to unknown to final, so a final record that comes after the
keeper gave up waiting corrects the unknown one. The stream's markers keep it from being folded a second time.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.codecs.record import from_document
from fiso.domain.errors import InvalidRecord, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.ports import Clock, InvocationLog, SpilledLine, SpilledRecords, Watermark
from fiso.services.log.spill import MARK

OVERLAP = timedelta(minutes=10)
"""How late a line may appear in CloudWatch after it was written."""
FIRST_LOOK_BACK = timedelta(hours=1)
"""Where there is no watermark yet: a stage that was just deployed."""
SLICE = timedelta(minutes=1)
"""Read and written as a whole: little enough for one round, even at the height of an outage."""

logger = logging.getLogger(__name__)


class Fate(StrEnum):
    WRITTEN = "written"
    KNOWN = "known"
    CONTRADICTED = "contradicted"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one round did. `is_complete`: every line there is was read; records still open are nobody's then."""

    written: int = 0
    known: int = 0
    contradicted: int = 0
    unreadable: int = 0
    is_complete: bool = False

    def plus(self, fates: Sequence["Fate"]) -> "Reconciled":
        return Reconciled(
            written=self.written + fates.count(Fate.WRITTEN),
            known=self.known + fates.count(Fate.KNOWN),
            contradicted=self.contradicted + fates.count(Fate.CONTRADICTED),
            unreadable=self.unreadable + fates.count(Fate.UNREADABLE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Replays spilled lines. `executor` writes several at once; `done` spares those of the overlap a second write."""

    spilled: SpilledRecords
    watermark: Watermark
    log: InvocationLog
    clock: Clock
    executor: Executor
    done: dict[str, datetime] = field(default_factory=dict)

    def reconcile(self, *, until: datetime) -> Reconciled:
        """One round, which begins no slice after `until`. `StoreUnavailable` when log or lines cannot be read."""
        now = self.clock()
        marked = self.watermark.read()
        start = now - FIRST_LOOK_BACK if marked is None else min(marked, now) - OVERLAP
        done = Reconciled()
        self._forget(before=start)
        while start < now:
            if self.clock() > until:
                return done
            end = _end_of(start, now, marked)
            done = done.plus(self._replay(start, end))
            if marked is None or end > marked:
                self.watermark.move(end)
            start = end
        return replace(done, is_complete=True)

    def _replay(self, start: datetime, end: datetime) -> Sequence[Fate]:
        lines = [line for line in self.spilled.between(start, end) if line.id not in self.done]
        records = [record for record in map(_readable, lines) if record is not None]
        # A request that spilled both leaves two lines: writing the intent after its record would only be refused.
        closed = {record.invocation_id for record in records if isinstance(record, InvocationRecord)}
        wanted = [each for each in records if isinstance(each, InvocationRecord) or each.invocation_id not in closed]
        fates = list(self.executor.map(self._write, wanted))
        self.done.update((line.id, line.written_at) for line in lines)
        superseded, unreadable = len(records) - len(wanted), len(lines) - len(records)
        return [*fates, *[Fate.KNOWN] * superseded, *[Fate.UNREADABLE] * unreadable]

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


def _readable(line: SpilledLine) -> InvocationRecord | OpenRecord | None:
    try:
        return parse(line.text)
    except InvalidRecord as error:
        logger.error("spilled line %s does not parse, it stays in the log group: %s", line.id, error)
        return None


def parse(text: str) -> InvocationRecord | OpenRecord:
    """The record that a line carries. `InvalidRecord` when it carries none."""
    try:
        document = json.loads(text)[MARK]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidRecord(f"not a spilled line: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRecord(f"a spilled line carries an object, not {type(document).__name__}")
    return from_document(document)


def _end_of(start: datetime, now: datetime, marked: datetime | None) -> datetime:
    """The overlap is one slice: little of it is new."""
    ends_at = max(start + SLICE, min(marked, now)) if marked is not None else start + SLICE
    return min(ends_at, now)
