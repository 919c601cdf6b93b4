"""Passing a request on: the same method, path, headers and bytes to the upstream, and its answer back."""

import io
import re
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",  # answered by the server side already
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Headers that the client library would add on its own.
NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
CREDENTIAL_REGION = re.compile(r"Credential=[^/\s,]+/\d{8}/([a-z0-9-]+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The upstream's whole answer."""

    status: int
    reason: str | None
    headers: CIMultiDict[str]
    body: bytes


def upstream_session() -> aiohttp.ClientSession:
    """Keep-alive connections without limits of its own: deadlines are the caller's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=2),
        auto_decompress=False,
        skip_auto_headers=NOT_ADDED,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def pass_on(request: web.Request, body: bytes, upstream: str, session: aiohttp.ClientSession) -> Answer:
    """Raises `aiohttp.ClientError` when the upstream cannot be reached or breaks off."""
    url = URL(upstream.rstrip("/") + request.raw_path, encoded=True)
    headers = end_to_end(request.headers)
    async with session.request(
        request.method, url, headers=headers, data=io.BytesIO(body) if body else None, allow_redirects=False
    ) as response:
        return Answer(
            status=response.status,
            reason=response.reason,
            headers=end_to_end(response.headers),
            body=await response.read(),
        )


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """All headers but those of one connection, and those that `Connection` names as such."""
    named = {name.strip().lower() for value in headers.getall("Connection", []) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP | named)


def signed_region(authorization: str | None) -> str | None:
    """The region of a SigV4 credential scope: Credential=<key>/<date>/<region>/<service>/aws4_request."""
    found = CREDENTIAL_REGION.search(authorization or "")
    return found[1] if found else None
