"""Requests as callers, browsers and API Gateway send them: what the copy gets, to the byte."""

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from tests.compatibility.copies import JSON, behind_fiso, copy_of, event, ids, sent

pytestmark = pytest.mark.usefixtures("each_door")

ABSENT = None
THREE = (Provider.AZURE, Provider.GCP, Provider.AZURE)
Headers = dict[str, str]
Expected = dict[str, str | None]

HEADERS: list[tuple[str, Headers, Expected]] = [
    # golang/go#46313 (CVE-2021-33197), heimdall#653; RFC 9110, 7.6.1
    ("connection takes what it names with it", {"connection": "close, X-Foo", "x-foo": "1"}, {"x-foo": ABSENT}),
    # golang/go#46313: the first line empty, joined by API Gateway
    (
        "connection on two lines, the first empty",
        {"connection": ", X-Forwarded-For, X-Fiso-Caller, Host", "x-forwarded-for": "10.0.0.1"},
        {"x-forwarded-for": "10.0.0.1, 198.51.100.9", "x-fiso-caller": "local"},
    ),
    (
        "connection cannot take the length",
        {"connection": "content-length, x-fiso-deadline-ms"},
        {"content-length": "2"},
    ),
    # aether#1837, grip#37
    (
        "who pretends to be forwarded",
        {"x-forwarded-host": "evil", "x-forwarded-proto": "gopher", "host": "api.example.com"},
        {"x-forwarded-host": "api.example.com", "x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.9"},
    ),
    ("who pretends to be somebody", {"X-FISO-Caller": "admin", "x-fiso-tenant": "root"}, {"x-fiso-caller": "local"}),
    # PEP 3333: WSGI cannot tell the two apart
    (
        "underscores for hyphens",
        {"X_Fiso_Caller": "admin", "x-fiso_tenant": "root", "X_Forwarded_For": "1.1.1.1", "transfer_encoding": "x"},
        {"x_fiso_caller": ABSENT, "x-fiso_tenant": ABSENT, "x_forwarded_for": ABSENT, "transfer_encoding": ABSENT},
    ),
    ("underscores that mean nothing", {"my_header": "1"}, {"my_header": "1"}),
    # httpoxy: CVE-2016-5385, ingress-nginx#4567
    ("proxy", {"Proxy": "http://evil:8080"}, {"proxy": ABSENT}),
    # RFC 9110, 10.1.1
    ("expect", {"expect": "100-continue"}, {"expect": ABSENT}),
    # golang/go#16875; RFC 9110, 7.8
    (
        "an upgrade",
        {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"},
        {"upgrade": ABSENT, "http2-settings": ABSENT},
    ),
    ("trailers", {"te": "trailers", "trailer": "x-sum"}, {"te": ABSENT, "trailer": ABSENT}),
    # RFC 9110, 12.5.3: who says nothing of codings takes any
    ("no accept-encoding of FISO's own", {}, {"accept-encoding": ABSENT}),
    ("the caller's accept-encoding", {"accept-encoding": "br;q=1.0, *;q=0"}, {"accept-encoding": "br;q=1.0, *;q=0"}),
    # RFC 9110, 13 and 14
    (
        "conditions and ranges",
        {"if-none-match": '"x", W/"y"', "if-modified-since": "Wed, 21 Oct 2015 07:28:00 GMT", "range": "bytes=0-4"},
        {"if-none-match": '"x", W/"y"', "range": "bytes=0-4"},
    ),
    ("a method override", {"x-http-method-override": "DELETE"}, {"x-http-method-override": "DELETE"}),
    ("an empty value", {"x-e": ""}, {"x-e": ""}),
    ("forwarded", {"forwarded": "for=1.2.3.4"}, {"forwarded": "for=1.2.3.4"}),
    # aws-lambda-web-adapter#732: the city of a viewer
    ("a value beyond ASCII", {"x-city": "Zürich"}, {"x-city": "Zürich"}),
    ("a value beyond Latin-1, in UTF-8", {"x-city": "Łódź"}, {"x-city": "Łódź".encode().decode("latin-1")}),
    # W3C Trace Context, 3.2.2: an identifier may be of digits alone (dd-trace-py#4791)
    (
        "a trace of digits alone",
        {"traceparent": "00-12312312312312312312312312312312-1231231231231231-01", "tracestate": "a=1,b=2"},
        {"traceparent": "00-12312312312312312312312312312312-1231231231231231-01", "tracestate": "a=1,b=2"},
    ),
    # gravitee#4152: the flag is the caller's
    ("not sampled", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}),
    # freeunit#110; W3C Trace Context, 4.3
    (
        "a trace in capitals",
        {"traceparent": f"00-{'A' * 32}-{'b' * 16}-01", "tracestate": "a=1"},
        {"tracestate": ABSENT},
    ),
    ("version ff", {"traceparent": f"ff-{'a' * 32}-{'b' * 16}-01"}, {"traceparent": ABSENT}),
    (
        "a version to come",
        {"traceparent": f"01-{'a' * 32}-{'b' * 16}-01-more"},
        {"traceparent": f"01-{'a' * 32}-{'b' * 16}-01-more"},
    ),
    (
        "two traces on two lines",
        {"traceparent": ", ".join([f"00-{'a' * 32}-{'b' * 16}-01"] * 2)},
        {"traceparent": ABSENT},
    ),
    ("a state without a trace", {"tracestate": "a=1"}, {"tracestate": ABSENT}),
    ("baggage of 6 KB", {"baggage": "k=" + "v" * 6_000}, {"baggage": "k=" + "v" * 6_000}),
]


@pytest.mark.parametrize("case", HEADERS, ids=ids(HEADERS))
def test_a_header(case: tuple[str, Headers, Expected]) -> None:
    _, given, expected = case
    with copy_of(JSON) as copy:
        response = sent(copy, event("POST", body="{}", headers=given))
        assert response["statusCode"] == 200
        assert {name: copy.headers.get(name) for name in expected} == expected


PATHS: list[tuple[str, str, str]] = [
    # standard-server#93, voker#8: an HTTP API decodes the path once, %3F and %23 as well
    ("a question mark that was encoded", "/users/me?admin=true", "/users/me%3Fadmin=true"),
    ("a hash that was encoded", "/orders#", "/orders%23"),
    ("a space", "/a b", "/a%20b"),
    ("a lone percent sign", "/100%", "/100%25"),
    ("beyond ASCII", "/ü", "/%C3%BC"),
    ("escaped twice", "/100%2541", "/100%2541"),
    # localstack#11304, symfony-bridge#53: an empty segment is a segment (RFC 3986, 3.3)
    ("double slashes", "//a//b/", "//a//b/"),
    ("an address as a path", "/https://example.com", "/https://example.com"),
    ("dots that are none", "/a..b/...", "/a..b/..."),
    ("a name that is FISO's own path", "/v1/invoke/other", "/v1/invoke/other"),
]


@pytest.mark.parametrize("case", PATHS, ids=ids(PATHS))
def test_a_path(case: tuple[str, str, str]) -> None:
    _, decoded, on_the_line = case
    with copy_of(JSON) as copy:
        assert sent(copy, event("GET", decoded))["statusCode"] == 200
        assert copy.line == f"GET {on_the_line} HTTP/1.1"


@pytest.mark.parametrize(
    "suffix",
    ["/\r\nX: y", "/a\nb", "/\x00", "/..", "/a/../../admin", "/%2e%2e/admin", "/..;/x", "/%252e%252e/x", "/.%2E/"],
)
def test_a_path_that_would_leave_its_place_is_400_and_nobody_is_called(suffix: str) -> None:
    with copy_of(JSON) as copy:
        assert sent(copy, event("GET", suffix))["statusCode"] == 400
        assert copy.requests == []


QUERIES: list[tuple[str, str, str]] = [
    # aws-cdk#19827, aws-lambda-dotnet#237, serverless-java-container#140
    ("plus, escaped plus and escaped space", "a=x%2By&b=x+y&c=x%20y&d=%25", "a=x%2By&b=x+y&c=x%20y&d=%25"),
    ("empty and repeated", "e=&f&g=a%3Db&g=2&%24k=1&i=%FF", "e=&f&g=a%3Db&g=2&%24k=1&i=%FF"),
    ("brackets and semicolons", "filter[name]=x&a=1;b=2", "filter[name]=x&a=1;b=2"),
    # aws-lambda-web-adapter#491, ministack#1035
    ("what a line cannot hold", 'q="x"|y z&u=ü', "q=%22x%22%7Cy%20z&u=%C3%BC"),
    ("a line break", "q=a\r\nX: y", "q=a%0D%0AX:%20y"),
]


@pytest.mark.parametrize("case", QUERIES, ids=ids(QUERIES))
def test_a_query(case: tuple[str, str, str]) -> None:
    _, given, on_the_line = case
    with copy_of(JSON) as copy:
        assert sent(copy, event("GET", "/s", query=given))["statusCode"] == 200
        assert copy.line == f"GET /s?{on_the_line} HTTP/1.1"


def test_cookies_are_one_line_with_semicolons() -> None:
    """mangum#175; RFC 6265, 4.2.1."""
    with copy_of(JSON) as copy:
        sent(copy, event("GET", cookies=["a=1", "b=2"], headers={"cookie": "a=1, b=2"}))
        assert copy.headers["cookie"] == "a=1; b=2"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"", "0"), ("PUT", b"", "0"), ("DELETE", b"x", "1"), ("GET", b"x", "1"), ("GET", b"", None)],
)
def test_a_body_goes_with_any_method_and_its_length_is_told(method: str, body: bytes, length: str | None) -> None:
    """RFC 9110, 8.6 and 9.3."""
    with copy_of(JSON) as copy:
        assert sent(copy, event(method, body=body))["statusCode"] == 200
        assert (copy.headers.get("content-length"), copy.body) == (length, body)


@pytest.mark.parametrize(
    "body", [b"\x89PNG\r\n\x1a\n", b"\xff\xfe\x00", b'{"a": "\\ud800"}', b"dGVzdC1kYXRh", bytes(range(256))]
)
def test_bytes_arrive_as_they_were(body: bytes) -> None:
    """awsgi#16, api-gateway-v2-to-wsgi#9."""
    with copy_of(JSON) as copy:
        assert sent(copy, event("PUT", body=body))["statusCode"] == 200
        assert copy.body == body


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "QUERY", "PATCHX"])
def test_other_methods_are_refused_with_those_that_there_are(method: str) -> None:
    """RFC 9110, 9.3.8: TRACE would send FISO's own credentials back to the caller."""
    with copy_of(JSON) as copy:
        response = sent(copy, event(method))
        assert (response["statusCode"], "GET" in response["headers"]["allow"]) == (405, True)
        assert copy.requests == []


@pytest.mark.parametrize(("headers", "executions"), [({}, 3), ({"x-http-method-override": "DELETE"}, 1)])
def test_a_safe_method_that_says_it_means_another_is_not_repeated(headers: Headers, executions: int) -> None:
    """RFC 9110, 9.2.1: what the override asks for is not safe."""
    with (
        copy_of(b"", hangs_up=True) as copy,
        behind_fiso(copy, *THREE, idempotent=Idempotent.NO) as rig,
    ):
        rig.send(event("GET", headers=headers))
        assert len(copy.requests) == executions


@pytest.mark.parametrize(
    ("stage", "path"), [("Prod", "/Prod/v1/invoke/word-count/Prod/x"), ("$default", "/v1/invoke/word-count/Prod/x")]
)
def test_only_the_stages_own_prefix_is_taken_off(stage: str, path: str) -> None:
    """aws-lambda-rust-runtime#668 (/Prod/Prod/auth/login), localstack#7728."""
    with copy_of(JSON) as copy:
        asked = event() | {"rawPath": path}
        asked["requestContext"]["stage"] = stage
        assert sent(copy, asked)["statusCode"] == 200
        assert copy.line == "GET /Prod/x HTTP/1.1"


def test_headers_near_api_gateways_limit_pass() -> None:
    """API Gateway: 10,240 bytes in all."""
    with copy_of(JSON) as copy:
        assert sent(copy, event(headers={"cookie": "c=" + "v" * 9_000}))["statusCode"] == 200
        assert len(copy.headers["cookie"]) == 9_002
