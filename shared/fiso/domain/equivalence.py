"""Equivalence: whether copies of a function answer one request alike, and where not. Pure, standard library only.

Compared are status, headers, cookies and body: a body that calls itself JSON by its values (order of keys and
whitespace do not matter, 1 is 1.0, NaN is itself), any other by its bytes, what is compressed by what it says. Left out
is what servers and clouds add by themselves, and what the operator declares to differ. JSON with a key twice, which
parsers read in different ways, and JSON deeper or longer than can be judged is compared by its bytes.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from math import isfinite
from typing import TypeVar

from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.content import is_json
from fiso_client.core.redaction import GONE, is_secret_name, redact

ADDED_HEADERS = frozenset(
    "age alt-svc connection content-length date function-execution-id keep-alive nel referrer-policy report-to "
    "request-context request-id server server-timing set-cookie strict-transport-security traceparent tracestate "
    "transfer-encoding via x-correlation-id x-powered-by x-request-id x-trace-id".split()
)
"""Headers that servers, front doors and traces add, or that are compared otherwise (cookies, lengths)."""
ADDED_PREFIXES = (
    "access-control-",  # FISO's and the front doors' own: a browser's matter, not the function's
    *("apigw-", "x-amz-", "x-amzn-", "x-amz-cf-"),  # AWS
    *("x-azure-", "x-ms-", "x-aspnet", "x-arr-"),  # Azure
    *("x-cloud-", "x-goog-", "x-appengine-", "x-cloudtrace"),  # Google
    *("cf-", "x-cache", "x-envoy-", "x-served-", "x-forwarded-", "x-b3-", "x-fiso-"),
)
ADDED_COOKIES = frozenset({"arraffinity", "arraffinitysamesite", "awsalb", "awsalbcors", "gaesa", "gclb"})
"""Cookies of the clouds' own load balancers."""
LARGEST_PARSED = 64 * 1024
"""Bytes of a body that are parsed where a request waits for it: some 7 ms for two, and nothing where the bytes are
equal."""
LARGEST_DECODED = 8 * 1024 * 1024
"""Bytes that a compressed body may come to."""
DEEPEST = 200
LONGEST_VALUE = 60
LONGEST_PLACE = 80
ABSENT = "(absent)"

Path = tuple[str, ...]
Name = TypeVar("Name", bound=str)
_WILD = "*"
_BLOCK = 4096
_CHARSET = re.compile(r"charset=\"?([^\";]+)\"?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """What may differ. `pointers` into JSON bodies (RFC 6901), in which `*` stands for any key or index and what lies
    below is left out too; `headers` by name, also with a `*` at the end. `ValueError` for a pointer that is none."""

    pointers: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for pointer in self.pointers:
            if not pointer.startswith("/") or len(pointer) > 500:
                raise ValueError(f"{pointer!r:.80} is no JSON pointer: it begins with /, as in /items/*/created_at")

    def paths(self) -> frozenset[Path]:
        """The pointers by their parts."""
        return frozenset(
            tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
            for pointer in self.pointers
        )

    def leaves_out(self, header: str) -> bool:
        """Whether a header (in lower case) is not compared."""
        if header in ADDED_HEADERS or header.startswith(ADDED_PREFIXES):
            return True
        own = (name.lower() for name in self.headers)
        return any(header == name or (name.endswith(_WILD) and header.startswith(name[:-1])) for name in own)


NOTHING = Ignored()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two answers differ: `status`, `header etag`, `cookie sid`, `body`, `body /items/0/price`.

    `this` and `that` are the two values, shortened and without secrets.
    """

    place: str
    this: str
    that: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Which of several copies answered alike: groups of their names, the largest first, each in the order given."""

    groups: tuple[tuple[str, ...], ...]

    @property
    def is_alike(self) -> bool:
        return len(self.groups) < 2

    @property
    def majority(self) -> tuple[str, ...]:
        """More than half of at least three copies; nobody where there is no such group: of two that differ, either may
        be right."""
        copies = sum(map(len, self.groups))
        return self.groups[0] if copies > 2 and len(self.groups[0]) * 2 > copies else ()

    @property
    def odd(self) -> tuple[str, ...]:
        """Who differs from the majority."""
        return tuple(name for group in self.groups[1:] for name in group) if self.majority else ()


class Comparable:
    """An answer, read once for any number of comparisons. `largest` is up to how many bytes JSON is parsed."""

    def __init__(self, answer: FunctionAnswer, ignored: Ignored = NOTHING, *, largest: int = LARGEST_PARSED) -> None:
        self.answer, self._ignored, self._largest = answer, ignored, largest

    @cached_property
    def headers(self) -> Mapping[str, str]:
        given = self.answer.headers.items()
        return {name: _header(name, value) for name, value in given if not self._ignored.leaves_out(name)}

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """Names and attributes: a cookie's value is as a rule its holder's own."""
        found: dict[str, str] = {}
        for cookie in sorted(filter(None, map(_cookie, self.answer.cookies))):
            name, _, attributes = cookie.partition("\0")
            found[name] = f"{found[name]}, {attributes}" if name in found else attributes
        return found

    @cached_property
    def body(self) -> bytes:
        """Decompressed where that can be done within LARGEST_DECODED."""
        return _decoded(self.answer.body, self.answer.headers.get("content-encoding", ""))

    @cached_property
    def is_json(self) -> bool:
        return is_json(self.answer.headers.get("content-type"))

    @cached_property
    def document(self) -> object:
        """The body's JSON, NO_JSON where it is none that can be judged."""
        if not self.is_json or len(self.body) > self._largest:
            return NO_JSON
        return _parsed(self.body)


class _NoJson:
    """Stands for what is no JSON document."""


NO_JSON = _NoJson()


def differences(this: Comparable, that: Comparable, ignored: Ignored = NOTHING) -> Iterator[Difference]:
    """Where two answers differ, one by one: status, headers, cookies, then the body in its order."""
    if this.answer.status != that.answer.status:
        yield Difference(place="status", this=str(this.answer.status), that=str(that.answer.status))
    yield from _named("header", this.headers, that.headers)
    yield from _named("cookie", this.cookies, that.cookies)
    if this.body != that.body:
        yield from _bodies(this, that, ignored)


def first_difference(this: Comparable, that: Comparable, ignored: Ignored = NOTHING) -> Difference | None:
    return next(differences(this, that, ignored), None)


def agreement(answers: Mapping[Name, Comparable], ignored: Ignored = NOTHING) -> Agreement:
    """Who answered alike."""
    groups: list[list[Name]] = []
    for name, answer in answers.items():
        for group in groups:
            if first_difference(answers[group[0]], answer, ignored) is None:
                group.append(name)
                break
        else:
            groups.append([name])
    groups.sort(key=len, reverse=True)  # stable: of groups of one size the first copy's is first
    return Agreement(groups=tuple(tuple(group) for group in groups))


def _named(kind: str, this: Mapping[str, str], that: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*this, *that}):
        one, other = this.get(name), that.get(name)
        if one != other:
            hide = kind == "header" and is_secret_name(name)
            yield Difference(place=_place(f"{kind} {name}"), this=_shown(one, hide=hide), that=_shown(other, hide=hide))


def _bodies(this: Comparable, that: Comparable, ignored: Ignored) -> Iterator[Difference]:
    if this.document is NO_JSON or that.document is NO_JSON:
        yield _by_bytes(this.body, that.body)
    else:
        yield from _values(this.document, that.document, ignored.paths())


def _by_bytes(this: bytes, that: bytes) -> Difference:
    block = next(at for at in range(0, max(len(this), len(that)), _BLOCK) if _cut(this, at) != _cut(that, at))
    pairs = zip_longest(_cut(this, block), _cut(that, block))
    at = block + next(at for at, (one, other) in enumerate(pairs) if one != other)
    return Difference(place=f"body, byte {at}", this=_excerpt(this, at) or ABSENT, that=_excerpt(that, at) or ABSENT)


def _cut(body: bytes, at: int) -> bytes:
    return body[at : at + _BLOCK]


def _excerpt(body: bytes, at: int) -> str:
    """What stands there, with a little before it so that a secret keeps the name that it is known by."""
    return redact(body[max(0, at - 20) : at + LONGEST_VALUE].decode("utf-8", "replace"), limit=LONGEST_VALUE)


def _values(this: object, that: object, ignored: frozenset[Path]) -> Iterator[Difference]:
    """Depth first, in the order of the first document. Not recursive: a document is as deep as it likes."""
    waiting: list[tuple[Path, object, object]] = [((), this, that)]
    while waiting:
        path, one, other = waiting.pop()
        if path and any(_fits(path, pattern) for pattern in ignored):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            keys = [*one, *(key for key in other if key not in one)]
            below = [((*path, key), one.get(key, _MISSING), other.get(key, _MISSING)) for key in keys]
        elif isinstance(one, list) and isinstance(other, list):
            pairs = zip_longest(one, other, fillvalue=_MISSING)
            below = [((*path, str(index)), left, right) for index, (left, right) in enumerate(pairs)]
        elif isinstance(one, bool) is isinstance(other, bool) and one == other:
            continue
        else:
            hide = any(map(is_secret_name, path))
            pointer = "".join(f"/{_escaped(part)}" for part in path)
            place = _place(f"body {pointer}" if path else "body")
            yield Difference(place=place, this=_json_shown(one, hide=hide), that=_json_shown(other, hide=hide))
            continue
        waiting.extend(reversed(below))


def _fits(path: Path, pattern: Path) -> bool:
    return len(path) == len(pattern) and all(
        wanted in (_WILD, part) for part, wanted in zip(path, pattern, strict=True)
    )


_MISSING = _NoJson()


@dataclass(frozen=True, slots=True)
class _Spelled:
    """A number that no float holds (NaN, 1e999): equal to what is spelled the same."""

    text: str


class _Repeated(ValueError):
    """A key stands in an object twice."""


def _parsed(body: bytes) -> object:
    try:
        document = json.loads(
            body.decode("utf-8-sig"), parse_float=_number, parse_constant=_Spelled, object_pairs_hook=_object
        )
        return document if _depth_is_fair(document) else NO_JSON
    except (ValueError, RecursionError):
        return NO_JSON


def _number(text: str) -> object:
    value = float(text)
    return value if isfinite(value) else _Spelled(text)


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated("a key stands in it twice")
    return found


def _depth_is_fair(document: object) -> bool:
    level, depth = [document], 0
    while level and depth <= DEEPEST:
        level = [
            below
            for value in level
            if isinstance(value, dict | list)
            for below in (value.values() if isinstance(value, dict) else value)
        ]
        depth += 1
    return not level


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        unpacker = zlib.decompressobj(47)
        plain = unpacker.decompress(body, LARGEST_DECODED)
    except zlib.error:
        return body
    return plain if unpacker.eof and not unpacker.unused_data else body


def _header(name: str, value: str) -> str:
    value = " ".join(value.split())
    if name != "content-type":
        return value
    kind, *parameters = (part.strip() for part in value.split(";"))
    spelled = sorted(_CHARSET.sub(lambda found: f"charset={found[1].lower()}", part) for part in parameters if part)
    return "; ".join([kind.lower(), *spelled])


def _cookie(cookie: str) -> str | None:
    """`name NUL attributes`; None for one of the cloud's own. When it expires is a time of day, and counts as one."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    name = pair.partition("=")[0].strip()
    if name.lower() in ADDED_COOKIES:
        return None
    spelled = (_attribute(attribute) for attribute in attributes if attribute)
    return f"{name}\0{'; '.join(sorted(spelled))}"


def _attribute(attribute: str) -> str:
    name, equals, value = attribute.partition("=")
    name = name.strip().lower()
    if name == "expires":
        return "expires"
    return f"{name}={value.strip().lower() if name in ('samesite', 'domain') else value.strip()}" if equals else name


def _shown(value: str | None, *, hide: bool) -> str:
    if value is None:
        return ABSENT
    return GONE if hide else redact(value, limit=LONGEST_VALUE)


def _json_shown(value: object, *, hide: bool) -> str:
    if value is _MISSING:
        return ABSENT
    if hide:
        return GONE
    if isinstance(value, dict | list):
        kind = "an object of" if isinstance(value, dict) else "a list of"
        return f"{kind} {len(value)}"
    return redact(value.text if isinstance(value, _Spelled) else json.dumps(value), limit=LONGEST_VALUE)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _place(place: str) -> str:
    return redact(place, limit=LONGEST_PLACE)
