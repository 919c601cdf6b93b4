"""The corpus: what is known to break parsers, by hand, each with the status that it deserves."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fiso.testing import rig

FUNCTION, EVENT_FUNCTION = "word-count", "event-only"
INVOKE = f"/v1/invoke/{FUNCTION}"
MIB = 1024 * 1024
DEEP = "[" * 100_000 + "]" * 100_000
READ_CALLS = (f"/v1/explain/{FUNCTION}", f"/v1/decide/{FUNCTION}")
"""What FISO itself reads; a body that is sent to a function is the function's matter."""
LARGE_CALLS = (INVOKE, *READ_CALLS)


NO_JSON = {
    "syntax": '{"a": ',
    "NaN": '{"a": NaN}',
    "-Infinity": "[-Infinity]",
    "lone surrogate": '{"a": "\ud800"}',
    "escaped lone surrogate": '{"a": "\\ud800"}',
    "escaped lone surrogate as a key": '{"\\udc00": 1}',
    "100,000 deep": DEEP,
    "100,000 deep objects": '{"a":' * 100_000,
    "4301 digits": "[" + "9" * 4301 + "]",
    "byte order mark": "\ufeff{}",
    "a raw NUL": '{"a": "\x00"}',
    "only a NUL": "\x00",
    "two documents": "{} {}",
    "a comment": "{} // x",
    "single quotes": "{'a': 1}",
}
"""What says JSON and is not."""
NO_JSON_BYTES = {
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "bad UTF-8": b'{"a": "\xff"}',
    "an overlong NUL": b'"\xc0\x80"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One event, its name, and the status it must be answered with. `is_huge`: of 10 MB."""

    name: str
    event: object
    status: int
    is_huge: bool = False


def http_event(path: str = INVOKE, body: object = "{}", *, method: object = "POST", **changes: Any) -> dict[str, Any]:
    """An HTTP API event, payload 2.0; `changes` replace its parts."""
    event = rig.http_event(path=path) | {"body": body}
    event["requestContext"]["http"]["method"] = method
    return event | changes


def specimens() -> list[Specimen]:
    """All of them; large ones are made anew on every call."""
    return [*_bodies(), *_large(), *_headers(), *_paths(), *_events(), *_reports(), *_good()]


def _bodies() -> list[Specimen]:
    lone = "lone surrogate"
    return [
        *(
            Specimen(name=f"{name} to {path}", event=http_event(path, body), status=400)
            for name, body in NO_JSON.items()
            for path in READ_CALLS
        ),
        *(
            Specimen(name=f"{name} to {path}", event=binary(body, path), status=400)
            for name, body in NO_JSON_BYTES.items()
            for path in (*READ_CALLS, "/v1/outcomes")
        ),
        Specimen(name=f"{lone} to {INVOKE}", event=http_event(body=NO_JSON[lone]), status=400),
        *(
            Specimen(name=f"base64 {text[:12]!r}", event=http_event(body=text, isBase64Encoded=True), status=400)
            for text in ("*", "A", "QQ=", "QQ==QQ==", "=", "QQ\n==", "\u00e9\u00e9", "\ud800")
        ),
    ]


def _large() -> list[Specimen]:
    text, raw = {"content-type": "text/plain"}, {"content-type": "application/octet-stream"}
    specimens = []
    for path in LARGE_CALLS:
        over = {
            "5 MiB and a byte": http_event(path, "x" * (5 * MIB + 1), headers=text),
            "4 MiB of two-byte characters": http_event(path, "\u00e9" * (2 * MIB + 1), headers=text),
            "4 MiB and more of bytes": binary(bytes(4 * MIB + 8), path, headers=raw),
            "5 MiB of objects and more": http_event(path, "[" + "{}," * (2 * MIB) + "{}]"),
        }
        huge = {
            "10 MB of text": http_event(path, "x" * 10_000_000, headers=text),
            "10 MB of JSON": http_event(path, '"' + "x" * 9_999_998 + '"'),
            "10 MB of emoji": http_event(path, "\U0001f600" * 2_500_000, headers=text),
            "10 MB of base64": http_event(path, "A" * 10_000_000, headers=raw, isBase64Encoded=True),
        }
        specimens += [Specimen(name=f"{n} to {path}", event=event, status=413) for n, event in over.items()]
        specimens += [Specimen(name=f"{n} to {path}", event=e, status=413, is_huge=True) for n, e in huge.items()]
    report = http_event("/v1/outcomes", '{"leases": [' + "{}," * 1_000_000)
    of_one = http_event("/v1/outcomes", '{"leases": [{"token": "x", "outcomes": [' + "[]," * 150_000 + "[]]}]}")
    return [
        *specimens,
        Specimen(name="3 MB of outcomes", event=report, status=413),
        Specimen(name="150,000 outcomes of one lease", event=of_one, status=413, is_huge=True),
    ]


def _headers() -> list[Specimen]:
    wrong: dict[str, tuple[object, int]] = {
        "a content type with a line feed": ({"content-type": "a/b\r\nx-injected: 1"}, 400),
        "a header with a NUL": ({"x-a": "a\x00"}, 400),
        "a header with DEL": ({"x-a": "a\x7f"}, 400),
        "a header of a surrogate": ({"x-a": "\ud800"}, 400),
        "a trace with a line feed": ({"traceparent": "\r\nx: y"}, 400),
        "a name with a line feed": ({"x-a\r\nx-b": "c"}, 400),
        "a name with a blank": ({"x a": "b"}, 400),
        "a name with a colon": ({"x:a": "b"}, 400),
        "an empty name": ({"": "b"}, 400),
        "a key with a line feed": ({"idempotency-key": "a\r\nx: y"}, 400),
        "a key with a blank": ({"idempotency-key": "a b"}, 400),
        "an empty key": ({"idempotency-key": ""}, 400),
        "a key of 256": ({"idempotency-key": "k" * 256}, 400),
        "a key with a NUL": ({"idempotency-key": "a\x00"}, 400),
        "a timeout of 1e9": ({"x-fiso-timeout-ms": "1e9"}, 400),
        "a negative timeout": ({"x-fiso-timeout-ms": "-1"}, 400),
        "a timeout beyond Lambda's": ({"x-fiso-timeout-ms": "28001"}, 400),
        "a timeout of NaN": ({"x-fiso-timeout-ms": "NaN"}, 400),
        "a timeout in other digits": ({"x-fiso-timeout-ms": "\u0661\u0660\u0660\u0660"}, 400),
        "a timeout of 5,000 digits": ({"x-fiso-timeout-ms": "9" * 5000}, 400),
        "a region with a statement": ({"x-fiso-user-region": "us east; drop"}, 400),
        "a region that is a path": ({"x-fiso-user-region": "../../etc"}, 400),
        "400 headers": ({f"x-{number}": "" for number in range(400)}, 431),
        "64 KiB in one header": ({"x-long": "v" * 65_536}, 431),
        "10,000 headers": ({f"x-{number}": "v" for number in range(10_000)}, 431),
        "a header of 1 MB": ({"x-long": "v" * MIB}, 431),
        "headers as a list": ([["a", "b"]], 400),
        "headers as text": ("content-type: a/b", 400),
    }
    return [
        Specimen(name=name, event=http_event(headers=given), status=status) for name, (given, status) in wrong.items()
    ]


def _paths() -> list[Specimen]:
    wrong = {
        "/": 404,
        "/v1/invoke": 404,
        "/v1/invoke/": 404,
        "/v1/invoke//": 404,
        "/v1/invoke/nobody": 404,
        "/v1/invoke/%2e%2e%2fetc%2fpasswd": 404,
        f"{INVOKE}/%2e%2e/%2e%2e/admin": 400,
        f"{INVOKE}/a/../../b": 400,
        f"{INVOKE}/%252e%252e/admin": 400,
        f"{INVOKE}/..%2f..%2fadmin": 400,
        f"{INVOKE}/..%5c..%5cadmin": 400,
        f"{INVOKE}/..\\..\\admin": 400,
        f"{INVOKE}/..;a=b/admin": 400,
        f"{INVOKE}/%{'25' * 9}2e%{'25' * 9}2e/admin": 400,
        f"{INVOKE}/\r\nset-cookie: x": 400,
        f"{INVOKE}/\x00": 400,
        f"{INVOKE}/\ud800": 400,
        "/v1/invoke/\ud800": 404,
        "/v1/invoke/" + "a" * 5000: 414,
        INVOKE + "/%20" * 2000: 414,
        INVOKE + "/a" * 4096: 414,
        "/v1/invocations/00000000-0000-4000-8000-000000000000": 405,
        "//v1/invoke": 404,
        "/v2/anything": 404,
        "/v1/invoke/a%0d%0ab": 404,
        "/healthz/..": 404,
        "*": 404,
    }
    return [
        Specimen(name=f"path {path[:40]!r}", event=http_event(path), status=status) for path, status in wrong.items()
    ]


def _events() -> list[Specimen]:
    shapes: dict[str, tuple[object, int]] = {
        "null": (None, 400),
        "a list": ([], 400),
        "a number": (1e308, 400),
        "a text": ("event", 400),
        "an empty object": ({}, 404),
        "a NaN": (float("nan"), 400),
        "no context": (http_event(requestContext=None), 405),
        "a context of text": (http_event(requestContext="x"), 400),
        "a context without http": (http_event(requestContext={"http": []}), 400),
        "a TRACE": (http_event(method="TRACE"), 405),
        "a CONNECT": (http_event(method="CONNECT"), 405),
        "a PUT of a decision": (http_event("/v1/decide/word-count", method="PUT"), 405),
        "cookies of text": (http_event(cookies="a=b"), 400),
        "cookies of numbers": (http_event(cookies=[1]), 400),
        "a DELETE of what is read": (http_event("/v1/endpoints", method="DELETE"), 405),
        "an id that is a path": (http_event("/v1/invocations/../../etc", method="GET"), 404),
        "an id that nobody has": (http_event(f"/v1/invocations/{'0' * 36}", method="GET"), 404),
        "a method of null": (http_event(method=None), 405),
        "a method of a number": (http_event(method=7), 400),
        "a method of a surrogate": (http_event(method="\ud800"), 405),
        "a method of 1 MB": (http_event(method="A" * MIB), 405),
        "a path of a number": (http_event() | {"rawPath": 7}, 400),
        "a query of an object": (http_event(rawQueryString={"a": 1}), 400),
        "a query of a surrogate": (http_event(rawQueryString="\ud800"), 400),
        "a query of 4 KiB": (http_event(rawQueryString="a" * 4096), 414),
        "a query of 1 MB": (http_event(rawQueryString="a" * MIB), 414),
        "a body of an object": (http_event(body={}), 400),
        "a body of a number": (http_event(body=0), 400),
        "a base64 flag of text": (http_event(isBase64Encoded="false"), 400),
        "another function's event": ({"Records": [{"eventSource": "aws:sqs"}]}, 404),
    }
    return [Specimen(name=f"event: {name}", event=event, status=status) for name, (event, status) in shapes.items()]


def _reports() -> list[Specimen]:
    wrong = {
        "an empty report": "",
        "a list": "[]",
        "no leases": "{}",
        "leases of a number": '{"leases": 1}',
        "a lease of text": '{"leases": ["x"]}',
        "a token of a number": '{"leases": [{"token": 1, "outcomes": []}]}',
        "no outcomes": '{"leases": [{"token": "x"}]}',
        "a report too deep": DEEP,
        "a report's surrogate": "\ud800",
        "a report of 4301 digits": '{"leases": ' + "9" * 4301 + "}",
    }
    return [Specimen(name=name, event=http_event("/v1/outcomes", body), status=400) for name, body in wrong.items()]


def _good() -> list[Specimen]:
    """Odd, and nevertheless right: refusing these would be wrong."""
    odd: Mapping[str, object] = {
        "0 bytes": http_event(body=""),
        "no body": http_event(body=None),
        "duplicate keys": http_event(body='{"a": 1, "a": 2}'),
        "1e999": http_event(body="[1e999]"),
        "an escaped NUL": http_event(body='{"a": "\\u0000"}'),
        "emoji": http_event(body='{"a": "\U0001f600"}'),
        "900 deep": http_event(body="[" * 900 + "]" * 900),
        "bytes that are no text": binary(bytes(range(256)), headers={"content-type": "image/png"}),
        "a query with a line feed": http_event(rawQueryString="a=1 HTTP/1.1\r\nx-injected: 1"),
        "a query with a fragment": http_event(rawQueryString="a=\u00e9#b"),
        "a path in Cyrillic": http_event(f"{INVOKE}/\u0436/%D0%B6"),
        "a traceparent that is none": http_event(headers={"traceparent": "00-0", "accept": "\u0436"}),
        "a content type that is none": http_event(headers={"content-type": "json"}),
        "a content type beyond ASCII": http_event(headers={"content-type": "\u0436/b"}),
        "a long content type": http_event(headers={"content-type": "a/b;" + "c" * 300}),
        "a content type of streams": http_event(headers={"content-type": "text/event-stream"}),
        "a path of bytes that are no text": http_event(f"{INVOKE}/%ff%fe"),
        "a path with an escaped line feed": http_event(f"{INVOKE}/%0d%0aset-cookie:%20x"),
        "a PUT": http_event(method="PUT"),
        "JSON too large to be parsed": http_event(body='{"a": ' + "x" * MIB),
        "5 MiB of text": http_event(body="x" * (5 * MIB), headers={"content-type": "text/plain"}),
        "5 MiB of objects": http_event(body="[" + "{}," * (5 * MIB // 3 - 2) + "{}]"),
        "JSON for an event function": http_event(f"/v1/invoke/{EVENT_FUNCTION}"),
        "a report of nothing": http_event("/v1/outcomes", '{"leases": []}'),
    }
    functions = {f"{name} for a function": http_event(body=body) for name, body in NO_JSON.items() if body.isascii()}
    functions |= {f"{name} for a function": binary(body) for name, body in NO_JSON_BYTES.items()}
    return [Specimen(name=f"right: {name}", event=event, status=200) for name, event in {**odd, **functions}.items()]


def binary(body: bytes, path: str = INVOKE, **changes: Any) -> dict[str, Any]:
    """An event whose body travels as base64."""
    return http_event(path, base64.b64encode(body).decode(), isBase64Encoded=True, **changes)
