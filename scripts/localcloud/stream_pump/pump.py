"""The pump: keeps one consumer per shard of every mapping whose source is a DynamoDB stream, and tells how they do.

Mappings and shards are looked up again every few seconds, so deployments and removals are noticed. A changed or removed
mapping's consumer finishes the delivery it is in before another takes its shard."""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localcloud.doors import Door, Visit, refusal
from localcloud.stream_pump import mapping as mappings
from localcloud.stream_pump.consumer import (
    Outside,
    Pace,
    ShardConsumer,
    SourceError,
    Streams,
    startable,
)
from localcloud.stream_pump.mapping import EventSourceMapping, MappingError

log = logging.getLogger(__name__)

ShardKey = tuple[str, str]


class Pump:
    """Consumers by (mapping uuid, shard id). `refresh` and `stop` are called by one thread only."""

    def __init__(self, streams: Streams, outside: Outside, pace: Pace) -> None:
        self.consumers: dict[ShardKey, ShardConsumer] = {}
        self.problems: tuple[str, ...] = ()
        self._streams = streams
        self._outside = outside
        self._pace = pace

    def refresh(self) -> None:
        """Look at the control plane; start and stop consumers to match. While it is away, all stays as it is."""
        problems: list[str] = []
        try:
            wanted = self._mappings(problems)
            self._retire(wanted)
            for mapping in wanted.values():
                self._start(mapping, problems)
        except SourceError as error:
            problems.append(str(error))
        for problem in set(problems) - set(self.problems):
            log.warning("%s", problem)
        self.problems = tuple(problems)

    def stop(self) -> None:
        for consumer in self.consumers.values():
            consumer.stop()

    def _mappings(self, problems: list[str]) -> Mapping[str, EventSourceMapping]:
        found: dict[str, EventSourceMapping] = {}
        for document in filter(mappings.reads_a_table_stream, self._streams.mappings()):
            try:
                mapping = mappings.from_document(document)
            except MappingError as error:
                problems.append(str(error))
                continue
            if not mappings.is_left_to_the_pump(document):
                self._streams.disable(mapping.uuid)
            found[mapping.uuid] = mapping
        return found

    def _retire(self, wanted: Mapping[str, EventSourceMapping]) -> None:
        for key, consumer in list(self.consumers.items()):
            if wanted.get(consumer.mapping.uuid) != consumer.mapping:
                consumer.stop()
            if not consumer.is_alive():
                del self.consumers[key]

    def _start(self, mapping: EventSourceMapping, problems: list[str]) -> None:
        try:
            shards = self._streams.shards(mapping.stream_arn)
            for shard in startable(shards, self._outside.checkpoints.finished(mapping.uuid)):
                key = (mapping.uuid, shard.shard_id)
                if key not in self.consumers:
                    self.consumers[key] = self._consumer(mapping, shard.shard_id)
        except SourceError as error:
            problems.append(f"{mapping.function_name}: {error}")

    def _consumer(self, mapping: EventSourceMapping, shard_id: str) -> ShardConsumer:
        place = self._outside.checkpoints.place(mapping.uuid, shard_id)
        after = place.sequence_number if place else None
        reader = self._streams.reader(mapping.stream_arn, shard_id, after=after)
        consumer = ShardConsumer(mapping, shard_id, reader, self._outside, self._pace)
        log.info("delivering %s %s to %s after %s", mapping.stream_arn, shard_id, mapping.function_name, after)
        consumer.start()
        return consumer


def health_document(pump: Pump, now: datetime) -> Mapping[str, object]:
    """`ok`, or `degraded` when the control plane, a mapping or a delivery has a problem now."""
    shards = [_shard(consumer, now) for consumer in list(pump.consumers.values())]
    troubled = pump.problems or any(shard["problem"] for shard in shards)
    return {"status": "degraded" if troubled else "ok", "problems": list(pump.problems), "shards": shards}


def _shard(consumer: ShardConsumer, now: datetime) -> dict[str, object]:
    queue = consumer.queue
    oldest = queue.pending[0].records[0].created_at if queue.pending else now
    return {
        "function": consumer.mapping.function_name,
        "mapping": consumer.mapping.uuid,
        "shard": consumer.shard_id,
        "checkpoint": queue.checkpoint,
        "pending_records": sum(len(batch.records) for batch in queue.pending),
        "lag_ms": round((now - oldest).total_seconds() * 1000),
        **asdict(consumer.progress),
    }


def serve_health(pump: Pump, port: int) -> ThreadingHTTPServer:
    """Answer on 127.0.0.1 in a background thread; port 0 picks a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            headers = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
            visit = Visit(headers=headers, caller=self.client_address[:2], port=server.server_port)
            if refusal(visit, Door.CONTROL) is not None:
                return self._answer(HTTPStatus.FORBIDDEN, b"")
            if self.path.split("?")[0] != "/healthz":
                return self._answer(HTTPStatus.NOT_FOUND, b"")
            self._answer(HTTPStatus.OK, json.dumps(health_document(pump, datetime.now(UTC))).encode())

        def _answer(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Health checks are not worth a line."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
