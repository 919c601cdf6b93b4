"""Stores that hang: reads of catalog, states and models that take longer than anybody waits."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.domain.state import EndpointState
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryEndpointStates, InMemoryModelStore, InMemorySnapshots
from tests.lab.chaos import small_router
from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.small_router import Outside, Reply

READ_S = 1.0
"""How long a read hangs until the client gives up, as the orchestrator's own client does."""

OUTAGES = 4
"""One after the other, with well times between, so that a busy machine disturbs both alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """Requests before the stores hung, and while they did."""

    well: list[Reply] = field(default_factory=list)
    hanging: list[Reply] = field(default_factory=list)


class Hang:
    """Whether reads hang; each for READ_S, or until all is over."""

    def __init__(self) -> None:
        self.is_on, self._over = False, threading.Event()

    def __call__(self) -> None:
        """A read begins."""
        if self.is_on:
            self._over.wait(READ_S)
            raise StoreUnavailable("no answer")

    def end(self) -> None:
        """Let go of every read."""
        self._over.set()


class _Snapshots(InMemorySnapshots):
    def __init__(self, hang: Hang, *snapshots: Snapshot) -> None:
        super().__init__(*snapshots)
        self._hang = hang

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        self._hang()
        return super().current(unless_version=unless_version)


class _States(InMemoryEndpointStates):
    def __init__(self, hang: Hang) -> None:
        super().__init__()
        self._hang = hang

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        self._hang()
        return super().of_function(function)


class _Models(InMemoryModelStore):
    def __init__(self, hang: Hang) -> None:
        self._hang = hang
        super().__init__()

    def champion(self) -> ModelPointer | None:
        self._hang()
        return super().champion()


def warm(setting: Setting, requests: int) -> Replies:
    """One environment, its clock a second a request, so that everything it knows is soon older than allowed."""
    clock, replies = ManualClock(datetime.now(UTC)), Replies()
    with _outside(clock) as (hang, outside):
        router = small_router.build(outside)
        for _ in range(OUTAGES):
            for kept, is_on in ((replies.well, False), (replies.hanging, True)):
                hang.is_on = is_on
                clock.advance(120.0)
                for _ in range(requests // OUTAGES):
                    kept.append(router.invoke())
                    clock.advance(1.0)
    lines = [json.dumps({"own_ms": reply.own_ms, "status": reply.status}) for reply in replies.hanging]
    (setting.folder / "hanging.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replies


def cold(environments: int) -> list[Reply]:
    """The first request of each environment, while only the catalog's copy answers."""
    replies = []
    for _ in range(environments):
        clock = ManualClock(datetime.now(UTC))
        with _outside(clock) as (hang, outside):
            hang.is_on = True
            replies.append(small_router.build(outside).invoke())
    return replies


@contextmanager
def _outside(clock: ManualClock) -> Iterator[tuple[Hang, Outside]]:
    entry, hang = small_router.catalog(), Hang()
    snapshot = Snapshot(version=1, published_at=clock(), functions={entry.name: entry})
    outside = Outside(
        snapshots=_Snapshots(hang, snapshot),
        copy=InMemorySnapshots(snapshot),
        states=_States(hang),
        models=_Models(hang),
        clock=clock,
        ticks=clock.ticks,
    )
    try:
        yield hang, outside
    finally:
        hang.end()
