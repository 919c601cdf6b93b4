"""Answers as functions and servers send them, in bytes: what the caller gets, and that the next answer is its own."""

import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig
from fiso_client.core.failures import Fault
from tests.compatibility.copies import JSON, RESET, answer, behind_fiso, body_of, copy_of, event, ids, problem

pytestmark = pytest.mark.usefixtures("each_door")

NEXT = answer(200, b'{"next": 1}', "content-type: application/json")
OK = b"HTTP/1.1 200 OK\r\n"


def asked_twice(reply: bytes, method: str = "GET", **headers: str) -> tuple[dict[str, Any], dict[str, Any], Rig]:
    """A copy's first answer as it comes back, and the one after it, for which the connection may have been kept."""
    with copy_of(reply, NEXT) as copy, behind_fiso(copy) as rig:
        return rig.send(event(method, headers=headers)), rig.send(event("GET")), rig


Passed = tuple[str, str, bytes, int, bytes, Mapping[str, str | None]]
PASSED: list[Passed] = [
    # mitmproxy#659, http-proxy-middleware#1121, spring-cloud-gateway#1210; RFC 9110, 9.3.2
    (
        "HEAD keeps the length of GET",
        "HEAD",
        OK + b'Content-Length: 1488324\r\nETag: "559103d3"\r\nAccept-Ranges: bytes\r\n\r\n',
        200,
        b"",
        {"content-length": "1488324", "etag": '"559103d3"', "accept-ranges": "bytes"},
    ),
    # testcafe-hammerhead#1602, square/cube#1; RFC 9112, 6.3
    (
        "304 with a length and no bytes",
        "GET",
        b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\nCache-Control: max-age=60\r\n\r\n',
        304,
        b"",
        {"etag": '"x"', "cache-control": "max-age=60", "content-length": None},
    ),
    # ServiceControl#2233
    ("304 with two bytes too many", "GET", b"HTTP/1.1 304 X\r\nContent-Length: 2\r\n\r\n{}", 304, b"", {}),
    ("204 with a body", "GET", b"HTTP/1.1 204 X\r\nContent-Length: 3\r\n\r\nabc", 204, b"", {"content-type": None}),
    ("205 with a body", "POST", answer(205, b"abc"), 205, b"", {}),
    # cpython#157951
    ("204 that says chunked", "GET", b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b"", {}),
    # asgineer#40, RFC 9110, 15.3.7 and 15.5.17
    (
        "part of it",
        "GET",
        answer(206, b"01234", "content-range: bytes 0-4/10", "content-type: a/b"),
        206,
        b"01234",
        {"content-range": "bytes 0-4/10"},
    ),
    (
        "a range that cannot be",
        "GET",
        answer(416, b"", "content-range: bytes */10"),
        416,
        b"",
        {"content-range": "bytes */10"},
    ),
    ("a condition that failed", "PUT", answer(412, b"no"), 412, b"no", {}),
    # nginx#1241, nab#1130, http-client#521; RFC 9110, 15.2
    (
        "early hints",
        "GET",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer(200, b"ok", "x-a: 1"),
        200,
        b"ok",
        {"x-a": "1", "link": None},
    ),
    ("two early hints", "GET", 2 * b"HTTP/1.1 103 X\r\nLink: </a>\r\n\r\n" + JSON, 200, b"{}", {"link": None}),
    ("processing, then continue", "POST", b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 100 X\r\n\r\n" + JSON, 200, b"{}", {}),
    # serverless-express#554; RFC 9110, 5.3
    (
        "headers on two lines",
        "GET",
        answer(200, b"a", "Cache-Control: no-cache", "cache-control: no-store", "Link: <a>", "link: <b>"),
        200,
        b"a",
        {"cache-control": "no-cache, no-store", "link": "<a>, <b>"},
    ),
    # RFC 9110, 7.6.1; carapaceproxy#583
    (
        "what belongs to the hop",
        "GET",
        answer(
            200,
            b"a",
            "Connection: x-internal, keep-alive",
            "X-Internal: 1",
            "Keep-Alive: timeout=5",
            "Upgrade: h2,h2c",
            "Proxy-Authenticate: Basic",
            "Trailer: X-Sum",
            "TE: trailers",
        ),
        200,
        b"a",
        dict.fromkeys(["x-internal", "keep-alive", "upgrade", "proxy-authenticate", "trailer", "te", "connection"]),
    ),
    # RFC 9110, 6.5.1
    (
        "trailers",
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 14\r\nSet-Cookie: a=1\r\n\r\n",
        200,
        b"ok",
        {"grpc-status": None, "transfer-encoding": None},
    ),
    # RFC 9112, 6.3: the coding counts
    (
        "chunked with a length",
        "GET",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        200,
        b"hello",
        {"content-length": None},
    ),
    (
        "chunk extensions",
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
        200,
        b"hello",
        {},
    ),
    ("one length on two lines", "GET", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", {}),
    # RFC 9112, 2.2, 3 and 7.1: what else there is that is well-formed
    ("no reason", "GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", {}),
    ("lines that end with LF alone", "GET", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", {}),
    (
        "HTTP/1.0 that keeps its connection",
        "GET",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        {},
    ),
    ("Chunked in capitals", "GET", OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n000\r\n\r\n", 200, b"ok", {}),
    # AngularJS ("JSON vulnerability"), Docker's API, Rails' `head :ok`
    *(
        (f"JSON that begins {text[:8]!r}", "GET", answer(200, text, "content-type: application/json"), 200, text, {})
        for text in (b")]}',\n{}", b'{"a": 1}\n{"a": 2}\n', b" ", b"\xef\xbb\xbf{}")
    ),
    (
        "JSON in Latin-1",
        "GET",
        answer(200, b'"caf\xe9"', "content-type: application/json; charset=iso-8859-1"),
        200,
        b'"caf\xe9"',
        {},
    ),
    # RFC 9112, 5.2
    ("a folded header", "GET", OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", {"x": "a b"}),
    # RFC 9112, 6.3: until the connection closes
    (
        "gzip to whom said identity",
        "GET",
        answer(
            200, gzip.compress(b"a" * 50), "content-encoding: gzip", "vary: accept-encoding", "content-type: text/html"
        ),
        200,
        gzip.compress(b"a" * 50),
        {"content-encoding": "gzip", "vary": "accept-encoding"},
    ),
    (
        "gzip that is none",
        "GET",
        answer(200, b"no gzip", "content-encoding: gzip", "content-type: application/json"),
        200,
        b"no gzip",
        {"content-encoding": "gzip"},
    ),
    (
        "an empty body that is compressed",
        "GET",
        answer(200, b"", "content-encoding: gzip", "content-type: application/json"),
        200,
        b"",
        {},
    ),
    # localstack#6170: FISO invents no type for what came over HTTP
    ("no content type", "GET", answer(200, b"abc"), 200, b"abc", {"content-type": None}),
    # awsgi#16
    (
        "a picture of ASCII bytes",
        "GET",
        answer(200, b"abc", "content-type: image/png"),
        200,
        b"abc",
        {"content-type": "image/png"},
    ),
    (
        "UTF-16 that says so",
        "GET",
        answer(200, "ü".encode("utf-16"), "content-type: text/plain; charset=utf-16"),
        200,
        "ü".encode("utf-16"),
        {},
    ),
    ("Latin-1 text", "GET", answer(200, b"caf\xe9", "content-type: text/plain"), 200, b"caf\xe9", {}),
    ("NUL in text", "GET", answer(200, b"a\0b", "content-type: text/plain"), 200, b"a\0b", {}),
    (
        "JSON with half a pair",
        "GET",
        answer(200, b'"\\ud800"', "content-type: application/json"),
        200,
        b'"\\ud800"',
        {},
    ),
    # next.js#15516; RFC 9110, 15.4: a redirect is the caller's to follow
    *(
        (
            f"a redirect {status}",
            "POST",
            answer(status, b"", "location: /login?a=%2F"),
            status,
            b"",
            {"location": "/login?a=%2F"},
        )
        for status in (301, 302, 303, 307, 308)
    ),
    # httpbis: what a browser is to be told
    (
        "a challenge",
        "GET",
        answer(401, b"", 'www-authenticate: Basic realm="x"'),
        401,
        b"",
        {"www-authenticate": 'Basic realm="x"'},
    ),
    (
        "a file",
        "GET",
        answer(200, b"a", "content-disposition: attachment; filename=a.csv", "allow: GET, PUT", "retry-after: 7"),
        200,
        b"a",
        {"content-disposition": "attachment; filename=a.csv", "allow": "GET, PUT", "retry-after": "7"},
    ),
    # "every cloud's front door writes them"
    (
        "what a front door adds",
        "GET",
        answer(200, b"a", "server: x", "date: y", "via: z", "x-powered-by: w"),
        200,
        b"a",
        dict.fromkeys(["server", "date", "via", "x-powered-by"]),
    ),
    (
        "headers that claim to be FISO's",
        "GET",
        answer(200, b"a", "x-fiso-provider: evil", "X-Fiso-Attempts: 99"),
        200,
        b"a",
        {"x-fiso-provider": "azure", "x-fiso-attempts": "1"},
    ),
    (
        "its own 503 with Retry-After",
        "POST",
        answer(503, b'{"e": 1}', "retry-after: 9"),
        503,
        b'{"e": 1}',
        {"retry-after": "9"},
    ),
    # RFC 9110, 15: a value that could break out of its line, or that every hop reads otherwise
    (
        "a header beyond ASCII",
        "GET",
        answer(200, b"a", "x-city: Z\u00fcrich", "x-b: 1"),
        200,
        b"a",
        {"x-city": None, "x-b": "1"},
    ),
]


@pytest.mark.parametrize("case", PASSED, ids=ids(PASSED))
def test_an_answer_passes_and_the_next_one_is_its_own(case: Passed) -> None:
    _, method, reply, status, body, headers = case
    first, second, rig = asked_twice(reply, method)
    assert (first["statusCode"], body_of(first)) == (status, body)
    assert {name: first["headers"].get(name) for name in headers} == headers
    assert (second["statusCode"], second["body"]) == (200, '{"next": 1}')
    assert [attempt.failure for record in rig.records for attempt in record.attempts] == [None, None]


BROKEN: list[tuple[str, bytes]] = [
    # RFC 9112, 8; azure-functions-python-worker#384
    ("chunks without the last one", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ("less than announced", OK + b"Content-Length: 10\r\n\r\nhello"),
    ("early hints and nothing more", b"HTTP/1.1 103 X\r\nLink: </a>\r\n\r\n"),
    # RFC 9110, 15.2.2
    (
        "a switch of protocols that nobody asked for",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
    # RFC 9112, 6.1 and 7
    ("a coding beside chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk of minus five", OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    # RFC 9112, 6.3
    *(
        (f"a length of {n!r}", OK + b"Content-Length: " + n + b"\r\n\r\nok")
        for n in (b"+2", b"-1", b"0x2", b"2_0", b"", b"2, 3", b"\xb2")
    ),
    # RFC 9112, 5.1
    ("a space before the colon", OK + b"Content-Length : 2\r\n\r\nok"),
    ("a line without a colon", OK + b"broken line\r\nContent-Length: 2\r\n\r\nok"),
    ("a carriage return alone", OK + b"X: a\rSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok"),
    ("a NUL in a header", OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of 600", b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
    ("a status of 099", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
    ("150 headers", OK + b"X: a\r\n" * 150 + b"Content-Length: 0\r\n\r\n"),
    ("one header of 70 KB", OK + b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    ("a chunk that is longer than it says", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n"),
    ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("HTTP/0.9", b"<html></html>"),
    ("a reset", RESET),
    ("nothing", b""),
]


TOO_LARGE = ("150 headers", "one header of 70 KB")
"""The function's own doing, as its siblings would show: no breaker opens for it."""


@pytest.mark.parametrize("case", BROKEN, ids=ids(BROKEN))
def test_what_is_no_answer_is_a_problem_with_a_verdict_run_once_and_at_once(case: tuple[str, bytes]) -> None:
    with (
        copy_of(case[1], hangs_up=True) as copy,
        behind_fiso(copy, Provider.AZURE, Provider.GCP, Provider.AZURE, idempotent=Idempotent.NO) as rig,
    ):
        response = rig.send(event("POST", body="{}"))
        assert (response["statusCode"], problem(response), len(copy.requests)) == (504, True, 1)
        assert rig.only_record.attempts[0].failure == "broken"
        is_large = case[0] in TOO_LARGE
        assert rig.only_record.attempts[0].verdict is (Fault.FUNCTION if is_large else Fault.COPY)
        assert '"unknown_outcome": true' in response["body"]


SHOWN_BY_THE_END_ALONE = (
    "chunks without the last one",
    "less than announced",
    "early hints and nothing more",
    "HTTP/0.9",
)
AT_ONCE = [case for case in BROKEN if case[1] not in (RESET, b"") and case[0] not in SHOWN_BY_THE_END_ALONE]


@pytest.mark.parametrize("case", AT_ONCE, ids=ids(AT_ONCE))
def test_what_shows_that_it_is_no_answer_is_not_waited_for(case: tuple[str, bytes]) -> None:
    """The copy keeps the connection open."""
    with copy_of(case[1]) as copy, behind_fiso(copy) as rig:
        response = rig.send(event("POST", body="{}", headers={"x-fiso-timeout-ms": "5000"}))
        assert (response["statusCode"], rig.only_record.attempts[0].failure) == (504, "broken")


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """RFC 9112, 6.3."""
    with copy_of(OK + b"Content-Type: text/plain\r\n\r\nall of it", hangs_up=True) as copy, behind_fiso(copy) as rig:
        assert rig.send(event())["body"] == "all of it"


COOKIES: list[tuple[str, list[str], list[str]]] = [
    # mangum#215, serverless-http#168, RFC 6265, 3
    (
        "two, one with a comma in its date",
        ["Set-Cookie: a=1; Expires=Thu, 12-Mar-20 21:13:29 GMT", "set-cookie: b=2"],
        ["a=1; Expires=Thu, 12-Mar-20 21:13:29 GMT", "b=2"],
    ),
    (
        "the same name for two paths",
        ["Set-Cookie: a=1; Path=/x", "Set-Cookie: a=1; Path=/y"],
        ["a=1; Path=/x", "a=1; Path=/y"],
    ),
    (
        "the console's own",
        ["Set-Cookie: fiso-session=x", "Set-Cookie: __Host-fiso-session=x", "Set-Cookie: c=3"],
        ["c=3"],
    ),
]


@pytest.mark.parametrize("case", COOKIES, ids=ids(COOKIES))
def test_each_cookie_has_a_line_of_its_own(case: tuple[str, list[str], list[str]]) -> None:
    _, lines, cookies = case
    first, *_ = asked_twice(answer(200, b"a", *lines))
    assert (first["cookies"], "set-cookie" in first["headers"]) == (cookies, False)


def test_a_copy_that_drips_interim_answers_ends_with_the_deadline() -> None:
    """simplepie#976: 102 for ever. The limit on bytes and the deadline hold for these too."""
    with copy_of(b"HTTP/1.1 102 Processing\r\n\r\n" * 700_000) as copy, behind_fiso(copy) as rig:
        response = rig.send(event("POST", body="{}", headers={"x-fiso-timeout-ms": "1000"}))
        assert response["statusCode"] == 504


def test_what_never_ends_is_told_as_too_late_and_the_copy_is_asked_again() -> None:
    """Server-sent events: nothing streams here (docs/http.md)."""
    stream = OK + b"Content-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    with copy_of(stream, NEXT) as copy, behind_fiso(copy) as rig:
        response = rig.send(event(headers={"x-fiso-timeout-ms": "300"}))
        assert (response["statusCode"], problem(response)) == (504, True)
        assert rig.send(event())["statusCode"] == 200


@pytest.mark.parametrize("size", [6_291_557, 7_000_000])
def test_more_than_lambda_returns_is_one_clear_problem_and_the_functions(size: int) -> None:
    """AWS Lambda quotas; js-route-optimization-app#61."""
    head = OK + f"Content-Length: {size}\r\n\r\n".encode()
    with copy_of(head) as copy, behind_fiso(copy) as rig:
        response = rig.send(event())
        assert (response["statusCode"], '"verdict": "function"' in response["body"]) == (502, True)
        assert "lease" in response["body"]
        assert "pre-signed" in response["body"]
