"""Payloads: what the user wants to send, as bytes with a content type."""

import json
import re
import sys
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from fiso.domain.headers import flaw_of
from fiso.domain.request import METHODS
from fiso_cli.errors import BadInput

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"


def read(data: str, *, stdin: BinaryIO | None = None) -> bytes:
    """`@FILE` and `@-` as with curl, `-` for standard input, anything else is the text itself."""
    if data in ("-", "@-"):
        return (stdin or sys.stdin.buffer).read()
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise BadInput(
            f"cannot read {data[1:]!r}: {error.strerror}; --data takes @FILE, - for standard input, or text"
        ) from error


def content_type_of(body: bytes) -> str:
    """JSON when the body parses as JSON, else plain bytes."""
    try:
        json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return BINARY_TYPE
    return JSON_TYPE


def pairs(options: list[str]) -> tuple[tuple[str, str], ...]:
    """`k=v` options as pairs, in order; a name may come twice."""
    split = [option.partition("=") for option in options]
    for (name, equals, _), option in zip(split, options, strict=True):
        if not name or not equals:
            raise BadInput(f"--query {option!r} is not of the form NAME=VALUE")
    return tuple((name, value) for name, _, value in split)


def headers(options: list[str]) -> dict[str, str]:
    """`Name: value` options as curl has them; one that comes twice is joined by a comma, which says the same."""
    found: dict[str, str] = {}
    for option in options:
        name, colon, value = option.partition(":")
        if not colon or flaw_of({name.lower(): value.strip()}):
            raise BadInput(f"--header {option!r} is not of the form 'Name: value'")
        before = found.get(name.lower())
        found[name.lower()] = value.strip() if before is None else f"{before}, {value.strip()}"
    return found


def path(option: str) -> str:
    """What follows a function's name, percent-encoded where it is not yet. HTTP libraries resolve `.` and `..`, which
    would call another function: such a segment is refused, however often it is encoded."""
    decoded, encoded = unquote(option), option
    while decoded != encoded:
        decoded, encoded = unquote(decoded), decoded
    if not {".", ".."}.isdisjoint(segment.partition(";")[0] for segment in re.split(r"[/\\]", decoded)):
        raise BadInput(f"--path {option!r} holds a '.' or '..' segment: name the path that it leads to")
    return quote(f"/{option.lstrip('/')}", safe="!$%&'()*+,/:;=@-._~") if option else ""


def method(option: str) -> str:
    """A method's name."""
    if option.upper() not in METHODS:
        raise BadInput(f"--method {option!r} is none of {', '.join(sorted(METHODS))}")
    return option.upper()


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
