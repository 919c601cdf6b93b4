"""Ingesting: finished records from the stream, folded exactly once into endpoint states; dead letters are archived too.

Delivery is at least once and in any order across shards. A record is marked in the transaction that folds it, so a
repeated delivery changes nothing; a conflict means that somebody else wrote: the fold is made again on what they left.
A hot function's records come through several shards, whose consumers write the same states: each that was too late
steps aside for a random while, so that they do not meet again in step, and goes on until its time is over.

What nobody knows the end of (UNKNOWN) is archived and teaches nothing: it is folded when its final record comes.
docs/decisions/0002-folding-exactly-once.md
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import NamedTuple

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.rollup import Rollup, minute_of, rollup_of
from fiso.domain.state import EndpointState
from fiso.ports import ArchiveSink, EndpointStates, Rollups
from fiso.routing import canaries
from fiso.routing.fold import fold, touched

logger = logging.getLogger(__name__)

MOST_ITEMS = 100
"""DynamoDB's limit of one transaction: the states that change, and what marks the records."""
LONGEST_PAUSE_S, SHORTEST_PAUSE_S, SOONER_S = 0.12, 0.04, 0.02
"""Pauses are drawn from 0 up to the longest, less with each try: who has waited for long goes before who just came.
That somebody is refused means that somebody wrote, so tries in vain cost the others nothing."""
LONGEST_PAUSED_S = 10.0
"""Beyond so much waiting the batch is left to come again: the consumer is stopped at 60 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """How many final records were folded now and before; `stopped` are the states of canaries that they stopped."""

    folded: int
    already_folded: int
    stopped: tuple[EndpointState, ...] = ()


class _Folded(NamedTuple):
    records: int
    stopped: tuple[EndpointState, ...] = ()


def ingest(
    records: Sequence[InvocationRecord],
    *,
    states: EndpointStates,
    archive: ArchiveSink | None = None,
    batch_id: str,
    rollups: Rollups | None = None,
    pause: Callable[[float], object] = time.sleep,
    draw: Callable[[], float] = random.random,
) -> Ingested:
    """Archive a batch, unless its archive is another consumer's, then fold it. Both survive repetition;
    `WriteConflict` if others keep writing these states."""
    if not records:
        return Ingested(folded=0, already_folded=0)
    if archive is not None:
        archive.append(records, batch_id=batch_id)
    final = [record for record in records if record.status is RecordStatus.FINAL]
    patience = _Patience(pause, draw)
    done = [
        _fold_until_written(function, chunk, _Kept(states, rollups), patience)
        for function, of_function in _by_function(final).items()
        for chunk in _chunks(of_function, states.items_of)
    ]
    folded = sum(each.records for each in done)
    stopped = tuple(state for each in done for state in each.stopped)
    return Ingested(folded=folded, already_folded=len(final) - folded, stopped=stopped)


class _Kept(NamedTuple):
    """What is written of a fold: the states, and before them what they had counted when their minutes ended."""

    states: EndpointStates
    rollups: Rollups | None

    def end_minutes(self, function: FunctionName, ended: Sequence[Rollup]) -> None:
        """A minute that is missing is part of the next one: nothing waits for that."""
        if self.rollups is None or not ended:
            return
        try:
            self.rollups.keep(function, ended)
        except StoreUnavailable as error:
            logger.warning("minutes of %s are not kept: %s", function, error)


@dataclass(slots=True)
class _Patience:
    """How long one batch's folds step aside for others, all of them together."""

    pause: Callable[[float], object]
    draw: Callable[[], float]
    paused_s: float = 0.0

    def step_aside(self, tried: int) -> bool:
        """Wait for a random while, the shorter the more was tried; False when the batch's time for that is over."""
        if self.paused_s > LONGEST_PAUSED_S:
            return False
        pause_s = self.draw() * max(SHORTEST_PAUSE_S, LONGEST_PAUSE_S - tried * SOONER_S)
        self.pause(pause_s)
        self.paused_s += pause_s
        return True


def _fold_until_written(
    function: FunctionName, records: Sequence[InvocationRecord], kept: _Kept, patience: _Patience
) -> _Folded:
    for tried in count():
        try:
            return _fold(function, records, kept)
        except WriteConflict:
            if not patience.step_aside(tried):
                raise
    raise AssertionError("unreachable")


def _fold(function: FunctionName, records: Sequence[InvocationRecord], kept: _Kept) -> _Folded:
    states = kept.states
    # The states first: a record that somebody folds after this is found among the folded ones, or the commit fails.
    before = states.of_function(function)
    done = states.folded_among(function, records)
    fresh = [record for record in records if record.invocation_id not in done]
    if not fresh:
        return _Folded(0)
    after, ended = dict(before), list[Rollup]()
    for record in fresh:
        earlier, after = after, fold(after, record)
        ended.extend(_ended_between(earlier, after))
    kept.end_minutes(function, ended)
    changed = {endpoint for endpoint, state in after.items() if state is not before.get(endpoint)}
    states.commit(function, _next_versions(after, changed), fresh)
    return _Folded(len(fresh), canaries.stopped_between(before, after))


def _ended_between(
    before: Mapping[EndpointId, EndpointState], after: Mapping[EndpointId, EndpointState]
) -> Iterator[Rollup]:
    """The minute that a record of a later one ends; before the first record ever, a minute without any."""
    ended, begun = minute_of(before), minute_of(after)
    if begun is None or begun == ended:
        return
    rollup = rollup_of(before) or Rollup(at=begun - timedelta(minutes=1), folded=0, counts={}, ends_hour=True)
    yield replace(
        rollup, ends_hour=rollup.ends_hour or (rollup.at.date(), rollup.at.hour) != (begun.date(), begun.hour)
    )


def _chunks(
    records: Sequence[InvocationRecord], items_of: Callable[[InvocationRecord], frozenset[str]]
) -> Iterator[Sequence[InvocationRecord]]:
    """Each record once, in the order in which the requests came, in as many transactions as are needed."""
    first_of_each = {record.invocation_id: record for record in reversed(records)}
    chunk: list[InvocationRecord] = []
    states: set[EndpointId] = set()
    marks: set[str] = set()
    for record in sorted(first_of_each.values(), key=lambda record: record.timestamp):
        more_states, more_marks = states | touched(record), marks | items_of(record)
        if chunk and len(more_states) + len(more_marks) > MOST_ITEMS:
            yield chunk
            chunk, more_states, more_marks = [], set(touched(record)), set(items_of(record))
        chunk.append(record)
        states, marks = more_states, more_marks
    if chunk:
        yield chunk


def _next_versions(after: dict[EndpointId, EndpointState], changed: set[EndpointId]) -> list[EndpointState]:
    return [replace(after[endpoint], version=after[endpoint].version + 1) for endpoint in sorted(changed)]


def _by_function(records: Sequence[InvocationRecord]) -> dict[FunctionName, list[InvocationRecord]]:
    grouped: dict[FunctionName, list[InvocationRecord]] = {}
    for record in records:
        grouped.setdefault(record.request.function_name, []).append(record)
    return grouped
