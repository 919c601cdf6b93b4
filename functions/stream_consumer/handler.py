"""The stream consumer's edge: a DynamoDB stream batch in, the first record that failed out."""

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
from fiso.services.log.ingest import ingest
from fiso.settings import StreamConsumerSettings
from functions.stream_consumer import wiring
from functions.stream_consumer.wiring import Stores

logger = logging.getLogger("fiso.stream_consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The finished records up to the first that does not parse, and that one's sequence number."""

    records: tuple[InvocationRecord, ...]
    poison: str | None


@cache
def _stores() -> Stores:
    telemetry.logger()
    return wiring.build(StreamConsumerSettings.from_environ(os.environ))


def lambda_handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Fold one batch. Answers `batchItemFailures` with the lowest failed sequence number, as the mapping expects."""
    return consume(event["Records"], _stores())


def consume(stream_records: Sequence[Mapping[str, Any]], stores: Stores) -> dict[str, Any]:
    """Everything before a record that does not parse is folded; that one and the rest come again."""
    if not stream_records:
        return {"batchItemFailures": []}
    batch = parse(stream_records)
    first, last = _sequence(stream_records[0]), _sequence(stream_records[-1])
    try:
        done = ingest(batch.records, states=stores.states, archive=stores.archive, batch_id=f"{first}-{last}")
    except StoreError as error:
        logger.warning("batch not folded, it comes again: %s", error)
        return {"batchItemFailures": [{"itemIdentifier": first}]}
    if done.stopped:
        _tell(done.stopped)
    return {"batchItemFailures": [{"itemIdentifier": batch.poison}] if batch.poison else []}


def _tell(stopped: Sequence[EndpointState]) -> None:
    for state in stopped:
        why = state.canary.why if state.canary else ""
        fields = {"function": state.function, "endpoint": state.endpoint, "cause": why}
        logger.warning("canary stopped", extra=fields)
        telemetry.metrics().add("CanaryStopped", 1, "Count", endpoint=state.endpoint)
    telemetry.flush()


def parse(stream_records: Sequence[Mapping[str, Any]]) -> Batch:
    records: list[InvocationRecord] = []
    for stream_record in stream_records:
        image = stream_record["dynamodb"].get("NewImage")
        if image is None:
            continue
        try:
            record = wiring.read_image(image)
        except InvalidRecord as error:
            logger.error("poison record %s: %s", _sequence(stream_record), error)
            # Everything before it is folded; the event source repeats from here and, after its retries, sends it to the
            # dead letters, so that one record does not hold a shard for a day.
            return Batch(records=tuple(records), poison=_sequence(stream_record))
        if isinstance(record, InvocationRecord):
            records.append(record)
    return Batch(records=tuple(records), poison=None)


def _sequence(stream_record: Mapping[str, Any]) -> str:
    return str(stream_record["dynamodb"]["SequenceNumber"])
