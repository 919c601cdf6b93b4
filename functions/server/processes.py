"""Processes: several workers on one listening socket, so that every processor works. The parent serves nothing.

SIGTERM and SIGINT end all of them, each after what it has begun. SIGHUP replaces them one after the other: the next one
is ready before the one before it drains, and the socket is open all the while, so no request is refused. A worker that
dies is replaced, after a pause that grows while they die young.
"""

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

OLD_ENOUGH_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STARTING_S = 60.0
"""A worker that is not ready by then is ended."""
KILLED_AFTER_S = 5.0
"""Beyond the time that a worker has itself for its end."""

logger = logging.getLogger("fiso.server")

Work = Callable[[socket.socket, Callable[[], None]], bool]
"""Serves on the socket until it is told to end; calls what it is given when it is ready. Whether all was answered."""


@dataclass(slots=True)
class _Worker:
    pid: int
    began_s: float
    ready: int
    """A pipe that is written to when the worker is ready, and closed when it is gone."""


@dataclass(slots=True, kw_only=True)
class Processes:
    """`workers` processes that do `work`, each of which may take `end_s` to end."""

    sock: socket.socket
    work: Work
    workers: int
    end_s: float
    _running: dict[int, _Worker] = field(default_factory=dict)
    _is_ending: bool = False
    _replaces: bool = False
    _pause_s: float = FIRST_PAUSE_S
    _clean: bool = True

    def run(self) -> int:
        """Until a signal to end; the exit code."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGHUP, self._replace)
        for _ in range(self.workers):
            self._start()
        while not self._is_ending:
            self._reap()
            if self._replaces:
                self._replaces = False
                self._roll()
            while len(self._running) < self.workers and not self._is_ending:
                self._start()
            time.sleep(0.1)
        self._end_all()
        return 0 if self._clean else 1

    def _start(self) -> _Worker | None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os._exit(self._serve(writing))
        os.close(writing)
        worker = self._running[pid] = _Worker(pid, time.monotonic(), reading)
        return worker

    def _serve(self, ready: int) -> int:
        """In the worker."""
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a terminal tells all of them; the parent decides
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until the listener takes it over
        try:
            return 0 if self.work(self.sock, lambda: _tell(ready)) else 1
        except Exception:
            logger.exception("a worker ends")
            return 1

    def _roll(self) -> None:
        for old in list(self._running.values()):
            new = self._start()
            if new is None or not _is_ready(new):
                logger.error("a new worker does not get ready: the others go on")
                if new is not None:
                    self._stop(new)
                return
            self._stop(old)

    def _stop(self, worker: _Worker) -> None:
        """Tell it to end, and wait for that."""
        _signal(worker.pid, signal.SIGTERM)
        self._await_end([worker])

    def _end_all(self) -> None:
        for worker in self._running.values():
            _signal(worker.pid, signal.SIGTERM)
        self._await_end(list(self._running.values()))

    def _await_end(self, workers: list[_Worker]) -> None:
        ends_at = time.monotonic() + self.end_s + KILLED_AFTER_S
        while any(worker.pid in self._running for worker in workers):
            self._reap(told={worker.pid for worker in workers})
            if time.monotonic() > ends_at:
                for worker in workers:
                    _signal(worker.pid, signal.SIGKILL)
            time.sleep(0.05)

    def _reap(self, told: set[int] | None = None) -> None:
        """Note who is gone. One that nobody told to end is replaced, later the younger it was."""
        for pid, worker in list(self._running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done == 0:
                continue
            os.close(worker.ready)
            del self._running[pid]
            code = os.waitstatus_to_exitcode(status)
            if pid in (told or set()):
                self._clean = self._clean and code == 0
                continue
            logger.error("worker %d ended with %d, it is replaced", pid, code)
            is_young = time.monotonic() - worker.began_s < OLD_ENOUGH_S
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2) if is_young else FIRST_PAUSE_S
            if is_young:
                time.sleep(self._pause_s)

    def _end(self, *_: object) -> None:
        self._is_ending = True

    def _replace(self, *_: object) -> None:
        self._replaces = True


def _tell(ready: int) -> None:
    os.write(ready, b".")


def _is_ready(worker: _Worker) -> bool:
    found, _, _ = select.select([worker.ready], [], [], STARTING_S)
    return bool(found) and os.read(worker.ready, 1) == b"."


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        logger.info("worker %d is gone already", pid)
