"""The orchestrator's answers: status, headers and body of one event of each kind. What varies is masked."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Idempotent, Mode
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryTenantUse
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import an_entry, failing
from tests.functional.lease_reports import an_outcome, answered, decide
from tests.functional.orchestrator_rig import BY_IAM, LambdaContext, Rig, http_event, signed
from tests.golden.golden_files import golden_json, parts_of, rounded

Response = dict[str, Any]
TIMED_OUT, UNREACHABLE = (ProviderError(each, "a detail") for each in (Failure.TIMED_OUT, Failure.UNREACHABLE))
OWN_ERROR = FunctionAnswer(status=500, body=b"{}", headers={"content-type": "application/json"}, is_function_error=True)
MASKS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"fl1\.[A-Za-z0-9_.-]+"), "TOKEN"),
    (re.compile(r"(?<=function;dur=)[0-9.]+"), "MS"),
)
VARYING = {"code_version", "snapshot_age_s", "age_s", "execution_time_ms", "overhead_ms", "prediction_accuracy"}
MEASURED = {"latency_ms", "cost_usd"}
"""They vary where they are of a call, not of a prediction."""


def test_answers_of_functions() -> None:
    once = an_entry(idempotent=Idempotent.NO)
    away = ProviderError(Failure.THROTTLED, "status 429", retry_after_s=7)
    keyed, other = http_event(idempotency_key="k"), http_event(body='{"text": "b"}', idempotency_key="k")
    rig = Rig(failing(OK))
    golden_json(
        "http-invoke.json",
        {
            "answered": sent(Rig(failing(OK)), http_event()),
            "function's own error": sent(Rig(failing(OWN_ERROR)), http_event()),
            "failed over": sent(Rig(failing(UNREACHABLE, OK)), http_event()),
            "pinned": sent(Rig(failing(OK), an_entry(mode=Mode.PIN, pinned=EndpointId("gcp"))), http_event()),
            "first under a key": sent(rig, keyed),
            "replayed": sent(rig, keyed),
            "key reused": sent(rig, other),
            "key in use": beside(keyed),
            "every attempt failed": sent(Rig(failing(TIMED_OUT)), http_event()),
            "one that must not be repeated failed": sent(Rig(failing(TIMED_OUT), once), http_event()),
            "unreachable": sent(Rig(failing(UNREACHABLE)), http_event()),
            "throttled": sent(Rig(failing(away)), http_event()),
            "nothing eligible": sent(Rig(failing(OK), an_entry(residency=frozenset({"eu"}))), http_event()),
            "rejected": sent(Rig(failing(ProviderError(Failure.REJECTED, "status 400"))), http_event()),
            "no time left": sent(Rig(failing(OK)), http_event(), LambdaContext(remaining_ms=700)),
        },
    )


def test_refusals() -> None:
    limited = Rig(failing(OK), access=BY_IAM, quotas="1/1", tenant_use=InMemoryTenantUse())
    limited.send(signed(http_event()))
    refused = {
        "not JSON": http_event(body='{"a": '),
        "timeout": http_event(x_fiso_timeout_ms="1e9"),
        "unknown function": http_event(path="/v1/invoke/nobody"),
        "unknown path": http_event(path="/v2/anything"),
        "method": http_event(method="PUT"),
        "too large": http_event(body="x" * (5 * 2**20 + 1), content_type="text/plain"),
        "content type": http_event(content_type="text/event-stream"),
        "unknown invocation": http_event(method="GET", path=f"/v1/invocations/{'0' * 36}"),
        "report without leases": http_event(path="/v1/outcomes", body="{}"),
    }
    answers = {name: sent(Rig(failing(OK)), event) for name, event in refused.items()}
    answers["not authenticated"] = sent(Rig(failing(OK), access=BY_IAM), http_event())
    answers["over quota"] = sent(limited, signed(http_event()))
    golden_json("http-refusals.json", answers)


def test_documents() -> None:
    rig = Rig(failing(OK))
    id = rig.send(http_event())["headers"]["x-fiso-invocation-id"]
    token = decide(rig)["token"]
    leases = [{"token": token, "outcomes": [an_outcome(0, answered("azure"))]}, {"token": "fl1.x", "outcomes": [{}]}]
    asked = {
        "explain": http_event(path="/v1/explain/word-count"),
        "decide": http_event(path="/v1/decide/word-count", x_fiso_request_size="17"),
        "outcomes": http_event(path="/v1/outcomes", body=json.dumps({"leases": leases})),
        "endpoints": http_event(method="GET", path="/v1/endpoints"),
        "invocation": http_event(method="GET", path=f"/v1/invocations/{id}"),
        "health": http_event(method="GET", path="/healthz"),
    }
    golden_json("http-documents.json", {name: sent(rig, event) for name, event in asked.items()})


def beside(event: Mapping[str, Any]) -> Response:
    """What a request gets while another one under its key is running."""
    answers: list[Response] = []

    def respond(*_: object) -> FunctionAnswer:
        answers.append(sent(rig, event))
        return OK

    rig = Rig(respond)
    rig.send(event)
    return answers[0]


def sent(rig: Rig, event: Mapping[str, Any], context: LambdaContext | None = None) -> Response:
    """The answer to an event, masked."""
    response = rig.send(event, context)
    headers = {name: masked(value) for name, value in response["headers"].items()} | {"x-fiso-overhead-ms": "MS"}
    body = response["body"]
    if response.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    is_json = headers["content-type"].endswith("json")
    return response | {"headers": headers, "body": parts_of(masked(steady(body) if is_json else body))}


def masked(text: str) -> str:
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def steady(body: str) -> str:
    """A JSON body in its own order and spacing, with figures rounded and what varies left out."""
    document = json.loads(body)
    spacing = next(found for found in ((",", ":"), (", ", ": ")) if json.dumps(document, separators=found) == body)
    return json.dumps(without_times(rounded(document)), separators=spacing)


def without_times(document: Any) -> Any:
    if isinstance(document, list):
        return [without_times(part) for part in document]
    if not isinstance(document, dict):
        return document
    is_of_a_call = bool({"started_at", "timestamp"} & document.keys())
    names = VARYING | MEASURED if is_of_a_call else VARYING
    return {name: "VARIES" if name in names else without_times(part) for name, part in document.items()}
