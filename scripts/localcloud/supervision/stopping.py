"""Stopping recorded processes: wave by wave, asked first, then killed, with everything they had started."""

import itertools
import signal
from collections.abc import Collection, Iterable
from operator import attrgetter

from localcloud.supervision import processes
from localcloud.supervision.processes import Process
from localcloud.supervision.records import Record, RecordFolder

_GRACE_S = 5.0


def stop(records: Iterable[Record], folder: RecordFolder) -> list[str]:
    """Stop and forget processes; the names of those that had to be killed. A recycled pid is left alone."""
    killed = []
    for _, wave in itertools.groupby(sorted(records, key=attrgetter("stop_wave")), key=attrgetter("stop_wave")):
        killed += _stop_wave(list(wave), folder)
    return killed


def end(strays: Collection[Process], *, number: signal.Signals = signal.SIGTERM) -> None:
    """End processes that no record names."""
    for process in strays:
        processes.send(process, number)
    processes.kill(processes.wait_until_gone(strays, _GRACE_S))


def _stop_wave(records: list[Record], folder: RecordFolder) -> list[str]:
    relatives = [relative for record in records for relative in processes.family(record.process)]
    for record in records:
        processes.send(record.process, record.stop_signal)
    patience_s = max(record.stop_timeout_s for record in records)
    stubborn = processes.wait_until_gone([record.process for record in records], patience_s)
    processes.kill([*stubborn, *relatives])
    for record in records:
        folder.remove(record.name)
    return [record.name for record in records if record.process in stubborn]
