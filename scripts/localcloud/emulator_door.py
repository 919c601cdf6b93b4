"""The emulator's door. It answers anybody and tells the pages of all sites to come in: the door asks who comes, and for
a signature everywhere but at the HTTP APIs, whose callers are the product's own. Standard library only.
"""

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from fiso_cli.access_key import AccessKey
from localcloud import signatures
from localcloud.doors import Door, Visit, refusal
from localcloud.signatures import BadSignatureError, Request
from localcloud.web_identity import HOST_OF_STS, Answer, WebIdentity

_Scope: TypeAlias = dict[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
_Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
_Application: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_HEALTH = "/_ministack/health"
_API = "/_aws/execute-api/"
_HOP = {"connection", "keep-alive", "transfer-encoding"}
_OWN_REGION = "us-east-1"
_SIGNED = {"authorization", "x-amz-date", "x-amz-security-token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another local cloud with the same access key, which is a region of this one."""

    region: str
    address: str


def peer_of(text: str) -> Peer:
    """`us-west-2=http://127.0.0.1:5566`."""
    region, _, url = text.partition("=")
    return Peer(region=region, address=urlsplit(url).netloc)


def behind_door(
    application: _Application,
    api_of: Callable[[str, str], object],
    key: AccessKey,
    peer: Peer | None = None,
    identity: WebIdentity | None = None,
) -> _Application:
    """The emulator's ASGI application for the cloud's owner only. `api_of` finds the HTTP API of a host and path. What
    is signed for the peer's region is the peer's to answer; who a function is, `identity` says."""

    async def guarded(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            return await application(scope, receive, send)
        headers = _headers_of(scope)
        is_api = scope["path"].startswith(_API) and api_of(headers.get("host", ""), scope["path"]) is not None
        is_health = (scope.get("method"), scope["path"]) == ("GET", _HEALTH)
        keys = identity.published(scope["path"]) if identity and scope.get("method") == "GET" else None
        is_signed = not (is_api or is_health or keys)
        caller, (_, port) = scope.get("client"), scope["server"]
        seen = headers
        if is_signed and scope["path"] == "/" and HOST_OF_STS.fullmatch(headers.get("host", "")):
            # sent on by who believes AWS alone; whether its signer meant it, the signature says
            seen = {**headers, "host": f"127.0.0.1:{port}"}
        visit = Visit(headers=seen, caller=tuple(caller) if caller else None, port=port)
        why = refusal(visit, Door.API if is_api else Door.CONTROL, is_signed=is_signed)
        if why is not None or (is_signed and scope["type"] != "http"):
            return await _refuse(scope, send, "AccessDeniedException", why or "not served here", headers)
        if keys is not None:
            return await _sent(send, keys)
        if not is_signed:
            scope = _with_scheme(scope)
            return await application(scope, receive, send if is_api else _without_cors(send))
        body, again = await _whole_body(receive)
        try:
            asked = _signable(scope, headers, body)
            meant = signatures.check(asked, key, datetime.now(UTC))
        except BadSignatureError as error:
            return await _refuse(scope, send, error.code, str(error), headers)
        if peer is not None and meant.region == peer.region:
            return await _hand_over(asked, meant.service, send, key, peer)
        if identity is not None and (own := identity.answer(asked, meant)) is not None:
            return await _sent(send, own)
        await application(scope, again, _without_cors(send))

    return guarded


async def _sent(send: _Send, answer: Answer) -> None:
    named = [(b"content-type", answer.kind.encode()), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": named})
    await send({"type": "http.response.body", "body": answer.body})


def _with_scheme(scope: _Scope) -> _Scope:
    """As API Gateway does, and the emulator does not: what the caller speaks, whatever it says of that itself."""
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"x-forwarded-proto"]
    return {**scope, "headers": [*others, (b"x-forwarded-proto", scope.get("scheme", "http").encode())]}


def _headers_of(scope: _Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), signatures.text_of(raw_value)
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _signable(scope: _Scope, headers: dict[str, str], body: bytes) -> Request:
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(method=scope["method"], path=path, query=query, headers=headers, body=body)


async def _whole_body(receive: _Receive) -> tuple[bytes, _Receive]:
    """The body, and what gives the same messages once more."""
    messages, chunks = [], []
    while True:
        message = await receive()
        messages.append(message)
        chunks.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    waiting = iter(messages)

    async def again() -> dict[str, Any]:
        message = next(waiting, None)
        return await receive() if message is None else message

    return b"".join(chunks), again


def _without_cors(send: _Send) -> _Send:
    """The emulator tells the pages of all sites to come in."""

    async def sent(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(n, v) for n, v in message.get("headers", []) if not n.lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return sent


async def _hand_over(asked: Request, service: str, send: _Send, key: AccessKey, peer: Peer) -> None:
    """To the peer, for which its region has the name that each local cloud has for its own. One that is away is
    unavailable."""
    kept = {name: value for name, value in asked.headers.items() if name not in _SIGNED}
    headers = signatures.signed(replace(asked, headers=kept), key, service, _OWN_REGION, datetime.now(UTC))
    status, named, answer = await asyncio.to_thread(_answer_of, peer, replace(asked, headers=headers))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": answer})


def _answer_of(peer: Peer, asked: Request) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    connection = http.client.HTTPConnection(peer.address, timeout=10)
    try:
        target = f"{asked.path}?{asked.query}" if asked.query else asked.path
        connection.putrequest(asked.method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers.items():
            connection.putheader(name, value)
        connection.endheaders(asked.body)
        answer = connection.getresponse()
        kept = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.getheaders() if n.lower() not in _HOP]
        return answer.status, kept, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 503, [(b"content-type", b"text/plain")], f"the region {peer.region} is away: {error}".encode()
    finally:
        connection.close()


async def _refuse(scope: _Scope, send: _Send, code: str, why: str, headers: dict[str, str]) -> None:
    if scope["type"] != "http":
        return await send({"type": "websocket.close", "code": 1008})
    kind, body = _error(code, why, headers)
    named = [(b"content-type", kind), (b"x-amzn-errortype", code.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": named})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


def _error(code: str, why: str, headers: dict[str, str]) -> tuple[bytes, bytes]:
    """An error as the service's protocol has it. Codes and reasons are ours: nothing needs escaping."""
    error = f"<Error><Code>{code}</Code><Message>{why}</Message></Error>"
    if "/s3/aws4_request" in headers.get("authorization", ""):
        return b"application/xml", error.encode()
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return b"text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
    return b"application/json", json.dumps({"__type": code, "message": why}).encode()
