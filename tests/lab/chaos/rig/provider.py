"""A scripted provider: one process that answers as a cloud does, or fails as its mode says. Counts what it executes.

AWS speaks the Invoke API's wire format, the others plain HTTP. `python -m tests.lab.chaos.rig.provider CONFIG` with
`{"name", "port", "seed", "p50_ms", "sigma"}`; port 0 takes a free one.
Control: `mode`, `counts`, `executions`, `forget`.
"""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from math import exp, log
from random import Random
from typing import Any

from tests.lab.chaos.rig.children import announce
from tests.lab.chaos.rig.modes import NEVER_ANSWERED, OK, Kind, Mode, from_document
from tests.lab.chaos.rig.scripted_answers import document_of, throttled, write_answer
from tests.lab.chaos.rig.wire import HOST, WireRequest, port_of, read_request, reset, serve_control

P50_MS, SIGMA = 110.0, 0.25
LEAST_LEFT_MS = 100
"""An attempt that starts with less time left counts as late."""


class ScriptedProvider:
    """One provider's behaviour and its counts."""

    def __init__(self, name: str, *, seed: int, p50_ms: float = P50_MS, sigma: float = SIGMA) -> None:
        self.name, self._mu, self._sigma = name, log(p50_ms / 1000), sigma
        self._rng = Random(seed)  # nosec B311 # draws emulated latencies
        self.mode, self._mode_since = OK, time.monotonic()
        self.executions: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._recent: deque[float] = deque()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0

    async def open(self, port: int) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._connected, HOST, port, backlog=1024)
        self._port = port_of(self._server)
        return self._port

    async def set_mode(self, mode: Mode) -> None:
        """Behave like this from now on."""
        self.mode, self._mode_since = mode, time.monotonic()
        self._recent.clear()
        if not mode.up_s:
            await self._listen(mode.kind is not Kind.REFUSE)

    async def flap(self) -> None:
        """Close and open the listener in step with a mode that flaps between refusing and well."""
        while True:
            await asyncio.sleep(0.02)
            if self.mode.up_s and self.mode.kind is Kind.REFUSE:
                await self._listen(not self.mode.is_down(time.monotonic() - self._mode_since))

    async def control(self, command: str, document: Any) -> Any:
        """What the control port does."""
        match command:
            case "mode":
                await self.set_mode(from_document(document))
            case "counts":
                return dict(self.counts)
            case "executions":
                return {"by_invocation": dict(self.executions), "by_key": dict(self.keys)}
            case "forget":
                for counted in (self.executions, self.keys, self.counts):
                    counted.clear()
            case _:
                raise ValueError(f"no command {command}")
        return {}

    async def _listen(self, wanted: bool) -> None:
        if wanted and self._server is None:
            await self.open(self._port)
        elif not wanted and self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                reset(writer)
            await asyncio.sleep(0.01)  # so that the resets are out before anybody is told

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (request := await read_request(reader)) is not None and await self._answer(request, reader, writer):
                pass
        except OSError:
            self.counts["broken"] += 1  # the other side left
        finally:
            self._open.discard(writer)
            with suppress(OSError):
                writer.close()

    async def _answer(self, request: WireRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        now = time.monotonic()
        mode = self.mode if self.mode.is_down(now - self._mode_since) else OK
        self.counts["requests"] += 1
        if mode.throttle_above is not None and self._is_above(mode.throttle_above, now):
            self.counts["throttled"] += 1
            writer.write(throttled(self.name, mode.retry_after_s))
            return True
        kind = mode.kind if self._rng.random() < mode.share else Kind.OK
        self._execute(request)
        if kind is Kind.BLACK_HOLE:
            self.counts["never_answered"] += 1
            await reader.read()  # until the other side leaves
            return False
        await asyncio.sleep(self._latency_s(mode))
        self.counts["answered" if kind not in NEVER_ANSWERED else "never_answered"] += 1
        body = document_of(self.name, request.body)
        if kind is not Kind.OK:
            self.counts[f"broken_{kind}"] += 1
        return await write_answer(writer, kind, body, error_status=mode.error_status)

    def _latency_s(self, mode: Mode) -> float:
        drawn_s = exp(self._rng.gauss(self._mu, self._sigma))
        return drawn_s * mode.slow + self._rng.random() * mode.jitter_ms / 1000

    def _is_above(self, per_second: float, now: float) -> bool:
        while self._recent and now - self._recent[0] > 1:
            self._recent.popleft()
        if len(self._recent) >= per_second:
            return True
        self._recent.append(now)
        return False

    def _execute(self, request: WireRequest) -> None:
        headers = self._headers(request)
        self.counts["executed"] += 1
        self.counts["late"] += int(headers.get("x-fiso-deadline-ms", "0")) < LEAST_LEFT_MS
        self.executions[headers.get("x-fiso-invocation-id", "unnamed")] += 1
        if "idempotency-key" in headers:
            self.keys[headers["idempotency-key"]] += 1

    def _headers(self, request: WireRequest) -> Mapping[str, str]:
        """The headers that the function sees; on AWS they are in the event."""
        if self.name != "aws":
            return request.headers
        try:
            document = json.loads(request.body)
            return {str(name).lower(): str(value) for name, value in document["headers"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return request.headers


async def _serve(config: Mapping[str, Any]) -> None:
    provider = ScriptedProvider(
        config["name"], seed=config["seed"], p50_ms=config.get("p50_ms", P50_MS), sigma=config.get("sigma", SIGMA)
    )
    port = await provider.open(config.get("port", 0))
    control = await serve_control(provider.control)
    announce(config, port=port, control_port=port_of(control))
    await provider.flap()


def main() -> None:
    """Run until killed."""
    asyncio.run(_serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
