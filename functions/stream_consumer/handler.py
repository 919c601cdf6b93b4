"""The stream consumer's edge: a DynamoDB stream batch in, the first record that must come again out.

Folds within seconds; the archive is written by another reader of the same stream (`archiver`), which waits for more.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiso import __version__, telemetry
from fiso.domain.errors import InvalidRecord, StoreError
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.state import EndpointState
from fiso.ports import RecordedRecords, RecordKey, SpanSink
from fiso.services.log.ingest import ingest
from fiso.services.log.spans import export_request
from functions.stream_consumer import wiring
from functions.stream_consumer.wiring import Stores

logger = logging.getLogger("fiso.stream_consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The finished records that a batch tells of, the intents that are still open, and the events whose records do not
    parse, with why. `unrecorded` events name nothing that the log holds."""

    records: tuple[InvocationRecord, ...]
    still_open: tuple[OpenRecord, ...]
    poison: tuple[tuple[Mapping[str, object], str], ...]
    unrecorded: int


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Fold one batch. Answers `batchItemFailures` with the lowest failed sequence number, as the mapping expects."""
    return consume(begun(event, context), wiring.stores())


def begun(event: object, context: object) -> Sequence[object]:
    """The stream's records in an event; none where it is no stream's."""
    telemetry.identify(event, context)
    listed = event.get("Records") if isinstance(event, Mapping) else None
    return listed if isinstance(listed, list) else []


def consume(stream_records: Sequence[object], stores: Stores) -> dict[str, Any]:
    """Fold what can be folded and set aside what never can be; a batch that a store did not take comes again.

    An event says only where to look: what is folded is what the log's table holds there. Whoever may invoke this
    function can write any event, but no record (docs/decisions/0021-what-has-a-record.md).
    """
    return settle(stream_records, stores, _fold)


def settle(stream_records: Sequence[object], stores: Stores, take: Callable[["Batch", Stores], None]) -> dict[str, Any]:
    """Of either reader of the stream: what it takes is done, set aside alone, or comes again as a whole."""
    try:
        batch = read(stream_records, stores.log)
        try:
            take(batch, stores)
        except StoreError:
            raise
        except Exception as error:
            # The event source halves what ends in an error, so what we cannot take is alone at last. It must not come
            # again for hours and hold up its shard.
            if len(stream_records) > 1:
                raise
            logger.exception("a record that parses cannot be taken")
            set_aside(stream_records[0], f"{type(error).__name__}: {error}", stores)
    except StoreError as error:
        logger.warning("batch not taken, it comes again: %s", error)
        return {"batchItemFailures": [{"itemIdentifier": _sequence(_change_of(stream_records[0]))}]}
    return {"batchItemFailures": []}


def _fold(batch: Batch, stores: Stores) -> None:
    for event, why in batch.poison:
        set_aside(event, why, stores)
    stores.lists.note(batch.records)
    done = ingest(batch.records, states=stores.states, batch_id="", rollups=stores.rollups)
    _tell(done.stopped)
    tell_unrecorded(batch)
    if stores.spans is not None:
        _trace(batch.records, stores.spans)


def _trace(records: Sequence[InvocationRecord], sink: SpanSink) -> None:
    """Their spans. No batch comes again for a collector's sake; what is lost is counted."""
    body = export_request(records, service=telemetry.service(), version=__version__)
    try:
        if body is not None:
            sink.export(body)
    except StoreError as error:
        logger.warning("spans are not exported: %s", error)
        telemetry.metrics().add("SpansNotExported", 1, "Count")
        telemetry.flush()


def set_aside(event: object, why: str, stores: Stores) -> None:
    logger.error("record set aside as a dead letter: %s", why)
    stores.letters.set_aside(event if isinstance(event, Mapping) else {}, why)
    telemetry.metrics().add("PoisonRecords", 1, "Count")
    telemetry.flush()


def _tell(stopped: Sequence[EndpointState]) -> None:
    for state in stopped:
        why = state.canary.why if state.canary else ""
        fields = {"function": state.function, "endpoint": state.endpoint, "cause": why}
        logger.warning("canary stopped", extra=fields)
        telemetry.metrics().add("CanaryStopped", 1, "Count", endpoint=state.endpoint)


def tell_unrecorded(batch: Batch) -> None:
    if batch.unrecorded:
        logger.error("%d stream events name no record of the log: not taken", batch.unrecorded)
        telemetry.metrics().add("UnrecordedStreamEvents", batch.unrecorded, "Count")
    telemetry.flush()  # also what was not copied to another region


def read(stream_records: Sequence[object], log: RecordedRecords) -> Batch:
    """The records that a batch tells of, as the log holds them now. `StoreUnavailable` when it cannot be asked."""
    changes = [(event, _change_of(event)) for event in stream_records]
    told = [(event, change["NewImage"]) for event, change in changes if change.get("NewImage") is not None]
    keys = [wiring.key_of(image) for _, image in told]
    recorded = log.recorded([key for key in keys if key is not None])
    records, poison, unrecorded = list[InvocationRecord](), list[tuple[Mapping[str, object], str]](), 0
    still_open: dict[RecordKey, OpenRecord] = {}
    for (event, image), key in zip(told, keys, strict=True):
        record = recorded.get(key) if key is not None else None
        if key is None or record is None:
            unrecorded += 1
        elif isinstance(record, InvalidRecord) and isinstance(event, Mapping):
            poison.append((event, str(record)))
        elif isinstance(record, OpenRecord):
            still_open[key] = record
        elif isinstance(record, InvocationRecord) and not _tells_of_an_intent(image):
            records.append(record)
    return Batch(
        records=tuple(records), still_open=tuple(still_open.values()), poison=tuple(poison), unrecorded=unrecorded
    )


def _tells_of_an_intent(image: object) -> bool:
    """Whose record was closed meanwhile: that has an event of its own."""
    status = image.get("status") if isinstance(image, Mapping) else None
    return isinstance(status, Mapping) and status.get("S") == RecordStatus.OPEN


def _change_of(stream_record: object) -> Mapping[str, Any]:
    """What changed; what no stream sends counts as a change of nothing that there is."""
    change = stream_record.get("dynamodb") if isinstance(stream_record, Mapping) else None
    return change if isinstance(change, Mapping) else {"NewImage": {}}


def _sequence(change: Mapping[str, Any]) -> str:
    return str(change.get("SequenceNumber", ""))
