"""Ingesting: finished records from the stream, folded exactly once into endpoint states and archived.

Delivery is at least once and in any order across shards. A record is folded in the same transaction that marks it, so a
repeated delivery changes nothing; a conflict means that somebody else wrote: the fold is made again on what they left.
A hot function's records come through several shards, whose consumers write the same states: each that was too late
steps aside for a random, growing while, so that they do not meet again in step.
docs/decisions/0002-folding-exactly-once.md
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.ports import Archive, EndpointStates
from fiso.routing import canaries
from fiso.routing.fold import fold, touched

MOST_ITEMS = 100
"""DynamoDB's limit of one transaction: the records' markers and the states they change."""
TRIES = 8
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
"""Pauses are drawn from 0 up to these ("full jitter", doubling): 5 s of waiting at the very most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """How many records were folded now and before; `stopped` are the states of canaries that these records stopped."""

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
    archive: Archive,
    batch_id: str,
    pause: Callable[[float], object] = time.sleep,
    draw: Callable[[], float] = random.random,
) -> Ingested:
    """Archive a batch, then fold it. Both survive repetition; `WriteConflict` if others keep writing these states."""
    if not records:
        return Ingested(folded=0, already_folded=0)
    # The archive first: a batch that fails later comes again and overwrites its own object, while one that was folded
    # first would never be archived (docs/decisions/0002-folding-exactly-once.md).
    archive.append(records, batch_id=batch_id)
    done = [
        _fold_until_written(function, chunk, states, pause, draw)
        for function, of_function in _by_function(records).items()
        for chunk in _chunks(of_function)
    ]
    folded = sum(each.records for each in done)
    stopped = tuple(state for each in done for state in each.stopped)
    return Ingested(folded=folded, already_folded=len(records) - folded, stopped=stopped)


def _fold_until_written(
    function: FunctionName,
    records: Sequence[InvocationRecord],
    states: EndpointStates,
    pause: Callable[[float], object],
    draw: Callable[[], float],
) -> _Folded:
    for tried in range(TRIES - 1):
        try:
            return _fold(function, records, states)
        except WriteConflict:
            pause(draw() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tried))
    return _fold(function, records, states)


def _fold(function: FunctionName, records: Sequence[InvocationRecord], states: EndpointStates) -> _Folded:
    done = states.folded_among(record.invocation_id for record in records)
    fresh = [record for record in records if record.invocation_id not in done]
    if not fresh:
        return _Folded(0)
    before = states.of_function(function)
    after = dict(before)
    for record in fresh:
        after = fold(after, record)
    changed = {endpoint for endpoint, state in after.items() if state is not before.get(endpoint)}
    states.commit(_next_versions(after, changed), [record.invocation_id for record in fresh])
    return _Folded(len(fresh), canaries.stopped_between(before, after))


def _chunks(records: Sequence[InvocationRecord]) -> Iterator[Sequence[InvocationRecord]]:
    """Each record once, in the order in which the requests came, in as many transactions as are needed."""
    first_of_each = {record.invocation_id: record for record in reversed(records)}
    chunk: list[InvocationRecord] = []
    items: set[str] = set()
    for record in sorted(first_of_each.values(), key=lambda record: record.timestamp):
        more = {record.invocation_id, *touched(record)}
        if chunk and len(items | more) > MOST_ITEMS:
            yield chunk
            chunk, items = [], set()
        chunk.append(record)
        items |= more
    if chunk:
        yield chunk


def _next_versions(after: dict[EndpointId, EndpointState], changed: set[EndpointId]) -> list[EndpointState]:
    return [replace(after[endpoint], version=after[endpoint].version + 1) for endpoint in sorted(changed)]


def _by_function(records: Sequence[InvocationRecord]) -> dict[FunctionName, list[InvocationRecord]]:
    grouped: dict[FunctionName, list[InvocationRecord]] = {}
    for record in records:
        grouped.setdefault(record.request.function_name, []).append(record)
    return grouped
