"""A listener: a port that stands for a provider in one region (AWS: in all of them). It passes requests on, late."""

import asyncio
import base64
import binascii
import io
import logging
import math
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from random import Random
from typing import TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from localcloud.aiohttp_doors import guarded
from localcloud.doors import Door
from localcloud.profile import Delay, Profile, Provider, ProviderProfile, RegionProfile, draw_delay

LOG_RESULT = "X-Amz-Log-Result"
COLD = "x-fiso-cold"
REPORT = b"REPORT "


def say_cold(headers: CIMultiDict[str], init_ms: float) -> None:
    """Change an answer's headers: Lambda's REPORT line gets an Init Duration, a function's own header says 1."""
    tail = headers.get(LOG_RESULT)
    if tail is None:
        headers[COLD] = "1"
        return
    try:
        lines = base64.b64decode(tail, validate=True).split(b"\n")
    except binascii.Error:
        return
    said = [_with_init(line, init_ms) if line.startswith(REPORT) else line for line in lines]
    headers[LOG_RESULT] = base64.b64encode(b"\n".join(said)).decode("ascii")


def _with_init(line: bytes, init_ms: float) -> bytes:
    if b"Init Duration" in line:
        return line
    return line.rstrip() + f"\tInit Duration: {init_ms:.2f} ms\t".encode()


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


class FaultKind(StrEnum):
    KILL = "kill"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `factor` is how many times longer a slow provider takes."""

    kind: FaultKind
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError("factor must be a number from 1 up")

    @property
    def refuses_connections(self) -> bool:
        return self.kind is FaultKind.KILL

    def extra_ms(self, taken_ms: float) -> float:
        """What to wait beyond the time that the call has taken, emulated delay and upstream together."""
        return taken_ms * (self.factor - 1) if self.kind is FaultKind.SLOW else 0.0


log = logging.getLogger(__name__)

FaultOf: TypeAlias = Callable[[Provider], Fault | None]
"""What is wrong with a provider now."""

HOST = "127.0.0.1"
MAX_BODY_BYTES = 100 * 1024 * 1024
EMULATED_HEADER = "x-fiso-emulated"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a listener stands for. `emulates` is false when nothing is to be added."""

    profile: Profile
    provider: ProviderProfile
    regions: tuple[RegionProfile, ...]
    port: int
    upstream: str
    emulates: bool = True

    def region(self, request: web.Request) -> RegionProfile:
        """The region the request is for: the signed one where one listener serves several, else the first."""
        signed = signed_region(request.headers.get("Authorization")) if len(self.regions) > 1 else None
        return next((region for region in self.regions if region.name == signed), self.regions[0])


class Listener:
    """Passes requests on, late."""

    def __init__(self, place: Place, session: aiohttp.ClientSession, rng: Random, fault_of: FaultOf) -> None:
        self.place = place
        self.requests = 0
        self._session = session
        self._rng = rng
        self._fault_of = fault_of
        self._last_call_at: dict[tuple[str, str], float] = {}
        self._runner: web.AppRunner | None = None

    @property
    def is_open(self) -> bool:
        return self._runner is not None

    async def open(self) -> None:
        """Listen, unless it does already. Raises OSError when the port is taken."""
        if self._runner is not None:
            return
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guarded(Door.FUNCTION)])
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, auto_decompress=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self.place.port, reuse_address=True).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and reset what is open, as a machine does that is suddenly gone."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in runner.sites:
            await site.stop()
        for connection in runner.server.connections if runner.server else []:
            if connection.transport is not None:
                _reset(connection.transport)
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        region = self.place.region(request)
        key = (region.name, request.path)
        started_at = time.monotonic()
        delay = self._delay(region, key)
        await _wait_ms(delay.distance_ms / 2 + delay.cold_ms)
        try:
            answer = await pass_on(request, body, self.place.upstream, self._session)
        except aiohttp.ClientError as error:
            log.warning("%s: upstream %s: %r", self.place.provider.name, self.place.upstream, error)
            return web.json_response(
                {"message": "the provider's local host is not reachable"}, status=HTTPStatus.BAD_GATEWAY
            )
        finally:
            self._last_call_at[key] = time.monotonic()
        await _wait_ms(delay.distance_ms / 2)
        slow_ms = await self._apply_fault((time.monotonic() - started_at) * 1000)
        return _labelled(request, answer, delay, slow_ms)

    def _delay(self, region: RegionProfile, key: tuple[str, str]) -> Delay:
        if not self.place.emulates:
            return Delay()
        last = self._last_call_at.get(key)
        idle_minutes = None if last is None else (time.monotonic() - last) / 60
        return draw_delay(self.place.profile, self.place.provider, region, idle_minutes, self._rng)

    async def _apply_fault(self, taken_ms: float) -> float:
        fault = self._fault_of(self.place.provider.name)
        extra_ms = fault.extra_ms(taken_ms) if fault else 0.0
        await _wait_ms(extra_ms)
        return extra_ms


async def _wait_ms(duration_ms: float) -> None:
    if duration_ms > 0:
        await asyncio.sleep(duration_ms / 1000)


def _reset(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


def _labelled(request: web.Request, answer: Answer, delay: Delay, slow_ms: float) -> web.Response:
    """The upstream's answer with what was added, in ms: `distance=…;cold=…`, and `;slow=…` while a fault slows it."""
    headers = answer.headers.copy()
    if request.method != "HEAD":
        headers.popall("Content-Length", None)  # counted again by the server
    if delay.cold_ms:
        say_cold(headers, delay.cold_ms)
    slow = f";slow={slow_ms:.1f}" if slow_ms else ""
    headers[EMULATED_HEADER] = f"distance={delay.distance_ms:.1f};cold={delay.cold_ms:.1f}{slow}"
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=answer.body)
