"""Payloads: what the user wants to send, as bytes with a content type."""

import json
import sys
from pathlib import Path
from typing import BinaryIO

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


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
