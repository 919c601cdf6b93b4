"""Startup: components brought up side by side, each as soon as those before it are well. All of them, or none."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fiso_cli.errors import CommandError
from localcloud.supervision import processes, stopping
from localcloud.supervision.component import Component
from localcloud.supervision.processes import Process
from localcloud.supervision.records import Record, RecordFolder

_POLL_S = 0.03
_LOG_LIMIT_BYTES = 5_000_000
_TAIL_BYTES = 8_192


@dataclass(slots=True, kw_only=True)
class _Attempt:
    component: Component
    process: Process
    log_offset: int


@dataclass(slots=True, kw_only=True)
class Startup:
    """One start of some components. `well` are the names already up, `waves` the order in which all are stopped."""

    records: RecordFolder
    log_dir: Path
    base_environment: Mapping[str, str]
    waves: Mapping[str, int]
    clock: Callable[[], datetime]
    timeout_s: float
    well: set[str]
    started: list[Record] = field(default_factory=list)

    def run(self, components: Sequence[Component]) -> None:
        """Return when all are well. On a failure (a `CommandError`) or Ctrl-C, stop what was started here."""
        try:
            self._run(components)
        except BaseException:
            stopping.stop(self.started, self.records)
            raise

    def _run(self, components: Sequence[Component]) -> None:
        waiting, attempts = list(components), list[_Attempt]()
        names = {component.name for component in components} | self.well
        deadline = time.monotonic() + self.timeout_s
        while waiting or attempts:
            for component in [ready for ready in waiting if ready.needs & names <= self.well]:
                waiting.remove(component)
                attempts.append(self._start(component))
            attempts = [attempt for attempt in attempts if not self._is_well(attempt)]
            if attempts and time.monotonic() > deadline:
                raise self._failure(attempts[0], f"did not answer within {self.timeout_s:.0f} s")
            time.sleep(_POLL_S if attempts else 0)

    def _start(self, component: Component) -> _Attempt:
        log = self.log_dir / f"{component.name}.log"
        _make_room(log)
        for written in component.writes:
            written.mkdir(parents=True, exist_ok=True)
        offset = log.stat().st_size if log.exists() else 0
        environment = {**self.base_environment, **component.environment}
        try:
            process = processes.spawn(component.command, environment=environment, folder=component.folder, log=log)
        except OSError as error:
            raise CommandError(f"{component.name} cannot be started: {error}: run `make setup`") from error
        record = Record.of(component, process, stop_wave=self.waves[component.name], now=self.clock())
        self.started.append(record)
        self.records.write(record)
        return _Attempt(component=component, process=process, log_offset=offset)

    def _is_well(self, attempt: _Attempt) -> bool:
        if not processes.is_running(attempt.process):
            raise self._failure(attempt, "ended at once")
        if attempt.component.check():
            self.well.add(attempt.component.name)
            return True
        return False

    def _failure(self, attempt: _Attempt, what: str) -> CommandError:
        name = attempt.component.name
        lines = [line.strip() for line in self._output(attempt).splitlines() if line.strip()]
        because = f": {lines[-1][:200]}" if lines else ""
        return CommandError(f"{name} {what}{because} (see {self.log_dir / name}.log)")

    def _output(self, attempt: _Attempt) -> str:
        log = self.log_dir / f"{attempt.component.name}.log"
        with log.open("rb") as text:
            text.seek(max(attempt.log_offset, log.stat().st_size - _TAIL_BYTES))
            return text.read().decode(errors="replace")


def _make_room(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        os.replace(log, log.with_suffix(".log.1"))
