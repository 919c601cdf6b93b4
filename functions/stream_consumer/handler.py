"""The stream consumer's edge: a DynamoDB stream batch in, the first record that failed out."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.domain.errors import InvalidRecord, StoreError
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.ports import LineLog, RecordedRecords
from fiso.prediction.skill import prediction_lines
from fiso.services.log.ingest import ingest
from fiso.settings import StreamConsumerSettings
from functions.stream_consumer import wiring
from functions.stream_consumer.wiring import Stores

logger = logging.getLogger("fiso.stream_consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The finished records up to the first that does not parse, and that one's sequence number. `unrecorded` events
    name nothing that the log holds."""

    records: tuple[InvocationRecord, ...]
    poison: str | None
    unrecorded: int


@cache
def _stores() -> Stores:
    telemetry.logger()
    return wiring.build(StreamConsumerSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Fold one batch. Answers `batchItemFailures` with the lowest failed sequence number, as the mapping expects."""
    telemetry.identify(event, context)
    listed = event.get("Records") if isinstance(event, Mapping) else None
    return consume(listed if isinstance(listed, list) else [], _stores())


def consume(stream_records: Sequence[object], stores: Stores) -> dict[str, Any]:
    """Everything before a record that does not parse is folded; that one and the rest come again.

    An event says only where to look: what is folded is what the log's table holds there. Whoever may invoke this
    function can write any event, but no record (docs/decisions/0021-what-has-a-record.md).
    """
    changes = [_change_of(each) for each in stream_records]
    try:
        batch = read(changes, stores.log)
        # Named by what is in it: an event with another's sequence numbers must not overwrite that one's object.
        batch_id = " ".join(record.invocation_id for record in batch.records)
        done = ingest(batch.records, states=stores.states, archive=stores.archive, batch_id=batch_id)
    except StoreError as error:
        logger.warning("batch not folded, it comes again: %s", error)
        return {"batchItemFailures": [{"itemIdentifier": _sequence(changes[0])}]}
    if done.stopped or batch.unrecorded:
        _tell(done.stopped, batch.unrecorded)
    if stores.predictions is not None:
        _show(batch.records, stores.predictions)
    return {"batchItemFailures": [{"itemIdentifier": batch.poison}] if batch.poison else []}


def _show(records: Sequence[InvocationRecord], predictions: LineLog) -> None:
    """What was predicted of them and what came. The records hold it too: a batch does not come again for its sake."""
    try:
        predictions.put([json.dumps(line) for line in prediction_lines(records)])
    except StoreError as error:
        logger.warning("predictions are not written: %s", error)


def _tell(stopped: Sequence[EndpointState], unrecorded: int) -> None:
    for state in stopped:
        why = state.canary.why if state.canary else ""
        fields = {"function": state.function, "endpoint": state.endpoint, "cause": why}
        logger.warning("canary stopped", extra=fields)
        telemetry.metrics().add("CanaryStopped", 1, "Count", endpoint=state.endpoint)
    if unrecorded:
        logger.error("%d stream events name no record of the log: not folded", unrecorded)
        telemetry.metrics().add("UnrecordedStreamEvents", unrecorded, "Count")
    telemetry.flush()


def read(changes: Sequence[Mapping[str, Any]], log: RecordedRecords) -> Batch:
    """The records that a batch tells of, as the log holds them now. `StoreUnavailable` when it cannot be asked."""
    told = [change for change in changes if change.get("NewImage") is not None]
    keys = [wiring.key_of(change["NewImage"]) for change in told]
    recorded = log.recorded([key for key in keys if key is not None])
    records, unrecorded = list[InvocationRecord](), 0
    for change, key in zip(told, keys, strict=True):
        record = recorded.get(key) if key is not None else None
        if record is None:
            unrecorded += 1
        elif isinstance(record, InvalidRecord):
            logger.error("poison record %s: %s", _sequence(change), record)
            # Everything before it is folded; the event source repeats from here and, after its retries, sends it to the
            # dead letters, so that one record does not hold a shard for a day.
            return Batch(records=tuple(records), poison=_sequence(change), unrecorded=unrecorded)
        elif isinstance(record, InvocationRecord):
            records.append(record)
    return Batch(records=tuple(records), poison=None, unrecorded=unrecorded)


def _change_of(stream_record: object) -> Mapping[str, Any]:
    """What changed; what no stream sends counts as a change of nothing that there is."""
    change = stream_record.get("dynamodb") if isinstance(stream_record, Mapping) else None
    return change if isinstance(change, Mapping) else {"NewImage": {}}


def _sequence(change: Mapping[str, Any]) -> str:
    return str(change.get("SequenceNumber", ""))
