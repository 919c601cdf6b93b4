"""An outage of PostgreSQL beside a stream of requests: phases, the keeper, and how soon a change is in force."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiso.adapters.postgres.catalog import PostgresCatalogStore
from fiso.domain.errors import StoreError
from fiso.services.maintenance.publish import publish
from fiso_cli.migrations.runner import migrate
from tests.lab.chaos import denying
from tests.lab.chaos.database import Database
from tests.lab.chaos.folder_bucket import FolderBucket, snapshots_in

AUTHOR = "chaos"
WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with one thing wrong, or nothing (`WELL`)."""

    name: str
    begins_at: float
    ends_at: float


@dataclass(kw_only=True)
class Keeper:
    """Publishes what changed, every so often, as the deployed keeper does; keeps how long each round took."""

    database: Database
    bucket: FolderBucket
    every_s: float
    deadline_s: float
    rounds: list[tuple[float, str | None]] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Rounds until told to stop."""
        while not self._stopped.wait(self.every_s):
            self.round()

    def round(self) -> None:
        """One round."""
        start, problem = time.monotonic(), None
        try:
            publish(self.store, snapshots_in(self.bucket))
        except StoreError as error:
            problem = str(error)
        self.rounds.append((time.monotonic() - start, problem))

    def stop(self) -> None:
        """No more rounds."""
        self._stopped.set()

    @property
    def store(self) -> PostgresCatalogStore:
        """The catalog's store, over connections that may be broken."""
        return PostgresCatalogStore(self.database.connect, deadline_s=self.deadline_s)


def prepared(database: Database, bucket: FolderBucket, *, every_s: float, deadline_s: float) -> Keeper:
    """Tables, a first catalog, published."""
    migrate(database.connect)
    keeper = Keeper(database=database, bucket=bucket, every_s=every_s, deadline_s=deadline_s)
    keeper.store.replace([denying.catalog()], based_on=0, author=AUTHOR)
    keeper.round()
    return keeper


def changed(keeper: Keeper) -> int:
    """A new version of the catalog in the database; what it forbids stays forbidden."""
    newest = keeper.store.load()
    entry = denying.catalog(timeout_ms=10_000 + newest.version)
    return keeper.store.replace([entry], based_on=newest.version, author=AUTHOR).version


@contextmanager
def kept(keeper: Keeper) -> Iterator[None]:
    """The keeper's rounds beside whatever happens inside."""
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join()


@contextmanager
def requests(folder: Path, rate: float, history: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The stream of requests beside whatever happens inside; one line each in `history`."""
    command = [sys.executable, "-m", "tests.lab.chaos.request_stream", str(folder), str(rate)]
    with history.open("wb") as lines:
        stream = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines)
        try:
            yield stream
        finally:
            stream.communicate(b"end\n", timeout=30)


def phases(database: Database, keeper: Keeper, lasting_s: float, say: Callable[[str], None]) -> list[Phase]:
    """Well, then one outage after the other with a well phase between; after each a change, to be served soon."""
    faults = {
        "stopped": database.stop,
        "frozen": database.freeze,
        "backends frozen": database.freeze_backends,
        "full": database.fill,
    }
    seen = [_lasting(WELL, 2 * lasting_s)]
    for name, begin in faults.items():
        say(f"PostgreSQL {name}")
        begin()
        seen.append(_lasting(name, lasting_s))
        database.heal()
        seen.append(_lasting(f"healed from {name}", 0.0))
        changed(keeper)
        seen.append(_lasting(WELL, lasting_s))
    return seen


def read(history: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The requests, and what the stream said at its end."""
    *lines, last = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    return lines, last


def fresh_after_s(requests: list[dict[str, Any]], phases: list[Phase]) -> list[float]:
    """For each healing, after how many seconds a request was decided on the catalog that was written then."""
    waits, version = [], 1
    for healed in [phase for phase in phases if phase.name.startswith("healed")]:
        version += 1
        served = (r["at"] for r in requests if r["at"] >= healed.begins_at and r["snapshot"] >= version)
        waits.append(next(served, float("inf")) - healed.begins_at)
    return waits


def _lasting(name: str, seconds: float) -> Phase:
    begins_at = time.time()
    time.sleep(seconds)
    return Phase(name=name, begins_at=begins_at, ends_at=time.time())
