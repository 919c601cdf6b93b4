"""HTTP/1.1 as the scripted providers speak it: read a request whole, write an answer byte by byte as it should be.

A web framework would refuse to write what the malformed modes need. Also the JSON control port of the rig's processes.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

HOST = "127.0.0.1"
CONTROL_TIMEOUT_S = 5.0

Control = Callable[[str, Any], Any]
"""What a control port does: a command and its document in, a document out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """One request. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> WireRequest | None:
    """The next request of a connection; None when it has ended or does not speak HTTP."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    return WireRequest(method=method, path=path, headers=headers, body=body)


def answer_bytes(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole answer. A content-length among the headers stands, whatever the body's is."""
    given = {"content-length": str(len(body))} | dict(headers)
    head = f"HTTP/1.1 {status} Scripted\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return head.encode("latin-1") + b"\r\n" + body


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    own = writer.get_extra_info("socket")
    if own is not None:
        with suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve_control(control: Control) -> asyncio.Server:
    """Listen for commands on a free port: `POST /command` with a JSON body."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) is not None:
                found = control(request.path.strip("/"), json.loads(request.body or b"null"))
                if asyncio.iscoroutine(found):
                    found = await found
                writer.write(answer_bytes(200, {"content-type": "application/json"}, json.dumps(found).encode()))
                await writer.drain()
        except (KeyError, ValueError, TypeError) as error:
            writer.write(answer_bytes(400, {}, repr(error).encode()))
        finally:
            writer.close()

    return await asyncio.start_server(connected, HOST, 0)


def port_of(server: asyncio.Server) -> int:
    """The port a server listens on."""
    port: int = server.sockets[0].getsockname()[1]
    return port


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def command(port: int, name: str, document: object = None) -> Any:
    """Send one command to a control port. `OSError` when nobody answers."""
    request = Request(f"http://{HOST}:{port}/{name}", data=json.dumps(document).encode(), method="POST")
    with urlopen(request, timeout=CONTROL_TIMEOUT_S) as answer:  # nosec B310 # our own process on loopback
        return json.loads(answer.read())
