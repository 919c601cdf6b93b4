"""The archiver's edge: the second reader of the log's stream, which waits for many records before it writes one object.

It also sees intents, which the first reader is not told of: what it finds still open is watched until its deadline.
docs/decisions/0030
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.ports import CloudMonitor, LineLog
from fiso.routing.skill import prediction_lines
from fiso.services.log import monitored
from fiso.settings import StreamConsumerSettings
from functions.stream_consumer import wiring
from functions.stream_consumer.handler import Batch, settle, tell_unrecorded
from functions.stream_consumer.wiring import Stores

logger = logging.getLogger("fiso.archiver")


@cache
def _stores() -> Stores:
    telemetry.logger()
    return wiring.build(StreamConsumerSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Archive one batch; answers as the stream consumer does."""
    telemetry.identify(event, context)
    listed = event.get("Records") if isinstance(event, Mapping) else None
    return archive(listed if isinstance(listed, list) else [], _stores())


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
