"""Scripted answers: what a provider of the rig writes in each mode, well-formed or not."""

import asyncio
import gzip
import json
from functools import cache

from tests.lab.chaos.rig.modes import Kind
from tests.lab.chaos.rig.wire import answer_bytes, reset

HUGE_BYTES = 100 * 1024 * 1024
HUGE_CHUNK = 256 * 1024
HUGE_HEADER_BYTES = 64 * 1024
DRIP_S = 0.5
_PAGE = b"<!doctype html><title>Service notice</title><h1>We will be back soon</h1>"
_BALANCER = b"<html><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>"
"""As a load balancer answers whose target went: the function ran."""
_JSON = {"content-type": "application/json"}
_HTML = {"content-type": "text/html; charset=utf-8"}


def document_of(provider: str, body: bytes) -> bytes:
    """What the function answers: on AWS within a v2 response, as the Invoke API returns it."""
    text = json.dumps({"answered_by": provider, "bytes": len(body)})
    if provider != "aws":
        return text.encode()
    return json.dumps({"statusCode": 200, "headers": _JSON, "body": text, "isBase64Encoded": False}).encode()


def throttled(provider: str, retry_after_s: int) -> bytes:
    """The 429 of a front door, by which nothing ran."""
    marks = {
        "aws": ({"x-amzn-errortype": "TooManyRequestsException"}, b"{}"),
        "azure": ({"x-function-scaleout": "1"}, b""),
        "gcp": ({"content-type": "text/html"}, b"Rate exceeded."),
    }
    headers, body = marks.get(provider, marks["aws"])
    return answer_bytes(429, {**headers, "retry-after": str(retry_after_s)}, body)


async def write_answer(writer: asyncio.StreamWriter, kind: Kind, body: bytes, *, error_status: int) -> bool:
    """Write one answer; False when the connection is of no more use."""
    whole = _whole(kind, body, error_status)
    if whole is not None:
        writer.write(whole)
        await writer.drain()
        return kind is not Kind.LENGTH_TOO_SHORT
    await _write_part(writer, kind, body)
    return False


def _whole(kind: Kind, body: bytes, error_status: int) -> bytes | None:
    """Answers that are complete as HTTP; None for the others."""
    match kind:
        case Kind.OK:
            return answer_bytes(200, _JSON, body)
        case Kind.ERROR:
            return answer_bytes(error_status, {**_HTML, "server": "awselb/2.0"}, _BALANCER)
        case Kind.HTML:
            return answer_bytes(200, _HTML, _PAGE)
        case Kind.MALFORMED_JSON:
            return answer_bytes(200, _JSON, body[:-1] + b",,")
        case Kind.BAD_UTF8:
            return answer_bytes(200, _JSON, b'{"text": "\xff\xfe\xc3\x28"}')
        case Kind.GZIP_BOMB:
            return answer_bytes(200, {**_JSON, "content-encoding": "gzip"}, bomb())
        case Kind.HUGE_HEADER:
            return answer_bytes(200, {**_JSON, "x-long": "a" * HUGE_HEADER_BYTES}, body)
        case Kind.LENGTH_TOO_SHORT:
            return answer_bytes(200, {**_JSON, "content-length": str(len(body) // 2)}, body)
        case _:
            return None


async def _write_part(writer: asyncio.StreamWriter, kind: Kind, body: bytes) -> None:
    half = body[: len(body) // 2]
    match kind:
        case Kind.TRUNCATED:
            writer.write(answer_bytes(200, {**_JSON, "content-length": str(len(body))}, half))
            await writer.drain()
        case Kind.LENGTH_TOO_LONG:
            writer.write(answer_bytes(200, {**_JSON, "content-length": str(2 * len(body))}, body))
            await writer.drain()
            await asyncio.sleep(60)  # the other side waits for what was promised, until its own limit
        case Kind.RESET:
            writer.write(answer_bytes(200, {**_JSON, "content-length": str(len(body))}, half))
            await writer.drain()
            await asyncio.sleep(0.01)
            reset(writer)
        case Kind.RESET_AFTER_RUN:
            reset(writer)
        case Kind.SLOW_DRIP:
            await _drip(writer, body)
        case Kind.HUGE_BODY:
            await _huge(writer)
        case _:
            raise ValueError(f"no answer for {kind}")


async def _drip(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(answer_bytes(200, {**_JSON, "content-length": str(len(body))}, b""))
    for byte in body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP_S)


async def _huge(writer: asyncio.StreamWriter) -> None:
    writer.write(answer_bytes(200, {**_JSON, "content-length": str(HUGE_BYTES)}, b""))
    chunk = b" " * HUGE_CHUNK
    for _ in range(HUGE_BYTES // HUGE_CHUNK):
        writer.write(chunk)
        await writer.drain()


@cache
def bomb() -> bytes:
    """100 MB of zeros, compressed."""
    return gzip.compress(bytes(HUGE_BYTES), mtime=0)
