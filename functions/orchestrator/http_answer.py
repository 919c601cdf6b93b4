"""Answers: what became of a request as an HTTP API response. Errors are `application/problem+json`, never 200."""

import base64
import json
import re
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
from fiso.domain.headers import narrowed
from fiso.domain.policy import Policy
from fiso.services.request.orchestrate import RoutingResult
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.content import is_textual, kind_of
from fiso_client.core.failures import Fault
from fiso_client.core.redaction import redact

Response = dict[str, Any]
LARGEST_RESPONSE = 6_291_556
"""Bytes of JSON that Lambda returns at most, headers included (AWS Lambda quotas, invocation payload)."""
SURELY_SMALL = 1_000_000
"""A body of fewer bytes fits in any form: JSON makes at most six of one."""
BODILESS = frozenset({204, 205, 304})
"""Statuses that end with their head (RFC 9110, 15)."""
ACTIVE = frozenset({"text/html", "text/xsl", "multipart/x-mixed-replace", "application/unknown", "unknown/unknown"})
"""Types under which a browser shows a page that may run something, beside XML's; or takes for one that it guesses."""
_ONE_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
SANDBOX = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-scripts"
OF_THE_ORIGIN = frozenset(
    "clear-site-data service-worker-allowed strict-transport-security origin-agent-cluster nel report-to accept-ch "
    "critical-ch expect-ct public-key-pins public-key-pins-report-only secure-session-registration "
    "sec-session-registration set-login use-as-dictionary".split()
)
"""A browser keeps them for all of the origin, the console as well: who is logged out, whose requests a script answers,
to whom each URL that is asked for is reported (Network Error Logging)."""
ENVELOPE = 64 * 1024
"""Kept for status, headers and FISO's own headers."""


def routed_answer(routed: RoutingResult, policy: Policy) -> Response:
    """The function's own answer with FISO's headers, or the problem that stands for it."""
    if routed.error is not None:
        response = routing_problem(routed.error, routed.request.invocation_id)
        response["headers"].update(_headers(routed))
        return response
    answer = routed.outcome.answer
    if answer is None:
        raise ValueError("a routed request has an answer or an error")
    hides = answer.is_unhandled and not policy.expose_errors
    response = _unhandled(routed) if hides else _passed_on(answer, policy)
    timing = response["headers"].get("server-timing")
    response["headers"] |= _headers(routed)
    if timing and "server-timing" in response["headers"]:
        response["headers"]["server-timing"] = f"{timing}, {response['headers']['server-timing']}"
    if answer.is_function_error:
        response["headers"]["x-fiso-function-error"] = "1"
    if routed.affinity_cookie is not None:
        response["cookies"] = [*response.get("cookies", []), routed.affinity_cookie]
    if routed.request.method == "HEAD" or answer.status in BODILESS:
        response |= {"body": "", "isBase64Encoded": False}
    return response


def _passed_on(answer: FunctionAnswer, policy: Policy) -> Response:
    headers = contained(narrowed(dict(answer.headers), policy.answer_headers), is_apart=policy.sandbox)
    body, is_base64 = _encoded(answer)
    response: Response = {"statusCode": answer.status, "headers": headers, "body": body, "isBase64Encoded": is_base64}
    if answer.cookies and (not policy.answer_headers or "set-cookie" in policy.answer_headers):
        response["cookies"] = list(answer.cookies)
    return response


def contained(headers: dict[str, str], *, is_apart: bool) -> dict[str, str]:
    """An answer's headers with what keeps a function's page to itself, since its host is that of FISO's console: nobody
    guesses a type that the function did not say, and (`is_apart`) a page runs in an origin of its own, so that its
    scripts read nothing with the session of whoever is logged in (Content Security Policy 3, 6.3.2). docs/http.md"""
    headers["x-content-type-options"] = "nosniff"
    if is_apart and _is_active(headers.get("content-type")):
        own = headers.get("content-security-policy")
        headers["content-security-policy"] = f"{own}, {SANDBOX}" if own else SANDBOX
    for name in OF_THE_ORIGIN & headers.keys():
        del headers[name]
    return headers


def _is_active(content_type: str | None) -> bool:
    """Whether a browser may run what it shows under a type. Of several types it takes the last, of what is none it
    guesses."""
    kind = kind_of(content_type)
    return not _ONE_TYPE.fullmatch(kind) or "," in str(content_type) or kind in ACTIVE or kind.endswith("xml")


def _unhandled(routed: RoutingResult) -> Response:
    """What stands for an error that a function raised: its text may hold what no caller should see."""
    verdict = routed.outcome.attempts[-1].verdict or Fault.FUNCTION
    detail = "the function raised an error; its own log has it, and the record of this invocation says where it ran"
    return problem(500, "Function failed", detail, routed.request.invocation_id, verdict=verdict)


def can_return(answer: FunctionAnswer) -> bool:
    """Whether an answer fits Lambda's response. Asked before the record is closed, so that both say the same."""
    if len(answer.body) < SURELY_SMALL:
        return True
    body, _ = _encoded(answer)
    return _json_size(body) + ENVELOPE <= LARGEST_RESPONSE


def _encoded(answer: FunctionAnswer) -> tuple[str, bool]:
    """The body as the response carries it, and whether in base64: text stays text where that is no longer, since
    base64 takes a third more."""
    text = _text(answer)
    if text is not None and (len(answer.body) < SURELY_SMALL or _json_size(text) <= _base64_size(answer.body)):
        return text, False
    return base64.b64encode(answer.body).decode("ascii"), True


def _text(answer: FunctionAnswer) -> str | None:
    """The body as text; None where it is not, or where the function compressed it."""
    if not is_textual(answer.headers.get("content-type")) or "content-encoding" in answer.headers:
        return None
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _json_size(text: str) -> int:
    # Lambda's runtime for Python 3.11 escapes everything beyond ASCII, as json.dumps does
    return len(json.dumps(text))


def _base64_size(body: bytes) -> int:
    return 4 * ((len(body) + 2) // 3)


def json_answer(document: Mapping[str, Any], *, status: int = 200) -> Response:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps(document, separators=(",", ":")),
    }


def request_problem(error: RequestError, invocation_id: str, *, challenge: str) -> Response:
    """The caller's fault. `challenge` says how callers authenticate here."""
    headers = _headers_of(error, challenge)
    return problem(error.status, error.title, str(error), invocation_id, headers=headers, verdict=Fault.CALLER)


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
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    told = {"verdict": error.verdict, "unknown_outcome": error.unknown_outcome}
    extra = {name: value for name, value in told.items() if value is not None}
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
        "detail": redact(detail, limit=2000),
        "invocation_id": invocation_id,
        **extra,
    }
    own = {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-fiso-invocation-id": invocation_id,
    }
    return {"statusCode": status, "headers": own | dict(headers or {}), "body": json.dumps(document)}


def _headers(routed: RoutingResult) -> dict[str, str]:
    record = routed.record
    headers = {
        "x-fiso-invocation-id": record.invocation_id,
        "x-fiso-attempts": str(len(record.attempts)),
        "x-fiso-model-version": record.decision.model_version or "none",
    }
    optional = {
        "x-fiso-provider": record.result.cloud_provider,
        "x-fiso-region": record.result.region,
        "x-fiso-endpoint": record.result.endpoint,
        "x-fiso-reason": record.decision.reason,
    }
    headers.update({name: str(value) for name, value in optional.items() if value is not None})
    if record.result.execution_time_ms is not None:
        headers["server-timing"] = f"function;dur={record.result.execution_time_ms:.1f}"
    return headers
