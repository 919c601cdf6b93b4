"""The pump's `GET /healthz`: what is delivered where, and how far behind each shard is."""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localcloud.stream_pump.consumer import ShardConsumer
from localcloud.stream_pump.pump import Pump


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
            found = self.path.split("?")[0] == "/healthz"
            body = json.dumps(health_document(pump, datetime.now(UTC))).encode() if found else b""
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
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
