"""Leases and reports through the handler, for tests of both."""

import json
from typing import Any

from fiso.domain.record import InvocationRecord
from fiso_client.core.failures import Failure
from tests.functional.orchestrator_rig import Rig, http_event

BODY = '{"text": "a"}'


def decide(rig: Rig, **headers: str) -> dict[str, Any]:
    answer = rig.send(http_event(path="/v1/decide/word-count", body=BODY, **headers))
    assert answer["statusCode"] == 200, answer["body"]
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def answered(endpoint: str, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 50.0, "status": 200} | changes


def failed(endpoint: str, failure: Failure, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 5.0, "failure": failure.value} | changes


def an_outcome(number: int, *attempts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"number": number, "request_size_bytes": len(BODY), "response_size_bytes": 2, "attempts": list(attempts)}
    return fields | changes


def report(rig: Rig, token: str, *outcomes: object, event: dict[str, Any] | None = None) -> dict[str, Any]:
    body = json.dumps({"leases": [{"token": token, "outcomes": list(outcomes)}]})
    answer = rig.send((event or {}) | http_event(path="/v1/outcomes", body=body))
    assert answer["statusCode"] == 200, answer["body"]
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def counts(verdict: dict[str, Any]) -> tuple[int, int, int]:
    return verdict["accepted"], verdict["repeated"], verdict["rejected"]


def records(rig: Rig) -> list[InvocationRecord]:
    found = [record for record in rig.log.records.values() if isinstance(record, InvocationRecord)]
    return sorted(found, key=lambda record: record.timestamp)


def ids(lease: dict[str, Any]) -> list[str]:
    return [row["id"] for row in lease["endpoints"]]
