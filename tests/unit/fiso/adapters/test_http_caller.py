"""One call by HTTP: what goes over the wire of a request, and what identifies FISO there."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from fiso.adapters.http.callers import HttpCaller, on_the_wire
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import FunctionAnswer, HttpAnswer
from fiso_client.core.transport import HttpTransport
from tests.builders import a_request, an_endpoint


class Answering:
    """A transport without a network."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def send(self, method: str, url: str, **sent: Any) -> HttpAnswer:
        self.sent.append((method, url, sent))
        return HttpAnswer(status=200, headers=self.headers, body=b"", cookies=("a=1", "fiso-session=forged"))


class Token:
    """What identifies FISO to Google."""

    def headers(self, _: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        del timeout_s
        return {"authorization": "Bearer of-fiso"}

    def replaced(self, _endpoint: Endpoint, _refused: object, *, timeout_s: float) -> None: ...


def call(transport: Answering, authentication: Authentication = Authentication.NONE, **request: Any) -> FunctionAnswer:
    caller = HttpCaller(
        cast(HttpTransport, transport),
        clock=ManualClock(),
        allow_loopback=False,
        own_hosts=frozenset({"gcp.example"}),
        identities=dict.fromkeys(Authentication, Token()),
    )
    endpoint = an_endpoint(Provider.GCP, path="/api/f", authentication=authentication)
    return caller.call(endpoint, a_request(**request), timeout_ms=1000)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_method_path_and_query_go_as_they_came(method: str) -> None:
    transport = Answering()
    call(transport, method=method, path_suffix="/100%2541//b/", query="a=%20&a=b+c")
    ((sent, url, _),) = transport.sent
    assert (sent, url) == (method, "https://gcp.example/api/f/100%2541//b/?a=%20&a=b+c")


def test_a_function_is_told_the_invocation_and_how_much_time_is_left() -> None:
    transport = Answering()
    call(transport, headers={"accept": "a/b"}, idempotency_key="k")
    headers = transport.sent[0][2]["headers"]
    assert headers.keys() == {"accept", "x-fiso-invocation-id", "x-fiso-deadline-ms", "idempotency-key"}


def test_cookies_come_back_but_no_session_of_the_consoles() -> None:
    assert call(Answering()).cookies == ("a=1",)


def test_the_length_of_what_head_would_get_comes_back() -> None:
    assert call(Answering(content_length="12"), method="HEAD").headers == {"content-length": "12"}
    assert call(Answering(content_length="12"), method="GET").headers == {}


def test_fisos_token_leaves_the_functions_own_authorization_alone() -> None:
    transport = Answering()
    own = {"authorization": "Basic own", "x-serverless-authorization": "Bearer forged"}
    call(transport, Authentication.ID_TOKEN, headers=own)
    headers = transport.sent[0][2]["headers"]
    assert headers["authorization"] == "Basic own"
    assert headers["x-serverless-authorization"] == "Bearer of-fiso"


def test_app_service_finds_fisos_token_and_the_function_its_callers() -> None:
    transport = Answering()
    call(transport, Authentication.ENTRA, headers={"authorization": "Basic own"})
    headers = transport.sent[0][2]["headers"]
    assert headers["authorization"] == "Bearer of-fiso"
    assert headers["x-forwarded-authorization"] == "Basic own"
    assert "x-serverless-authorization" not in headers


def test_a_caller_cannot_stand_in_the_way_of_fisos_token() -> None:
    transport = Answering()
    call(transport, Authentication.ID_TOKEN, headers={"x-serverless-authorization": "Bearer forged"})
    headers = transport.sent[0][2]["headers"]
    assert headers["authorization"] == "Bearer of-fiso"
    assert "x-serverless-authorization" not in headers


@pytest.mark.parametrize(("value", "sent"), [("caf\xe9", b"caf\xe9"), ("\u0436", "\u0436".encode()), ("a\tb", b"a\tb")])
def test_what_is_beyond_ascii_goes_as_it_came(value: str, sent: bytes) -> None:
    assert on_the_wire({"x-a": value}, {})["x-a"].encode("latin-1") == sent
