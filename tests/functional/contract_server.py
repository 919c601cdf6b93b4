"""A small server that speaks FISO's HTTP contract, with answers that a test sets."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

RECORD = {
    "invocation_id": "inv-1",
    "timestamp": "2030-01-01T10:00:00.000Z",
    "status": "final",
    "tenant": "local",
    "function_name": "word-count",
    "cloud_provider": "gcp",
    "region": "us-east4",
    "endpoint": "gcp-us-east4",
    "reason": "score",
    "request_size_bytes": 3,
    "response_size_bytes": 4,
    "execution_time_ms": 12.5,
    "cost_usd": 0.0000021,
    "day_of_week": 2,
    "hour_of_day": 10,
    "error_occurred": False,
    "response_status": 200,
    "overhead_ms": 1.5,
    "candidates": [["gcp-us-east4", 11.0, 2e-6, 0.99, 0.91, 0.97], ["aws-us-east-1", 14.0, 2e-6, 0.99, 0.84, 0.03]],
    "attempts": [
        {"endpoint": "gcp-us-east4", "started_at": "2030-01-01T10:00:00.001Z", "latency_ms": 12.5, "status": 200}
    ],
}
DECISION = {
    "function": "word-count",
    "decided_at": "2030-01-01T10:00:00.000Z",
    "chosen": "gcp-us-east4",
    "reason": "score",
    "ranking": [
        {
            "endpoint": "gcp-us-east4",
            "provider": "gcp",
            "region": "us-east4",
            "memory_mb": 256,
            "score": 0.9123,
            "terms": {"latency": 1.0, "cost": 1.0, "reliability": 0.99, "region_affinity": 0.7},
            "propensity": 1.0,
            "is_demoted": False,
            "prediction": {
                "source": "model",
                "latency_ms": 11.0,
                "raw_latency_ms": 10.0,
                "cost_usd": 2e-6,
                "model_cost_usd": None,
                "success_probability": 0.99,
            },
            "features": {},
        }
    ],
    "exclusions": [{"endpoint": "azure-eastus", "code": "denied_provider", "detail": "azure is denied"}],
    "policy_version": 3,
    "snapshot_version": 4,
    "model_version": "m-1",
    "tariff_version": "t-1",
    "invocation_id": "inv-9",
}
ENDPOINT = {
    "function": "word-count",
    "endpoint": "azure-eastus",
    "provider": "azure",
    "region": "eastus",
    "memory_mb": 512,
    "mode": "route",
    "breaker": "open",
    "breaker_opened_until": "2030-01-01T10:00:30.000Z",
    "attempts": 9,
    "latency_ms": 40.0,
    "load_factor": 0.01,
    "error_rate": 0.3,
    "cold_share": None,
    "cost_usd": 1e-5,
    "consecutive_failures": 3,
    "last_failure": "unreachable",
}


LEASE = {
    "function": "word-count",
    "token": "fl1.k1." + "x" * 400,
    "expires_at": "2030-01-01T10:01:00.000Z",
    "reported_until": "2030-01-01T11:00:00.000Z",
    "reason": "score",
    "idempotent": "yes",
    "policy_version": 3,
    "model_version": "m-1",
    "endpoints": [
        {
            "id": "azure-eastus",
            "provider": "azure",
            "region": "eastus",
            "propensity": 1.0,
            "latency_ms": 40.0,
            "p95_ms": 90.0,
            "patience_ms": 180.0,
            "payload": "http",
            "authentication": "function_key",
            "secret_ref": "fiso/prod/function-key",
            "address": "https://a-function-app.azurewebsites.net",
            "path": "/api/word-count",
        }
    ],
}


@dataclass
class ContractServer:
    """The HTTP contract with answers that a test sets. `seen` holds every request."""

    url: str = ""
    body: bytes = b'{"total":3}'
    function_status: int = 200
    delay_s: float = 0.0
    fail_every: int = 0
    records: list[dict[str, object]] = field(default_factory=lambda: [RECORD])
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    model_version: str = "m-1"
    most_at_once: int = 0
    running: int = 0

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=20 * 1024 * 1024)
        app.router.add_post("/api/v1/invoke/{function}", self.invoke)
        app.router.add_post("/api/v1/explain/{function}", self.explain)
        app.router.add_post("/api/v1/decide/{function}", self.decide)
        app.router.add_get("/api/v1/endpoints", self.endpoints)
        app.router.add_get("/api/api/invocations", self.invocations)
        return app

    async def invoke(self, request: web.Request) -> web.Response:
        """An answer as the orchestrator gives it: every third by failover."""
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        body = await request.read()
        self.seen.append((request.path_qs, {k.lower(): v for k, v in request.headers.items()}, body))
        number = len(self.seen)
        await asyncio.sleep(self.delay_s)
        self.running -= 1
        if request.match_info["function"] == "nobody" or (self.fail_every and number % self.fail_every == 0):
            return _problem(404, "Unknown function", "no function 'nobody' in catalog version 4")
        provider = ("aws", "azure", "gcp")[number % 3]
        headers = {
            "x-fiso-invocation-id": f"inv-{number}",
            "x-fiso-overhead-ms": "1.5",
            "x-fiso-provider": provider,
            "x-fiso-region": "somewhere",
            "x-fiso-endpoint": f"{provider}-somewhere",
            "x-fiso-reason": "failover" if number % 3 == 0 else "score",
            "x-fiso-attempts": "2" if number % 3 == 0 else "1",
            "x-fiso-model-version": self.model_version,
        }
        if self.function_status >= 400:
            headers["x-fiso-function-error"] = "1"
        return web.Response(status=self.function_status, body=self.body, headers=headers)

    async def explain(self, request: web.Request) -> web.Response:
        """A decision, or the refusal of an unknown function."""
        if request.match_info["function"] == "nobody":
            return _problem(404, "Unknown function", "no function 'nobody' in catalog version 4")
        return web.json_response(DECISION)

    async def decide(self, request: web.Request) -> web.Response:
        """A lease."""
        del request
        return web.json_response(LEASE)

    async def endpoints(self, request: web.Request) -> web.Response:
        """One endpoint behind an open breaker."""
        del request
        return web.json_response({"snapshot_version": 4, "endpoints": [ENDPOINT]})

    async def invocations(self, request: web.Request) -> web.Response:
        """The log, newest first, with its filters."""
        wanted, after = request.query.get("function"), request.query.get("after", "")
        rows = [r for r in self.records if r["function_name"] == (wanted or r["function_name"])]
        rows = [r for r in rows if str(r["timestamp"]) > after]
        newest_first = sorted(rows, key=lambda r: str(r["timestamp"]), reverse=True)
        return web.json_response({"invocations": newest_first[: int(request.query["limit"])]})


def _problem(status: int, title: str, detail: str) -> web.Response:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "invocation_id": "inv-0"}
    headers = {"x-fiso-invocation-id": "inv-0", "x-fiso-overhead-ms": "0.4"}
    return web.Response(
        status=status, body=json.dumps(document).encode(), content_type="application/problem+json", headers=headers
    )


@contextmanager
def serving() -> Iterator[ContractServer]:
    """The server on a free port, in a thread of its own."""
    contract = ContractServer()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(contract.app(), access_log=None)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    contract.url = f"http://127.0.0.1:{loop.run_until_complete(start())}/api"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield contract
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
