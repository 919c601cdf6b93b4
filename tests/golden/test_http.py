"""The orchestrator's answers: status, headers and body of one event of each kind. What varies is masked."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Idempotent, Mode
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryTenantUse, Respond
from fiso.testing.rig import LambdaContext, Rig, http_event
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import an_entry, failing
from tests.edge import BY_IAM, an_outcome, answered, decide, signed
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
    rig = answering(failing(OK))
    golden_json(
        "http-invoke.json",
        {
            "answered": sent(answering(failing(OK)), http_event()),
            "function's own error": sent(answering(failing(OWN_ERROR)), http_event()),
            "failed over": sent(answering(failing(UNREACHABLE, OK)), http_event()),
            "pinned": sent(Rig(an_entry(mode=Mode.PIN, pinned=EndpointId("gcp")), respond=failing(OK)), http_event()),
            "first under a key": sent(rig, keyed),
            "replayed": sent(rig, keyed),
            "key reused": sent(rig, other),
            "key in use": beside(keyed),
            "every attempt failed": sent(answering(failing(TIMED_OUT)), http_event()),
            "one that must not be repeated failed": sent(Rig(once, respond=failing(TIMED_OUT)), http_event()),
            "a raised error": sent(answering(failing(replace(OWN_ERROR, is_unhandled=True))), http_event()),
            "unreachable": sent(answering(failing(UNREACHABLE)), http_event()),
            "throttled": sent(answering(failing(away)), http_event()),
            "nothing eligible": sent(Rig(an_entry(residency=frozenset({"eu"})), respond=failing(OK)), http_event()),
            "rejected": sent(answering(failing(ProviderError(Failure.REJECTED, "status 400"))), http_event()),
            "no time left": sent(answering(failing(OK)), http_event(), LambdaContext(remaining_ms=700)),
        },
    )


def test_refusals() -> None:
    by_iam = Rig(an_entry(), respond=failing(OK), settings=BY_IAM)
    limited = Rig(
        an_entry(),
        respond=failing(OK),
        settings=replace(BY_IAM, quotas="1/1"),
        ports=lambda ports: replace(ports, tenant_use=InMemoryTenantUse()),
    )
    limited.send(signed(http_event()))
    refused = {
        "not JSON": http_event(path="/v1/explain/word-count", body='{"a": '),
        "timeout": http_event(x_fiso_timeout_ms="1e9"),
        "unknown function": http_event(path="/v1/invoke/nobody"),
        "unknown path": http_event(path="/v2/anything"),
        "method": http_event(method="TRACE"),
        "too large": http_event(body="x" * (5 * 2**20 + 1), content_type="text/plain"),
        "header": http_event(user_agent="a\r\nb"),
        "unknown invocation": http_event(method="GET", path=f"/v1/invocations/{'0' * 36}"),
        "report without leases": http_event(path="/v1/outcomes", body="{}"),
    }
    answers = {name: sent(answering(failing(OK)), event) for name, event in refused.items()}
    answers["not authenticated"] = sent(by_iam, http_event())
    answers["over quota"] = sent(limited, signed(http_event()))
    golden_json("http-refusals.json", answers)


def test_documents() -> None:
    rig = answering(failing(OK))
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


def answering(respond: Respond) -> Rig:
    return Rig(an_entry(), respond=respond)


def beside(event: Mapping[str, Any]) -> Response:
    """What a request gets while another one under its key is running."""
    answers: list[Response] = []

    def respond(*_: object) -> FunctionAnswer:
        answers.append(sent(rig, event))
        return OK

    rig = answering(respond)
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
