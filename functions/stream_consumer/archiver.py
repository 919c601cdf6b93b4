"""The archiver's edge: the second reader of the log's stream, which waits for many records before it writes one object.

It also sees intents, which the first reader is not told of: what it finds still open is watched until its deadline
(docs/decisions/0030). And CloudWatch Logs hands it the orchestrator's lines that carry spilled records, which it puts
into a group of their own, for the keeper (docs/decisions/0021).
"""

import base64
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from fiso import telemetry
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.ports import CloudMonitor, LineLog
from fiso.routing.skill import prediction_lines
from fiso.services.log import monitored
from fiso.services.log.spill import MARK
from functions.stream_consumer import wiring
from functions.stream_consumer.handler import Batch, begun, settle, tell_unrecorded
from functions.stream_consumer.wiring import Stores

MOST_BYTES = 16 * 2**20
"""Of lines, unpacked: CloudWatch sends less, and who else may invoke this must not fill its memory."""

logger = logging.getLogger("fiso.archiver")


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Archive one batch; answers as the stream consumer does. Or hand spilled lines on: an error comes again."""
    records = begun(event, context)
    if isinstance(event, Mapping) and "awslogs" in event:
        return hand_on(event["awslogs"], wiring.stores())
    return archive(records, wiring.stores())


def hand_on(told: object, stores: Stores) -> dict[str, Any]:
    """What a subscription of the orchestrator's log group brings. Their marks say whether they are FISO's own."""
    try:
        lines = spilled_lines(told)
    except ValueError as error:
        logger.error("no lines of a subscription: %s", error)
        return {"handed_on": 0}
    if lines and stores.spilled is not None:
        stores.spilled.put(lines)
    return {"handed_on": len(lines)}


def spilled_lines(told: object) -> list[str]:
    """Of `{"data": …}`, base64 of gzip of JSON (docs.aws.amazon.com, "Using subscription filters with Lambda").
    `ValueError` for anything else."""
    data = told.get("data") if isinstance(told, Mapping) else None
    if not isinstance(data, str):
        raise ValueError("it has no data")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(base64.b64decode(data, validate=True), MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"it is not packed as they are: {error}") from error
    if not unpacking.eof:
        raise ValueError(f"it is cut, or unpacks to more than {MOST_BYTES} bytes")
    message = json.loads(text)
    if not isinstance(message, dict) or message.get("messageType") != "DATA_MESSAGE":
        return []  # CloudWatch asks now and then whether anybody is there
    events = message.get("logEvents")
    texts = [each.get("message") for each in events if isinstance(each, dict)] if isinstance(events, list) else []
    return [each for each in texts if isinstance(each, str) and MARK in each]


def archive(stream_records: Sequence[object], stores: Stores) -> dict[str, Any]:
    """Archive the closed records and watch the intents that are still open. What does not parse the stream consumer
    sets aside."""
    return settle(stream_records, stores, _archive)


def _archive(batch: Batch, stores: Stores) -> None:
    stores.lists.watch(batch.still_open)
    if batch.records:
        # Named by what is in it: an event with another's sequence numbers must not overwrite that one's object.
        batch_id = " ".join(record.invocation_id for record in batch.records)
        stores.archive.append(batch.records, batch_id=batch_id)
    tell_unrecorded(batch)
    if stores.predictions is not None:
        _show(batch.records, stores.predictions)
    for monitor in stores.monitors:
        _tell_cloud(batch.records, monitor, stores)


def _tell_cloud(records: Sequence[InvocationRecord], monitor: CloudMonitor, stores: Stores) -> None:
    """Last of all: what a cloud's monitoring does not take is lost and counted, and holds up nothing."""
    told = monitored.rows(records, monitor.provider, stage=stores.stage)
    if not told:
        return
    try:
        monitor.put(told, monitored.states_of(told, stores.states))
    except StoreError as error:
        logger.warning("%s is not told of its copies: %s", monitor.provider, error)
        telemetry.metrics().add("MonitoringNotTold", len(told), "Count", provider=monitor.provider)
        telemetry.flush()


def _show(records: Sequence[InvocationRecord], predictions: LineLog) -> None:
    """What was predicted of them and what came. The records hold it too: a batch does not come again for its sake."""
    try:
        predictions.put([json.dumps(line) for line in prediction_lines(records)])
    except StoreError as error:
        logger.warning("predictions are not written: %s", error)
