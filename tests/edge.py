"""Requests to and answers of the orchestrator's handler: callers, problems, leases and reports under them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fiso.domain.access import AuthMode
from fiso.domain.record import InvocationRecord
from fiso.services.identity.access import GATEWAY_WORD
from fiso.settings import AccessSettings
from fiso.testing.rig import SETTINGS, Rig
from fiso_client.core.failures import Failure

BODY = '{"text": "a"}'
WORD = "the gateway's own word"
BY_SIGNATURE = AccessSettings(mode=AuthMode.IAM, gateway_hashes=frozenset({sha256(WORD.encode()).hexdigest()}))
BY_IAM = replace(SETTINGS, access=BY_SIGNATURE)


def handed_on(event: dict[str, Any]) -> dict[str, Any]:
    """An event that came through the gateway, which writes over what was sent under the name; headers that are none
    stay as they are."""
    headers = event.get("headers")
    return {**event, "headers": {**headers, GATEWAY_WORD: WORD}} if isinstance(headers, dict) else event


def signed(event: dict[str, Any], account: str = "111122223333") -> dict[str, Any]:
    """The event of a caller whose signature the gateway verified."""
    event = handed_on(event)
    iam = {"accountId": account, "userArn": f"arn:aws:iam::{account}:user/somebody", "accessKey": "AKIA"}
    return {**event, "requestContext": {**event["requestContext"], "authorizer": {"iam": iam}}}


def problem_of(response: Mapping[str, Any]) -> dict[str, Any]:
    """The problem document of an error answer."""
    assert response["headers"]["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response["body"])
    return document


def first_answer_of(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what is this request's own."""
    own = ("x-fiso-overhead-ms", "idempotent-replayed")
    return response | {"headers": {name: value for name, value in response["headers"].items() if name not in own}}


def decide(rig: Rig, **headers: str) -> dict[str, Any]:
    """A lease."""
    answer = rig.request("POST", "/v1/decide/word-count", body=BODY, **headers)
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.document
    return document


def answered(endpoint: str, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 50.0, "status": 200} | changes


def failed(endpoint: str, failure: Failure, **changes: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "after_ms": 0, "latency_ms": 5.0, "failure": failure.value} | changes


def an_outcome(number: int, *attempts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"number": number, "request_size_bytes": len(BODY), "response_size_bytes": 2, "attempts": list(attempts)}
    return fields | changes


def report_of(token: str, *outcomes: object) -> str:
    return json.dumps({"leases": [{"token": token, "outcomes": list(outcomes)}]})


def report(rig: Rig, token: str, *outcomes: object) -> dict[str, Any]:
    """The verdict on these outcomes."""
    answer = rig.request("POST", "/v1/outcomes", body=report_of(token, *outcomes))
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.document
    return document


def counts(verdict: dict[str, Any]) -> tuple[int, int, int]:
    return verdict["accepted"], verdict["repeated"], verdict["rejected"]


def by_time(rig: Rig) -> list[InvocationRecord]:
    return sorted(rig.records, key=lambda record: record.timestamp)


def ids(lease: dict[str, Any]) -> list[str]:
    return [row["id"] for row in lease["endpoints"]]
