"""Answers: what came over HTTP as the function's own answer, or as one of the ways in which a call fails.

The router and the client read by this one table: the same answer counts as the same failure, proxied or leased.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from fiso_client.core.content import flaw_of, shape_of
from fiso_client.core.failures import Failure, ProviderError

LONGEST_RUN_MS = 900_000.0
"""No function runs longer; a header that says so is not believed."""
_PATH_SAFE = "/%-._~!$&'()*+,;=:@"
_PATH = re.compile(r"(?:[A-Za-z0-9/\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*")
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_SINGLE = frozenset(
    "age content-length content-location content-range content-type date etag expires last-modified location "
    "retry-after server".split()
)
"""Headers that are no lists: the last one counts."""
LONGEST_RETRY_AFTER_S = 3_600.0
"""Nobody is spared for longer by its own word."""
METHOD_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
"""Headers by which frameworks take a request for one of the method that they name."""
MOST_EVIDENCE = 120
"""Bytes of a provider's own answer that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A complete answer. Header names are lower case, repeated ones joined by a comma (RFC 9110, 5.3); `cookies` are
    the values of `set-cookie`, which cannot be joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of whom, as far as it bears on whose answer came back: the caller's own headers (names in lower
    case), path below the function's, query and body, and how FISO identified itself (`none`, `function_key`,
    `id_token`, `entra`)."""

    provider: str
    authentication: str = "none"
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    query: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAnswer:
    """What a function answered: its own status, headers (names in lower case), `set-cookie` values and body.

    `shape` is what kind of body that is (`content.shape_of`), by which an answer is held against the siblings'. `cold`,
    `billed_ms` and `memory_used_mb` are None where nobody says; `is_own_word`: `billed_ms` is what the function says,
    not its provider. `is_unhandled`: the function itself answered nothing, this is what it raised, of `error_type`
    (`Runtime.ImportModuleError`, `ValueError`). `is_head`: HEAD was asked, so that having no body means nothing (RFC
    9110, 9.3.2).
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    cold: bool | None = None
    billed_ms: float | None = None
    is_own_word: bool = False
    memory_used_mb: int | None = None
    is_function_error: bool = False
    is_unhandled: bool = False
    error_type: str = ""
    is_head: bool = False

    @property
    def shape(self) -> str:
        return "" if self.is_head else shape_of(self.headers.get("content-type"), self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a provider says of an invocation beside its answer; None where it says nothing."""

    billed_ms: float | None = None
    memory_mb: int | None = None
    is_cold: bool | None = None


SILENT = Report()


def read_http(answer: HttpAnswer, asked: Asked) -> FunctionAnswer:
    """What a function at an address of its own answered; `ProviderError` where a front door answered in its place."""
    if answer.status >= 300:
        from fiso_client.core.front_doors import mark_of  # not at a cold start: few answers need it

        if mark := mark_of(answer, asked):
            raise ProviderError(
                mark.meaning.failure,
                evidence_of(answer.status, mark.name, answer.body),
                retry_after_s=retry_after_s(answer.headers),
                status=answer.status,
                verdict=mark.meaning.fault,
            )
    return function_answer(answer, sent=asked.body)


def function_answer(answer: HttpAnswer, report: Report = SILENT, *, sent: bytes = b"") -> FunctionAnswer:
    """A function's answer; `ProviderError` when it cannot be one. `sent` is the caller's body: what only comes back is
    the caller's own.

    Cold or warm, and the billed time, are what the provider reports, else what the function says itself
    (`x-fiso-cold`, and its execution time in `x-fiso-exec-ms`, which is believed within what FISO saw).
    """
    if (flaw := flaw_of(answer.status, answer.headers, answer.body)) and not (sent and sent in answer.body):
        raise ProviderError(Failure.BROKEN, flaw)
    said_cold = {"1": True, "0": False}.get(answer.headers.get("x-fiso-cold", ""))
    said_ms = _milliseconds(answer.headers.get("x-fiso-exec-ms", ""))
    return FunctionAnswer(
        status=answer.status,
        body=answer.body,
        headers=_of_content(answer),
        cookies=answer.cookies,
        cold=said_cold if report.is_cold is None else report.is_cold,
        billed_ms=said_ms if report.billed_ms is None else report.billed_ms,
        is_own_word=report.billed_ms is None and said_ms is not None,
        memory_used_mb=report.memory_mb,
        is_function_error=answer.status >= 500,
    )


def _of_content(answer: HttpAnswer) -> Mapping[str, str]:
    """A 204 has no content, and so no type of it; some shells write one all the same, and others do not."""
    if answer.status != 204 or "content-type" not in answer.headers:
        return answer.headers
    return {name: value for name, value in answer.headers.items() if name != "content-type"}


def add_header(headers: dict[str, str], name: str, value: str) -> None:
    """One more line of a header, `name` in lower case: joined to those before it (RFC 9110, 5.3), or instead of them
    where there can be only one."""
    headers[name] = f"{headers[name]}, {value}" if name in headers and name not in _SINGLE else value


def evidence_of(status: int, name: str, body: bytes) -> str:
    """What an answer in the function's place looked like: its status, the name by which it was told, how it begins."""
    begin = " ".join(body[:MOST_EVIDENCE].decode(errors="replace").split())
    return f"status {status}" + (f" {name}" if name else "") + (f": {begin}" if begin else "")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The provider's own wish in seconds, at most LONGEST_RETRY_AFTER_S: a number of them or a date (RFC 9110, 10.2.3).
    Nonsense counts as none. A date is counted from the answer's own, where it has one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER_S)
    until, now = _timestamp(text), _timestamp(headers.get("date", ""))
    if until is None:
        return None
    return min(max(0.0, until - (datetime.now(UTC).timestamp() if now is None else now)), LONGEST_RETRY_AFTER_S)


def _timestamp(date: str) -> float | None:
    """An HTTP date in any of its three forms (RFC 9110, 5.6.7) as seconds since 1970."""
    from email.utils import mktime_tz, parsedate_tz  # rarely needed

    try:
        parsed = parsedate_tz(date)
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def path_below(path: str, suffix: str) -> str:
    """A function's path with what the caller's request has after it; empty when there is neither.

    `suffix` goes on as it was sent: only what a path cannot hold is percent-encoded (RFC 3986, 3.3), and a percent sign
    that encodes nothing.
    """
    if not suffix:
        return path
    if not _PATH.fullmatch(suffix):
        suffix = _LONE_PERCENT.sub("%25", quote(suffix, safe=_PATH_SAFE))
    return path + (suffix if suffix.startswith("/") else f"/{suffix}")


def _milliseconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= LONGEST_RUN_MS else None
