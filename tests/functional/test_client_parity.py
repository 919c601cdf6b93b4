"""The client reads endpoints' answers exactly as the orchestrator's own caller does."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.testing.clock import ManualClock
from fiso_client import calling
from fiso_client.aws import LambdaFunctions
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target
from tests.builders import a_request, an_endpoint
from tests.front_doors import EXAMPLES, Example
from tests.functional.lease_servers import serving


class Known:
    """An identity that any endpoint takes."""

    def headers(self, _endpoint: Endpoint, *, timeout_s: float) -> dict[str, str]:
        return {"x-functions-key": "k"}

    def replaced(self, _endpoint: Endpoint, _refused: object, *, timeout_s: float) -> None:
        """There is no other."""


def by_orchestrator(endpoint: Endpoint) -> tuple[object, ...]:
    caller = HttpCaller(
        HttpTransport(), clock=ManualClock(), allow_loopback=True, identities=dict.fromkeys(Authentication, Known())
    )
    try:
        answer = ByProvider({endpoint.provider: caller}).call(endpoint, a_request(), timeout_ms=2000)
    except ProviderError as error:
        return error.failure, error.retry_after_s, error.verdict, error.detail, error.status
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


def by_client(endpoint: Endpoint) -> tuple[object, ...]:
    target = Target(
        id=endpoint.id,
        provider=endpoint.provider,
        address=endpoint.address,
        authentication=endpoint.authentication,
    )
    try:
        answer = calling.HttpCaller(HttpTransport(), lambda _: {})(target, calling.Request(body=b"x"), timeout_s=2)
    except ProviderError as error:
        return error.failure, error.retry_after_s, error.verdict, error.detail, error.status
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 413, 429, 500, 501, 502, 503, 504])
@pytest.mark.parametrize("said", [{}, {"retry-after": "7", "x-fiso-cold": "1", "x-fiso-exec-ms": "12.5"}])
def test_the_same_answer_means_the_same(status: int, said: dict[str, str]) -> None:
    with serving(lambda *_: (status, said, b"answer")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


# The router itself calls functions on AWS by the Invoke API only.
@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.provider != "aws"], ids=lambda example: example.mark
)
def test_the_same_front_door_means_the_same(example: Example) -> None:
    with serving(lambda *_: (example.status, example.headers, example.body)) as server:
        endpoint = an_endpoint(
            Provider(example.provider), address=server.url, authentication=Authentication(example.authentication),
            secret_ref="arn:aws:secretsmanager:us-east-1:000000000000:secret:k"
            if example.authentication == "function_key" else None,
        )  # fmt: skip
        assert by_client(endpoint) == by_orchestrator(endpoint)
        assert by_client(endpoint)[0] is example.failure


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": ', b"<html>", b"\xff"])
def test_the_same_damage_means_the_same(body: bytes) -> None:
    with serving(lambda *_: (200, {"content-type": "application/json"}, body)) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


def test_nobody_listening_means_the_same() -> None:
    with serving(lambda *_: (200, {}, b"")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
    assert by_client(endpoint) == by_orchestrator(endpoint)
    assert by_client(endpoint)[0] is Failure.UNREACHABLE


CREDENTIALS = Credentials(access_key="AKIDEXAMPLE", secret_key="a-secret-access-key")
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "a response": (200, {}, b'{"statusCode": 201, "headers": {"X-A": 1}, "cookies": ["a=1", "b=2"], "body": "ok"}'),
    "damaged": (200, {}, b'{"statusCode": 200, "headers": {"x": null}}'),
    "raised": (200, {"x-amz-function-error": "Unhandled"}, b'{"errorType": "ValueError", "errorMessage": "no"}'),
    "too large": (200, {"x-amz-function-error": "Unhandled"}, b'{"errorType": "Function.ResponseSizeTooLarge"}'),
    "in progress": (409, {"x-amzn-errortype": "ResourceConflictException"}, b"{}"),
    "throttled": (429, {"x-amzn-errortype": "TooManyRequestsException", "retry-after": "7"}, b"{}"),
    "unknown": (500, {}, b"{}"),
}


def told(call: Callable[[], FunctionAnswer]) -> tuple[object, ...]:
    try:
        answer = call()
    except ProviderError as error:
        return error.failure, error.verdict, error.detail, error.status, error.retry_after_s
    return answer.status, answer.headers, answer.cookies, answer.body, answer.is_unhandled, answer.error_type


@pytest.mark.parametrize("named", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH"])
def test_a_lambda_function_sees_the_same_and_says_the_same(named: str, method: str) -> None:
    events: list[dict[str, Any]] = []

    def invoked(_path: str, _headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        events.append(json.loads(body))
        return ANSWERS[named]

    body = b"" if method in ("GET", "HEAD") else "Zoë".encode()
    headers = {"cookie": "a=1; b=2", "x-own": "x", "host": "fiso.example", "content-type": "text/plain"}
    with serving(invoked) as server, closing(HttpTransport()) as transport:
        service = SignedService(
            endpoint=AwsEndpoint(service="lambda", region="us-east-1", url=server.url),
            credentials=CREDENTIALS,
            transport=transport,
            clock=lambda: datetime.now(UTC),
        )
        endpoint = an_endpoint(address=ARN, path="/base")
        routed = a_request(
            method=method, path_suffix="/a%20b", query="t=1&t=2", headers=headers, body=body, source_ip="127.0.0.1",
            host="fiso.example",
        )  # fmt: skip
        caller = LambdaCaller(lambda _: service, clock=ManualClock())
        functions = LambdaFunctions(lambda: CREDENTIALS, transport=transport, address=lambda _: server.url)
        target = Target(id="aws", provider="aws", address=ARN, region="us-east-1", path="/base")
        leased = calling.Request(
            method=method, path_suffix="/a%20b", query="t=1&t=2", headers=headers, body=body, content_type="text/plain"
        )
        answers = [
            told(lambda: caller.call(endpoint, routed, timeout_ms=2000)),
            told(lambda: functions(target, leased, timeout_s=2)),
        ]
    assert answers[0] == answers[1]
    for event in events:
        for changing in ("x-fiso-deadline-ms", "x-fiso-invocation-id"):
            event["headers"].pop(changing, None)
        for changing in ("requestId", "time", "timeEpoch"):
            assert event["requestContext"].pop(changing)
    assert events[0] == events[1]
    assert (events[0]["requestContext"]["http"]["method"], events[0]["rawPath"]) == (method, "/base/a b")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_function_over_http_sees_the_same_request(method: str) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    class Recorded(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.parse_request():
                return
            named = {name.lower(): value for name, value in self.headers.items()}
            seen.append((self.command, self.path, named, self.rfile.read(int(named.get("content-length", "0")))))
            self.send_response(204)
            self.end_headers()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    body = b"" if method in ("GET", "HEAD", "OPTIONS", "DELETE") else b"x"
    headers = {"x-own": "x", "content-type": "text/plain"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorded) as server, closing(HttpTransport()) as transport:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/app"
        routed = a_request(method=method, path_suffix="/100%2541", query="t=1&t=2", headers=headers, body=body)
        HttpCaller(transport, clock=ManualClock(), allow_loopback=True).call(
            an_endpoint(Provider.GCP, address=url, path="/f"), routed, timeout_ms=2000
        )
        target = Target(id="gcp", provider="gcp", address=url, path="/f")
        leased = calling.Request(method=method, path_suffix="/100%2541", query="t=1&t=2", headers=headers, body=body)
        calling.HttpCaller(transport, lambda _: {})(target, leased, timeout_s=2)
        server.shutdown()
    for _, _, named, _ in seen:
        named.pop("x-fiso-deadline-ms")
        named.pop("x-fiso-invocation-id", None)
    assert seen[0] == seen[1]
    assert seen[0][:2] == (method, "/app/f/100%2541?t=1&t=2")
