"""A small server that speaks FISO's HTTP contract, with answers that a test sets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import sleep
from urllib.parse import parse_qsl, urlsplit

from tests.functional import lease_servers

Answer = tuple[int, dict[str, str], bytes]
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
    lock: Lock = field(default_factory=Lock)

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The routes."""
        parts = urlsplit(path)
        route, _, function = parts.path.removeprefix("/api").rpartition("/")
        if route.startswith("/v1/invoke"):
            return self._invoke(function, path, headers, body)
        if function == "nobody":
            return _problem(404, "Unknown function", "no function 'nobody' in catalog version 4")
        fixed = {"/v1/explain": DECISION, "/v1/decide": LEASE, "/v1": {"snapshot_version": 4, "endpoints": [ENDPOINT]}}
        return _json(fixed[route] if route in fixed else self._invocations(dict(parse_qsl(parts.query))))

    def _invoke(self, function: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """An answer as the orchestrator gives it: every third by failover."""
        with self.lock:
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
            self.seen.append((path, headers, body))
            number = len(self.seen)
        sleep(self.delay_s)
        with self.lock:
            self.running -= 1
        if function == "nobody" or (self.fail_every and number % self.fail_every == 0):
            return _problem(404, "Unknown function", "no function 'nobody' in catalog version 4")
        provider = ("aws", "azure", "gcp")[number % 3]
        told = {
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
            told["x-fiso-function-error"] = "1"
        return self.function_status, told, self.body

    def _invocations(self, query: dict[str, str]) -> dict[str, object]:
        """The log, newest first, with its filters."""
        wanted, after = query.get("function"), query.get("after", "")
        rows = [r for r in self.records if r["function_name"] == (wanted or r["function_name"])]
        rows = [r for r in rows if str(r["timestamp"]) > after]
        newest_first = sorted(rows, key=lambda r: str(r["timestamp"]), reverse=True)
        return {"invocations": newest_first[: int(query["limit"])]}


def _json(document: object, status: int = 200, **headers: str) -> Answer:
    return status, {"content-type": "application/json"} | headers, json.dumps(document).encode()


def _problem(status: int, title: str, detail: str) -> Answer:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "invocation_id": "inv-0"}
    own = {"x-fiso-invocation-id": "inv-0", "x-fiso-overhead-ms": "0.4", "content-type": "application/problem+json"}
    return _json(document, status, **own)


@contextmanager
def serving() -> Iterator[ContractServer]:
    """The server on a free port."""
    contract = ContractServer()
    with lease_servers.serving(contract.respond) as server:
        contract.url = f"{server.url}/api"
        yield contract
