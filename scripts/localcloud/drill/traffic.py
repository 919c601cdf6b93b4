"""Callers and copies of a drill: who asks all the time and what came of each request, and the clouds' functions."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fiso_cli.local_stage import HOST
from fiso_client import Answer, Client, Request
from fiso_client.core.failures import FisoError

STARTING_S = 30.0
EVERY_S = 0.1
"""How long each caller rests between two requests."""

Ask: TypeAlias = Callable[[Client, Request], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request of a caller; times are seconds of this process's monotonic clock. `invocation_id` where FISO said."""

    caller: str
    id: str
    began: float
    ended: float
    is_answered: bool
    invocation_id: str = ""
    problem: str = ""


@dataclass(slots=True)
class Callers:
    """One thread for each client, which asks until it is over. Each request's body is an id of its own, which copies
    write down as they run."""

    samples: list[Sample] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self, clients: Mapping[str, tuple[Client, Ask]]) -> Iterator[None]:
        """While the block lasts; every sample is there after it."""
        threads = [
            threading.Thread(target=self._ask, args=(name, client, ask)) for name, (client, ask) in clients.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _ask(self, name: str, client: Client, ask: Ask) -> None:
        while not self._over.is_set():
            id, began = f"{name.replace(' ', '-')}-{next(self._numbers)}", time.monotonic()
            seen: dict[str, Any] = {}
            try:
                answer = ask(client, Request(body=id.encode(), content_type="text/plain"))
                # A leased call is recorded when its outcome is reported, by an id of its own.
                seen = {
                    "is_answered": answer.status == 200,
                    "invocation_id": answer.headers.get("x-fiso-invocation-id", ""),
                }
            except FisoError as error:
                seen = {"is_answered": False, "problem": str(error)}
            self.samples.append(Sample(caller=name, id=id, began=began, ended=time.monotonic(), **seen))
            self._over.wait(EVERY_S)


def free_ports(number: int) -> list[int]:
    """Ports of loopback on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def copies(port: int, executions: "os.PathLike[str]") -> Iterator["subprocess.Popen[bytes]"]:
    """The functions of a cloud; what they run they append to a file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.drill.copies", str(port), os.fspath(executions)],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_ready(url: str) -> bool:
    """What a health check would see."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", f"{parts.path}/healthz?ready=1")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def awaited(is_so: Callable[[], bool]) -> bool:
    """Whether it came to be so within STARTING_S."""
    ends_at = time.monotonic() + STARTING_S
    while not (found := is_so()) and time.monotonic() < ends_at:
        time.sleep(0.5)
    return found
