"""Stores that hang: reads of catalog, states and models that take longer than anybody waits."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.domain.state import EndpointState
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryEndpointStates, InMemoryModelStore, InMemorySnapshots
from fiso.testing.rig import Answer, Rig, Stores
from tests.lab.chaos import denying
from tests.lab.chaos.experiment import Setting

READ_S = 1.0
"""How long a read hangs until the client gives up, as the orchestrator's own client does."""

OUTAGES = 4
"""One after the other, with well times between, so that a busy machine disturbs both alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Before the stores hung, and while they did."""

    well: list[Answer] = field(default_factory=list)
    hanging: list[Answer] = field(default_factory=list)


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
    def __init__(self, hang: Hang) -> None:
        super().__init__()
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


def warm(setting: Setting, requests: int) -> Answers:
    """One environment, its clock a second a request, so that everything it knows is soon older than allowed."""
    answers = Answers()
    with _environment() as (hang, rig):
        for _ in range(OUTAGES):
            for kept, is_on in ((answers.well, False), (answers.hanging, True)):
                hang.is_on = is_on
                rig.clock.advance(120.0)
                for _ in range(requests // OUTAGES):
                    kept.append(denying.invoke(rig))
                    rig.clock.advance(1.0)
    lines = [json.dumps({"own_ms": answer.own_ms, "status": answer.status}) for answer in answers.hanging]
    (setting.folder / "hanging.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return answers


def cold(environments: int) -> list[Answer]:
    """The first request of each environment, while only the catalog's copy answers."""
    answers = []
    for _ in range(environments):
        with _environment() as (hang, rig):
            hang.is_on = True
            answers.append(denying.invoke(rig))
    return answers


@contextmanager
def _environment() -> Iterator[tuple[Hang, Rig]]:
    hang = Hang()
    stores = Stores(snapshots=_Snapshots(hang), states=_States(hang), models=_Models(hang))
    denying.silence()
    rig = Rig(denying.catalog(), stores=stores, respond=lambda *_: OK)
    stores.copy.versions.update(stores.snapshots.versions)
    try:
        yield hang, rig
    finally:
        hang.end()
