"""Answers: what became of a request as an HTTP API response. Errors are `application/problem+json`, never 200."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from fiso.domain.errors import (
    KeyInUse,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    QuotaExceeded,
    RequestError,
    RoutingError,
)
from fiso.services.request.orchestrate import Routed
from fiso_client.core.redaction import shown

Response = dict[str, Any]
LARGEST_ANSWER = 6 * 1024 * 1024 - 64 * 1024
"""What Lambda returns at most, less the envelope."""


def routed_answer(routed: Routed) -> Response:
    """The function's own answer with FISO's headers, or the problem that stands for it."""
    if routed.error is not None:
        response = routing_problem(routed.error, routed.request.invocation_id)
        response["headers"].update(_headers(routed))
        return response
    attempt = routed.outcome.answered_by
    if attempt is None or attempt.answer is None:
        raise ValueError("a routed request has an answer or an error")
    answer = attempt.answer
    if 4 * (len(answer.body) + 2) // 3 > LARGEST_ANSWER:
        detail = f"the function answered {len(answer.body)} bytes, more than can be returned"
        return problem(502, "Answer too large", detail, routed.request.invocation_id, headers=_headers(routed))
    headers = {**answer.headers, **_headers(routed)}
    if answer.is_function_error:
        headers["x-fiso-function-error"] = "1"
    encoded = base64.b64encode(answer.body).decode("ascii")
    return {"statusCode": answer.status, "headers": headers, "body": encoded, "isBase64Encoded": True}


def json_answer(document: Mapping[str, Any], *, status: int = 200) -> Response:
    """A JSON document."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps(document, separators=(",", ":")),
    }


def request_problem(error: RequestError, invocation_id: str, *, challenge: str) -> Response:
    """The caller's fault. `challenge` says how callers authenticate here."""
    headers = _headers_of(error, challenge)
    return problem(error.status, error.title, str(error), invocation_id, headers=headers)


def _headers_of(error: RequestError, challenge: str) -> dict[str, str]:
    match error:
        case MethodNotAllowed():
            return {"allow": error.allow}
        case NotAuthenticated():
            return {"www-authenticate": challenge}
        case NotAllowed():
            return {"www-authenticate": f'{challenge}, error="insufficient_scope", scope="{error.scope}"'}
        case QuotaExceeded() | KeyInUse():
            return {"retry-after": str(error.retry_after_s)}
    return {}


def routing_problem(error: RoutingError, invocation_id: str) -> Response:
    """FISO could not get an answer."""
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    extra = {} if error.unknown_outcome is None else {"unknown_outcome": error.unknown_outcome}
    return problem(error.status, error.title, str(error), invocation_id, headers=headers, **extra)


def problem(
    status: int,
    title: str,
    detail: str,
    invocation_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    **extra: object,
) -> Response:
    """RFC 9457 problem details."""
    document = {
        "type": f"urn:fiso:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": shown(detail, limit=2000),
        "invocation_id": invocation_id,
        **extra,
    }
    own = {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-fiso-invocation-id": invocation_id,
    }
    return {"statusCode": status, "headers": own | dict(headers or {}), "body": json.dumps(document)}


def _headers(routed: Routed) -> dict[str, str]:
    record = routed.record
    headers = {
        "x-fiso-invocation-id": record.invocation_id,
        "x-fiso-attempts": str(len(record.attempts)),
        "x-fiso-model-version": record.model_version or "none",
    }
    optional = {
        "x-fiso-provider": record.cloud_provider,
        "x-fiso-region": record.region,
        "x-fiso-endpoint": record.endpoint,
        "x-fiso-reason": record.reason,
    }
    headers.update({name: str(value) for name, value in optional.items() if value is not None})
    if record.execution_time_ms is not None:
        headers["server-timing"] = f"function;dur={record.execution_time_ms:.1f}"
    return headers
