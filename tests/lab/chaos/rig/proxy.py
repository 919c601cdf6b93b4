"""A fault proxy: TCP from one port to another, with faults in between. Stands before a store, a database, a provider.

`python -m tests.lab.chaos.rig.proxy CONFIG` with `{"port", "upstream_port", "seed"}`, upstream on loopback; port 0
takes a free one. Control: `faults` (the fields of `Faults`), `counts`. Faults apply to connections that are open, too.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.lab.chaos.rig.children import announce
from tests.lab.chaos.rig.wire import HOST, port_of, reset, serve_control

CHUNK = 16_384
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to bytes on their way back from upstream; requests pass as they are, unless nothing does.

    `latency_ms` and up to `jitter_ms` more before each piece; at most `bytes_per_s`; after `truncate_after` bytes of a
    connection it ends, after `reset_after` it is reset; `corrupt_share` of the pieces have one bit flipped;
    `slow_close_s` passes before the other side learns that upstream has closed. `black_hole`: connections are accepted
    and nothing passes, either way. `refuse`: nobody listens, what is open is reset.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    bytes_per_s: float | None = None
    truncate_after: int | None = None
    reset_after: int | None = None
    corrupt_share: float = 0.0
    slow_close_s: float = 0.0
    black_hole: bool = False
    refuse: bool = False


NONE = Faults()


class FaultProxy:
    """One listener and what passes through it."""

    def __init__(self, upstream_port: int, *, seed: int = 1) -> None:
        self._upstream_port = upstream_port
        self._rng = Random(seed)  # nosec B311 # draws faults
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.faults, self.counts, self.port = NONE, Counter[str](), 0

    async def open(self, port: int = 0) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._connected, HOST, port)
        self.port = port_of(self._server)
        return self.port

    async def set_faults(self, faults: Faults) -> None:
        """From now on."""
        self.faults = faults
        if faults.refuse and self._server is not None:
            self.close()
        elif not faults.refuse and self._server is None:
            await self.open(self.port)

    def close(self) -> None:
        """Stop listening and reset what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            reset(writer)

    async def control(self, command: str, document: Any) -> Any:
        """What the control port does."""
        match command:
            case "faults":
                await self.set_faults(Faults(**document))
            case "counts":
                return dict(self.counts)
            case _:
                raise ValueError(f"no command {command}")
        return {}

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        self._writers.add(writer)
        try:
            await self._passing()
            up_reader, up_writer = await asyncio.open_connection(HOST, self._upstream_port)
        except OSError:
            self.counts["upstream_refused"] += 1
            self._drop(writer)
            return
        self._writers.add(up_writer)
        there = asyncio.create_task(self._there(reader, up_writer))
        try:
            await self._back(up_reader, writer)
        except OSError:
            self.counts["broken"] += 1
        finally:
            there.cancel()
            self._drop(up_writer)
            self._drop(writer)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(CHUNK):
                await self._passing()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while piece := await reader.read(CHUNK):
            await self._passing()
            faults = self.faults
            await asyncio.sleep((faults.latency_ms + self._rng.random() * faults.jitter_ms) / 1000)
            piece = self._corrupted(piece)
            for limit, end in ((faults.truncate_after, _end), (faults.reset_after, reset)):
                if limit is not None and passed + len(piece) >= limit:
                    await self._last(writer, piece[: limit - passed], end)
                    return
            writer.write(piece)
            await writer.drain()
            passed += len(piece)
            self.counts["bytes"] += len(piece)
            if faults.bytes_per_s:
                await asyncio.sleep(len(piece) / faults.bytes_per_s)
        await asyncio.sleep(self.faults.slow_close_s)

    async def _last(
        self, writer: asyncio.StreamWriter, piece: bytes, end: Callable[[asyncio.StreamWriter], None]
    ) -> None:
        self.counts["cut"] += 1
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)  # a reset would overtake what is still on its way
        end(writer)

    def _corrupted(self, piece: bytes) -> bytes:
        if not self.faults.corrupt_share or self._rng.random() >= self.faults.corrupt_share:
            return piece
        self.counts["corrupted"] += 1
        place = self._rng.randrange(len(piece))
        return piece[:place] + bytes([piece[place] ^ 1 << self._rng.randrange(8)]) + piece[place + 1 :]

    async def _passing(self) -> None:
        while self.faults.black_hole:
            await asyncio.sleep(_POLL_S)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()


def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _serve(config: Mapping[str, Any]) -> None:
    proxy = FaultProxy(config["upstream_port"], seed=config.get("seed", 1))
    port = await proxy.open(config.get("port", 0))
    control = await serve_control(proxy.control)
    announce(config, port=port, control_port=port_of(control))
    await asyncio.Event().wait()


def main() -> None:
    """Run until killed."""
    asyncio.run(_serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
