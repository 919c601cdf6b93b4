"""Generated events: sound ones with some parts replaced by what Hypothesis finds odd, and events of no shape at all."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.security.specimens import EVENT_FUNCTION, FUNCTION, http_event

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post", "")
ROUTES = (
    f"/v1/invoke/{FUNCTION}",
    f"/v1/invoke/{EVENT_FUNCTION}",
    f"/v1/explain/{FUNCTION}",
    f"/v1/decide/{FUNCTION}",
    "/v1/outcomes",
    "/v1/endpoints",
    "/v1/invocations",
    "/healthz",
)
HEADERS = (
    "content-type",
    "accept",
    "idempotency-key",
    "x-fiso-timeout-ms",
    "x-fiso-user-region",
    "x-fiso-request-size",
    "traceparent",
    "content-length",
    "transfer-encoding",
    "host",
    "x-forwarded-for",
)
PIECES = ("/", "//", "..", "%2e%2e", "%00", "%ff", "%0d%0a", "%", "%zz", "\r\n", "\x00", "\ud800", "\ufeff", "\u202e")
VALUES = (
    "application/json",
    "application/json; charset=utf-16",
    "text/event-stream",
    "text/plain",
    "*/*",
    "0",
    "-1",
    "1e9",
    "2000",
    "28001",
    "NaN",
    "\u0661",
    "a\r\nx-injected: 1",
    "chunked",
    "${jndi:ldap://x}",
)

_text = st.text(st.characters(), max_size=30) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=5)
_odd = st.sampled_from(PIECES) | _text
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=8,
)
_values = st.sampled_from(VALUES) | _text
_headers = st.dictionaries(st.sampled_from(HEADERS) | _text, _values | anything, max_size=8)
_json = anything.map(json.dumps) | anything.map(lambda value: json.dumps(value, ensure_ascii=False))
_cut = st.builds(lambda text, share: text[: int(len(text) * share)], _json, st.floats(0, 1))
_bodies = _json | _cut | _text | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()) | anything


@st.composite
def events(draw: st.DrawFn, routes: Sequence[str] = ROUTES) -> object:
    """An event to which something may have been done."""
    if draw(st.integers(0, 19)) == 0:
        return draw(anything)
    event = http_event(draw(st.sampled_from(routes)), draw(_bodies), method=draw(st.sampled_from(METHODS) | _text))
    if draw(st.integers(0, 9)):
        event["requestContext"]["http"]["method"] = "POST"
    parts: dict[str, st.SearchStrategy[Any]] = {
        "rawPath": _paths(routes) | anything,
        "rawQueryString": _text | anything,
        "headers": _headers | anything,
        "isBase64Encoded": st.booleans() | anything,
        "requestContext": anything,
    }
    for name in draw(st.lists(st.sampled_from(sorted(parts)), max_size=3, unique=True)):
        event[name] = draw(parts[name])
    return event


def each_generated(
    handle: Callable[[object], object], *, count: int, first: int, routes: Sequence[str] = ROUTES
) -> None:
    """Hand over `count` events, the same for the same `first` seed. None is shrunk, whatever comes of it."""

    @seed(first)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(events(routes))
    def one(event: object) -> None:
        handle(event)

    one()


def _paths(routes: Sequence[str]) -> st.SearchStrategy[str]:
    beginnings = st.sampled_from((*routes, "", "/v1/"))
    return st.builds(lambda route, pieces: route + "".join(pieces), beginnings, st.lists(_odd, max_size=4))
