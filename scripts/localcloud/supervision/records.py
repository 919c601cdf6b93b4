"""Records of started processes: one file each, enough to find and stop the process from another shell."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.supervision.component import Component
from localcloud.supervision.processes import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A process that was started for a component, and how it wants to be stopped."""

    name: str
    process: Process
    port: int
    since: datetime
    fingerprint: str
    stop_wave: int
    stop_signal: signal.Signals
    stop_timeout_s: float

    @classmethod
    def of(cls, component: Component, process: Process, *, stop_wave: int, now: datetime) -> "Record":
        """The record of a component that has just been started."""
        return cls(
            name=component.name,
            process=process,
            port=component.ports[0],
            since=now,
            fingerprint=component.fingerprint,
            stop_wave=stop_wave,
            stop_signal=component.stop_signal,
            stop_timeout_s=component.stop_timeout_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFolder:
    """The records of one local cloud."""

    path: Path

    def write(self, record: Record) -> None:
        """Whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self._file(record.name).with_suffix(".partial")
        document = asdict(record) | {"since": record.since.isoformat(), "stop_signal": int(record.stop_signal)}
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
        os.replace(partial, self._file(record.name))

    def remove(self, name: str) -> None:
        """Forget a process."""
        self._file(name).unlink(missing_ok=True)

    def all(self) -> dict[str, Record]:
        """Every record by component; what a crash left unreadable is removed."""
        return {record.name: record for record in self._readable()}

    def _readable(self) -> Iterator[Record]:
        for file in sorted(self.path.glob("*.json")):
            try:
                yield _record(json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError):
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"


def _record(document: dict[str, Any]) -> Record:
    return Record(
        **document
        | {
            "process": Process(**document["process"]),
            "since": datetime.fromisoformat(document["since"]).astimezone(UTC),
            "stop_signal": signal.Signals(document["stop_signal"]),
        }
    )
