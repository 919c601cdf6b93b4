"""The listener: waitress around a WSGI application, with bounds that it does not have by itself.

Waitress reads requests and writes answers in one thread, so that slow clients hold none of those that work. Beyond it:
a request that finds `queue` others waiting is refused at once (503, `retry-after`); a request that is not whole
within `slowest_s` is given up, however it trickles; and an end that loses nothing (`drain`):

    lame      it says that it is not ready, and answers what still comes, each with `connection: close`
    drained   it accepts no more; what was read is answered
    closed    when nothing is left, or the time is over
"""

import json
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any
from uuid import uuid4

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from functions.orchestrator.http_answer import problem
from functions.orchestrator.http_request import LARGEST_HEADERS, LARGEST_TEXT, LONGEST_URI
from functions.server.wsgi import WsgiApplication

LOOK_EVERY_S = 0.25
JUST_CAME_S = 0.5
OWN_SOCKETS = 2
"""That waitress counts as connections: the one that listens, and its own wake-up."""
OVERLOADED_S = 1
"""When a client that was refused may come again."""

logger = logging.getLogger("fiso.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process takes. `threads` requests are worked on, `queue` wait for one of them, `connections` may be
    open; the head and body of a request have `slowest_s` to come, a connection on which nothing happens `idle_s`.
    After a signal to end: `lame_s` in which it answers on but is not ready, then up to `drain_s` for what is begun."""

    threads: int = 32
    queue: int = 64
    connections: int = 1_000
    slowest_s: float = 20.0
    idle_s: float = 75.0
    lame_s: float = 5.0
    drain_s: float = 30.0


class _Refused:
    """Why a request is not worked on, in the form that waitress answers with."""

    def __init__(self, status: int, title: str, detail: str, **headers: str) -> None:
        self.code, self._title, self._detail, self._headers = status, title, detail, headers

    def to_response(self, _: object = None) -> tuple[str, list[tuple[str, str]], bytes]:
        named = {name.replace("_", "-"): value for name, value in self._headers.items()}
        response = problem(self.code, self._title, self._detail, str(uuid4()), headers=named)
        return f"{self.code} {self._title}", list(response["headers"].items()), response["body"].encode()


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress itself refuses (a head that does not parse, a body that is too large) as a problem document."""

    def execute(self) -> None:
        error = self.request.error
        if not isinstance(error, _Refused):
            self.request.error = _Refused(error.code, error.reason, str(error.body))
        super().execute()


class _Task(WSGITask):  # type: ignore[misc]
    def start(self) -> None:
        super().start()
        if self.channel.server.listener.is_draining:
            self.set_close_on_finish()


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows since when its request is coming."""

    task_class, error_task_class = _Task, _ProblemTask
    coming_since: float | None = None

    def received(self, data: bytes) -> bool:
        went_on: bool = super().received(data)
        self.coming_since = (self.coming_since or time.monotonic()) if self.request is not None else None
        return went_on

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is on its way; who came just now is about to ask."""
        is_new = time.time() - self.creation_time < JUST_CAME_S
        return not is_new and not self.requests and self.request is None and not self.total_outbufs_len


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Requests wait for a thread in a queue that ends."""

    def __init__(self, limits: Limits, refuse: Callable[[], None]) -> None:
        super().__init__()
        self.queue_logger = logging.getLogger("fiso.server.queue")
        self.queue_logger.setLevel(logging.ERROR)
        self._most, self._refuse = limits.queue, refuse
        self._refused: SimpleQueue[Any] = SimpleQueue()
        self.set_thread_count(limits.threads)
        # A refusal must neither wait for a worker nor be written by the thread that reads, which holds a lock here.
        Thread(target=self._refuse_all, name="refusals", daemon=True).start()

    def add_task(self, task: Any) -> None:
        if len(self.queue) < self._most:
            super().add_task(task)
            return
        self._refuse()
        task.requests[0].error = _Refused(
            503, "Overloaded", "more requests wait than can be answered in time", retry_after=str(OVERLOADED_S)
        )
        self._refused.put(task)

    def _refuse_all(self) -> None:
        while True:
            self._refused.get().service()

    @property
    def is_idle(self) -> bool:
        return not self.queue and self.active_count == 0


class Listener:
    """Serves an application on a socket that listens. `begin_drain` may be called from a signal's handler."""

    def __init__(self, application: WsgiApplication, sock: socket.socket, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.refused = 0
        self._dispatcher = _Dispatcher(self._limits, self._count_refused)
        self._map: dict[int, Any] = {}
        self._draining_since: float | None = None
        self._server = create_server(
            application,
            map=self._map,
            _dispatcher=self._dispatcher,
            _start=False,
            sockets=[sock],
            ident=None,
            connection_limit=self._limits.connections + OWN_SOCKETS,
            channel_timeout=self._limits.idle_s,
            cleanup_interval=1,
            asyncore_loop_timeout=LOOK_EVERY_S,
            asyncore_use_poll=True,
            max_request_header_size=LARGEST_HEADERS + LONGEST_URI,
            max_request_body_size=LARGEST_TEXT,
            channel_request_lookahead=0,
            clear_untrusted_proxy_headers=False,  # FISO believes none of them, and hands them on (docs/http.md)
            expose_tracebacks=False,
            log_socket_errors=False,
        )
        self._server.channel_class, self._server.listener = _Channel, self
        self._server.accept_connections()

    @property
    def is_draining(self) -> bool:
        return self._draining_since is not None

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._server.active_channels)

    def begin_drain(self, *_: object) -> None:
        if self._draining_since is None:
            self._draining_since = time.monotonic()
            self._server.pull_trigger()

    def run(self) -> bool:
        """Serve until drained; whether everything that was begun was answered."""
        while not self._is_over():
            wasyncore.loop(timeout=LOOK_EVERY_S, use_poll=True, map=self._map, count=1)
            self._give_up_slow()
        unanswered = sum(not channel.is_idle for channel in self._server.active_channels.values())
        self._dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)
        return unanswered == 0

    def _is_over(self) -> bool:
        if self._draining_since is None:
            return False
        passed_s = time.monotonic() - self._draining_since
        if passed_s < self._limits.lame_s:
            return False
        if self._server.accepting:
            self._accept_waiting()
            self._server.accepting = False
            self._server.del_channel()
        if passed_s > self._limits.lame_s + self._limits.drain_s:
            return True
        return all(channel.is_idle for channel in self._server.active_channels.values()) and self._dispatcher.is_idle

    def _accept_waiting(self) -> None:
        """Who has connected already, and would be cut off when the socket closes."""
        known = -1
        while known < len(self._map):
            known = len(self._map)
            self._server.handle_accept()

    def _give_up_slow(self) -> None:
        latest = time.monotonic() - self._limits.slowest_s
        for channel in list(self._server.active_channels.values()):
            if channel.coming_since is not None and channel.coming_since < latest and not channel.requests:
                channel.coming_since = None
                channel.request.error = _Refused(408, "Request Timeout", "the request did not come in time")
                channel.request.completed = True
                with channel.requests_lock:
                    channel.requests.append(channel.request)
                    channel.request = None
                channel.service()

    def _count_refused(self) -> None:
        self.refused += 1
        if self.refused == 1 or self.refused % 1_000 == 0:
            logger.warning("overloaded: %s", json.dumps({"refused": self.refused}))
