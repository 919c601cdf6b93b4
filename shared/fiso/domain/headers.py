"""Headers: which of them pass between a caller and a function, and which stay at the router.

Everything passes but what belongs to one hop (RFC 9110, 7.6.1), what a router has to write itself, and what identifies
the caller to FISO. Names are lower case. docs/http.md has the table.
"""

import re
from collections.abc import Collection, Mapping

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection te "
    "trailer transfer-encoding upgrade".split()
)
"""Between two hops only; as well as whatever `connection` names."""
WRITTEN_ANEW = frozenset({"host", "content-length", "expect", "proxy"})
"""Of a request: written by whoever sends it on. `proxy` becomes the variable HTTP_PROXY in a function that is run as
CGI runs one, and would lead its own calls astray (CVE-2016-5385)."""
SIGNATURE = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})
"""A caller's AWS signature (Signature Version 4), which only signs for FISO."""
TOKEN = frozenset({"authorization"})
TRACE = frozenset({"traceparent", "tracestate"})
FORWARD_AUTHORIZATION = "x-fiso-forward-authorization"
"""A request's header that reaches the function as `authorization`."""
FRONT_DOORS = frozenset(
    "server date via alt-svc x-powered-by x-cloud-trace-context function-execution-id apigw-requestid x-amzn-requestid "
    "x-amzn-trace-id x-amz-apigw-id x-amz-cf-id x-amz-cf-pop x-azure-ref x-ms-middleware-request-id "
    "request-context".split()
)
"""Of an answer: what each cloud's own front door writes into every one. It tells clouds apart where the function
answers alike on all of them, and API Gateway writes its own `date` and `server` anyway."""
OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-length"})
"""What a body cannot be read without: it passes however much a policy narrows."""
_OURS = "x-fiso-"
_OUR_COOKIE = re.compile(r"[\s=]*(__host-|__secure-)?fiso-", re.IGNORECASE)
"""`=fiso-session=x` as well: of a cookie without a name a browser sends back the value alone (RFC 6265bis, 5.7)."""
_SCOPED = frozenset({"idempotency-key"})
_FORWARDED = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
_STAYS = HOP_BY_HOP | WRITTEN_ANEW | _FORWARDED | _SCOPED
_STAYS_BEHIND = HOP_BY_HOP | FRONT_DOORS | {"content-length", "set-cookie"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_PRINTABLE = re.compile(r"[\t -~]*")
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?")


def flaw_of(headers: Mapping[str, str]) -> str | None:
    """Why these are no headers, None when they are: a name is a token, a value holds no control character (RFC 9110,
    5.1 and 5.5)."""
    for name in headers:
        if not _NAME.fullmatch(name):
            return f"{name[:80]!r} is not the name of a header"
    if _UNFIT.search("\t".join(headers.values())):
        name = next(name for name, value in headers.items() if _UNFIT.search(value))
        return f"header {name[:80]} holds a control character"
    return None


def of_request(headers: Mapping[str, str], *, consumed: frozenset[str], only: Collection[str] = ()) -> dict[str, str]:
    """What passes of a caller's headers. `consumed` are those by which FISO knew the caller; `only`, where there are
    any, the names that a policy narrows to."""
    stays = _STAYS | consumed if consumed else _STAYS
    if "connection" in headers:
        stays = stays | named_by(headers["connection"])
    if "traceparent" in headers or "tracestate" in headers:
        stays = stays | untraceable(headers)
    passed = {name: value for name, value in headers.items() if name not in stays and not name.startswith(_OURS)}
    if "_" in "".join(passed):
        # A WSGI application cannot tell X_Forwarded_For from X-Forwarded-For (PEP 3333).
        passed = {name: value for name, value in passed.items() if not _is_in_disguise(name, stays)}
    if FORWARD_AUTHORIZATION in headers:
        passed["authorization"] = headers[FORWARD_AUTHORIZATION]
    if "cookie" in passed and "fiso-" in passed["cookie"].lower():
        passed["cookie"] = _foreign_cookies(passed["cookie"])
    return narrowed(passed, only)


def narrowed(headers: dict[str, str], only: Collection[str]) -> dict[str, str]:
    """Of headers those that a policy names, and those that describe the body; all where it names none."""
    if not only:
        return headers
    return {name: value for name, value in headers.items() if name in only or name in OF_THE_BODY}


def of_answer(headers: Mapping[str, str], *, is_head: bool = False) -> dict[str, str]:
    """What passes of a function's headers. What could break out of its line stays behind, and so does what is not
    ASCII, which every hop reads otherwise. `content-length` says something in an answer to HEAD alone."""
    stays = _STAYS_BEHIND
    if "connection" in headers:
        stays = stays | named_by(headers["connection"])
    passed = {
        name: value
        for name, value in headers.items()
        if name not in stays and not name.startswith(_OURS) and _PRINTABLE.fullmatch(value) and _NAME.fullmatch(name)
    }
    if is_head and headers.get("content-length", "").isdecimal():
        passed["content-length"] = headers["content-length"]
    return passed


def cookies_of(cookies: Collection[str]) -> tuple[str, ...]:
    """What passes of a function's `set-cookie` lines: none that would be a session of FISO's console, on whose host the
    function is called."""
    return tuple(cookie for cookie in cookies if _PRINTABLE.fullmatch(cookie) and not _OUR_COOKIE.match(cookie))


def named_by(connection: str) -> frozenset[str]:
    """The headers that a `connection` header takes with it."""
    return frozenset(part.strip().lower() for part in connection.split(","))


def untraceable(headers: Mapping[str, str]) -> frozenset[str]:
    """Which trace headers must not go on: an invalid `traceparent` restarts the trace, and a `tracestate` means nothing
    without a valid one (W3C Trace Context, 2.2 and 3.5)."""
    parent = _PARENT.fullmatch(headers.get("traceparent", ""))
    if parent is None or (parent["more"] and headers["traceparent"].startswith("00")):
        return TRACE
    return frozenset()


def _foreign_cookies(cookie: str) -> str:
    """Without the session of whoever is logged in to FISO's console: it would let a function act as that person."""
    return ";".join(part for part in cookie.split(";") if not _OUR_COOKIE.match(part)).strip()


def _is_in_disguise(name: str, stays: frozenset[str]) -> bool:
    plain = name.replace("_", "-")
    return plain != name and (plain in stays or plain.startswith(_OURS))
