"""Ingesting: finished records from the stream, folded exactly once into endpoint states and archived.

Delivery is at least once and in any order across shards. A record is folded in the same transaction that marks it, so a
repeated delivery changes nothing; a conflict means that somebody else wrote: the fold is made again on what they left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState
from fiso.ports import Archive, EndpointStates
from fiso.routing.fold import fold, touched

CHUNK = 60
"""Records per transaction: with their markers and states they stay within DynamoDB's 100 items."""
TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What one batch came to."""

    folded: int
    already_folded: int


def ingest(records: Sequence[InvocationRecord], *, states: EndpointStates, archive: Archive, batch_id: str) -> Ingested:
    """Archive a batch, then fold it. Both survive repetition; `WriteConflict` if others keep writing these states."""
    if not records:
        return Ingested(folded=0, already_folded=0)
    archive.append(records, batch_id=batch_id)
    folded = 0
    for function, of_function in _by_function(records).items():
        for start in range(0, len(of_function), CHUNK):
            folded += _fold_once(function, of_function[start : start + CHUNK], states)
    return Ingested(folded=folded, already_folded=len(records) - folded)


def _fold_once(function: FunctionName, records: Sequence[InvocationRecord], states: EndpointStates) -> int:
    for attempt in range(TRIES):
        done = states.folded_among(record.invocation_id for record in records)
        fresh = _first_of_each([record for record in records if record.invocation_id not in done])
        if not fresh:
            return 0
        after = dict(states.of_function(function))
        for record in fresh:
            after = fold(after, record)
        changed = {endpoint for record in fresh for endpoint in touched(record)}
        try:
            states.commit(_next_versions(after, changed), [record.invocation_id for record in fresh])
        except WriteConflict:
            if attempt == TRIES - 1:
                raise
            continue
        return len(fresh)
    return 0


def _next_versions(after: dict[EndpointId, EndpointState], changed: set[EndpointId]) -> list[EndpointState]:
    return [replace(after[endpoint], version=after[endpoint].version + 1) for endpoint in sorted(changed)]


def _first_of_each(records: Sequence[InvocationRecord]) -> list[InvocationRecord]:
    by_id: dict[InvocationId, InvocationRecord] = {}
    for record in records:
        by_id.setdefault(record.invocation_id, record)
    return list(by_id.values())


def _by_function(records: Sequence[InvocationRecord]) -> dict[FunctionName, list[InvocationRecord]]:
    grouped: dict[FunctionName, list[InvocationRecord]] = {}
    for record in records:
        grouped.setdefault(record.request.function_name, []).append(record)
    return grouped
