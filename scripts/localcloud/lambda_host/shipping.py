"""Where functions' log events go: to the emulator's CloudWatch in batches, with the metrics that lines carry (EMF).

Off the invocation's path: `emit` only appends. When the emulator does not keep up, the oldest waiting events are
dropped and counted. Format of metrics in lines:
docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""

import asyncio
import base64
import gzip
import json
import logging
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.local_stage import ACCOUNT
from localcloud.lambda_host.control_plane import Emulator
from localcloud.lambda_host.environment import LogEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDatum:
    """One metric of one line under one set of dimensions."""

    namespace: str
    name: str
    unit: str
    values: tuple[float, ...]
    dimensions: tuple[tuple[str, str], ...]
    timestamp_ms: int


def metrics_of(line: str, received_ms: int) -> list[MetricDatum]:
    """The line's metrics, if any. What does not follow the format is left out, as CloudWatch does."""
    if not line.startswith("{") or '"CloudWatchMetrics"' not in line:
        return []
    try:
        document = json.loads(line)
    except ValueError:
        return []
    return list(_data(document, received_ms)) if isinstance(document, dict) else []


def _data(document: Mapping[str, object], received_ms: int) -> Iterator[MetricDatum]:
    metadata = _mapping(document.get("_aws"))
    timestamp = metadata.get("Timestamp")
    for directive in map(_mapping, _items(metadata.get("CloudWatchMetrics"))):
        for names in _items(directive.get("Dimensions")) or [[]]:
            for metric in map(_mapping, _items(directive.get("Metrics"))):
                values = _values(document.get(str(metric.get("Name"))))
                if values:
                    yield MetricDatum(
                        namespace=str(directive.get("Namespace")),
                        name=str(metric.get("Name")),
                        unit=str(metric.get("Unit", "None")),
                        values=values,
                        dimensions=tuple((str(n), str(document[str(n)])) for n in _items(names) if str(n) in document),
                        timestamp_ms=timestamp if isinstance(timestamp, int) else received_ms,
                    )


def _values(value: object) -> tuple[float, ...]:
    candidates = value if isinstance(value, list) else [value]
    numbers = [v for v in candidates if isinstance(v, int | float) and not isinstance(v, bool)]
    return tuple(map(float, numbers)) if len(numbers) == len(candidates) else ()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


log = logging.getLogger(__name__)
T = TypeVar("T")
WAITING_LIMIT = 50_000
EVERY_S = 0.25
_EVENTS_PER_CALL = 1_000
_METRICS_PER_CALL = 150
_SUBSCRIBED = "log_spill"
"""Subscription filters are looked for where a line has this, which few have."""


class LogDestination(Protocol):
    """Takes a batch of events; called in a thread, one batch at a time."""

    def deliver(self, events: Sequence[LogEvent]) -> None: ...


class LogHub:
    """Every event passes here."""

    def __init__(self, destination: LogDestination, *, waiting_limit: int = WAITING_LIMIT) -> None:
        self.dropped = 0
        self._destination = destination
        self._waiting: deque[LogEvent] = deque(maxlen=waiting_limit)

    def emit(self, event: LogEvent) -> None:
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(event)

    async def ship(self) -> None:
        """Deliver what waits, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            batch = list(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._destination.deliver, batch)


class CloudWatch:
    """The emulator's CloudWatch Logs, and CloudWatch itself for the metrics found in the lines."""

    def __init__(self, emulator: Emulator) -> None:
        self._logs: Any = emulator.client("logs")
        self._metrics: Any = emulator.client("cloudwatch")
        self._lambda: Any = emulator.client("lambda")
        self._streams: set[tuple[str, str]] = set()

    def deliver(self, events: Sequence[LogEvent]) -> None:
        """What cannot be delivered is reported and lost, as there is nobody to ask again."""
        try:
            for (group, stream), of_stream in _by_stream(events).items():
                for batch in _batches(of_stream, _EVENTS_PER_CALL):
                    self._put_events(group, stream, batch)
            metrics = [datum for event in events for datum in metrics_of(event.message, event.timestamp_ms)]
            for namespace, data in _by_namespace(metrics).items():
                for chunk in _batches(data, _METRICS_PER_CALL):
                    self._metrics.put_metric_data(Namespace=namespace, MetricData=[_datum(d) for d in chunk])
        except (BotoCoreError, ClientError) as error:
            log.warning("%d log events were not delivered: %s", len(events), error)

    def _put_events(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        if (group, stream) not in self._streams:
            self._create(group, stream)
        entries = [{"timestamp": event.timestamp_ms, "message": event.message} for event in events]
        self._logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=entries)
        if any(_SUBSCRIBED in event.message for event in events):
            self._tell_subscribers(group, stream, events)

    def _tell_subscribers(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        """The emulator keeps subscription filters and delivers nothing: this does, of patterns that are one word in
        quotation marks, as CloudWatch Logs would."""
        for filter in self._logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]:
            word = str(filter["filterPattern"]).strip('"')
            wanted = [event for event in events if word in event.message]
            message = {
                "messageType": "DATA_MESSAGE",
                "owner": ACCOUNT,
                "logGroup": group,
                "logStream": stream,
                "subscriptionFilters": [filter["filterName"]],
                "logEvents": [
                    {"id": uuid4().hex, "timestamp": event.timestamp_ms, "message": event.message} for event in wanted
                ],
            }
            data = base64.b64encode(gzip.compress(json.dumps(message).encode())).decode()
            payload = json.dumps({"awslogs": {"data": data}}).encode()
            self._lambda.invoke(FunctionName=filter["destinationArn"], Payload=payload)

    def _create(self, group: str, stream: str) -> None:
        """The group usually comes with the deployment; without it Lambda makes one as well."""
        for operation, names in (
            (self._logs.create_log_group, {"logGroupName": group}),
            (self._logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            try:
                operation(**names)
            except self._logs.exceptions.ResourceAlreadyExistsException:
                continue
        self._streams.add((group, stream))


def _by_stream(events: Sequence[LogEvent]) -> dict[tuple[str, str], list[LogEvent]]:
    grouped: dict[tuple[str, str], list[LogEvent]] = defaultdict(list)
    for event in events:
        grouped[event.group, event.stream].append(event)
    return grouped


def _by_namespace(data: Sequence[MetricDatum]) -> dict[str, list[MetricDatum]]:
    grouped: dict[str, list[MetricDatum]] = defaultdict(list)
    for datum in data:
        grouped[datum.namespace].append(datum)
    return grouped


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _datum(datum: MetricDatum) -> dict[str, object]:
    return {
        "MetricName": datum.name,
        "Unit": datum.unit,
        "Values": list(datum.values),
        "Timestamp": datetime.fromtimestamp(datum.timestamp_ms / 1000, UTC),
        "Dimensions": [{"Name": name, "Value": value} for name, value in datum.dimensions],
    }
