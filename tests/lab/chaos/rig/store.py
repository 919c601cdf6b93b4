"""The rig's store: FISO's in-memory ports in a process of their own, so that a killed worker loses nothing of them.

Also plays the stream: closed records are folded every second, as the stream consumer would. What it cannot show:
throttling, indexes, item sizes; for those the emulator stands in. `python -m tests.lab.chaos.rig.store CONFIG` with
`{"socket"}`.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import count
from multiprocessing.connection import Client, Connection, Listener
from threading import Lock, Thread, local
from typing import Any

from fiso.domain.errors import StoreError, StoreUnavailable
from fiso.domain.record import InvocationRecord
from fiso.services.log.ingest import ingest
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
)
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from tests.lab.chaos.rig.children import announce

FOLD_EVERY_S = 1.0
TIMEOUT_S = 1.0
"""As the orchestrator's own DynamoDB client has it."""
BACKLOG = 512
STORED = ("log", "states", "snapshots", "models", "shared_breakers")
"""The orchestrator's ports (fields of `wiring.Ports`) that are kept here; every other one stays as it is on AWS."""


class StreamedLog(InMemoryInvocationLog):
    """A log that remembers what was closed since somebody last asked, as a stream does."""

    def __init__(self) -> None:
        super().__init__()
        self._closed: list[InvocationRecord] = []

    def close(self, record: InvocationRecord) -> bool:
        """Put the record over its intent."""
        is_new = super().close(record)
        if is_new:
            self._closed.append(record)
        return is_new

    def drain(self) -> list[InvocationRecord]:
        """What was closed since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def outlines(self) -> dict[str, list[tuple[str, str | None, float]]]:
        """Those of all closed records."""
        return outlines_of(record for record in self.records.values() if isinstance(record, InvocationRecord))


def outlines_of(records: Iterable[InvocationRecord]) -> dict[str, list[tuple[str, str | None, float]]]:
    """Per record its attempts: endpoint, failure if any, latency in ms."""
    return {r.invocation_id: [(a.endpoint, a.failure, a.latency_ms) for a in r.attempts] for r in records}


class NoArchive:
    """An archive that nobody reads."""

    def append(self, records: object, *, batch_id: str) -> None:
        """Forget it."""

    def since(self, first: date, **_: object) -> tuple[InvocationRecord, ...]:
        """Nothing."""
        return ()


class Stores:
    """The ports by name, each call under one lock: the in-memory ports are made for one thread."""

    def __init__(self) -> None:
        self.log, self.states = StreamedLog(), InMemoryEndpointStates()
        self.ports: dict[str, object] = {
            "log": self.log,
            "states": self.states,
            "snapshots": InMemorySnapshots(),
            "models": InMemoryModelStore(),
            "shared_breakers": InMemorySharedBreakers(),
            "idempotency_keys": InMemoryIdempotencyKeys(clock=lambda: datetime.now(UTC)),
        }
        self._lock = Lock()
        self._batches = count()

    def call(self, port: str, method: str, *arguments: Any, **named: Any) -> Any:
        """One call of one port."""
        with self._lock:
            return getattr(self.ports[port], method)(*arguments, **named)

    def fold(self) -> int:
        """Fold what was closed since the last time; how many records."""
        with self._lock:
            closed = self.log.drain()
            ingest(closed, states=self.states, archive=NoArchive(), batch_id=str(next(self._batches)))
        return len(closed)


class StoreLink:
    """The store from another process. One connection per thread; a store that is away raises `StoreUnavailable`."""

    def __init__(self, socket: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._socket, self._timeout_s, self._local = socket, timeout_s, local()

    def call(self, port: str, method: str, *arguments: Any, **named: Any) -> Any:
        """One call; the port's own errors are raised here."""
        try:
            connection = self._connection()
            connection.send((port, method, arguments, named))
            if not connection.poll(self._timeout_s):
                raise TimeoutError(f"no answer within {self._timeout_s} s")
            value, error = connection.recv()
        except (OSError, EOFError) as away:
            self._forget()
            raise StoreUnavailable(f"{port}.{method}: {away!r}") from away
        if error is not None:
            raise error
        return value

    def port(self, name: str) -> Any:
        """An object with the port's methods."""
        return _RemotePort(self, name)

    def _connection(self) -> Connection:
        known: Connection | None = getattr(self._local, "connection", None)
        if known is None:
            known = self._local.connection = Client(self._socket)
        return known

    def _forget(self) -> None:
        known: Connection | None = getattr(self._local, "connection", None)
        if known is not None:
            known.close()
            self._local.connection = None


class _RemotePort:
    def __init__(self, link: StoreLink, name: str) -> None:
        self._link, self._name = link, name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return self._link.call(self._name, method, *arguments, **named)

        self.__dict__[method] = call
        return call


def _serve_one(stores: Stores, connection: Connection) -> None:
    while True:
        try:
            port, method, arguments, named = connection.recv()
        except (OSError, EOFError):
            return
        try:
            connection.send((stores.call(port, method, *arguments, **named), None))
        except StoreError as error:
            connection.send((None, error))


def _fold_forever(stores: Stores) -> None:
    while True:
        time.sleep(FOLD_EVERY_S)
        stores.fold()


def main() -> None:
    """Serve until killed."""
    config = json.loads(sys.argv[1])
    stores = Stores()
    with Listener(config["socket"], backlog=BACKLOG) as listener:
        Thread(target=_fold_forever, args=(stores,), daemon=True).start()
        announce(config)
        while True:
            Thread(target=_serve_one, args=(stores, listener.accept()), daemon=True).start()


if __name__ == "__main__":
    main()
