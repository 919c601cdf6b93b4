"""A listener over a rig on loopback, for tests of what happens on the wire; and one in processes, as a program."""

import http.client
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from fiso.testing.memory import Respond
from fiso.testing.rig import Rig, Stores
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator.wiring import App
from functions.server.listener import Limits, Listener
from functions.server.processes import Processes
from functions.server.wiring import listening
from functions.server.wsgi import Application, Environments

HOST, INVOKE = "127.0.0.1", "/v1/invoke/word-count"


def answers(text: str = "ok", wait: Callable[[], object] = lambda: None) -> Respond:
    """A function that answers with a text after a wait."""

    def respond(*_: Any) -> FunctionAnswer:
        wait()
        return FunctionAnswer(status=200, body=text.encode(), headers={"content-type": "text/plain"})

    return respond


def over_rigs(respond: Respond, stores: Stores | None = None) -> Environments:
    """Environments on the same stores."""
    shared = (Rig(respond=respond) if stores is None else Rig(respond=respond, stores=stores)).stores

    def compose() -> App:
        return Rig(respond=respond, stores=shared).app

    return Environments(compose)


@dataclass(kw_only=True)
class Served:
    """A listener that runs in a thread."""

    port: int
    listener: Listener
    thread: Thread
    is_clean: list[bool]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.port, timeout=10)

    def raw(self, *parts: bytes, pause_s: float = 0.0) -> bytes:
        """What comes back to these bytes until the server closes."""
        with socket.create_connection((HOST, self.port), timeout=10) as sock:
            for part in parts:
                sock.sendall(part)
                time.sleep(pause_s)
            return b"".join(iter(lambda: sock.recv(65_536), b""))

    def end(self) -> bool:
        """Drain, and whether everything was answered."""
        self.listener.begin_drain()
        self.thread.join(20)
        return self.is_clean == [True]


@contextmanager
def served(environments: Environments, **limits: Any) -> Iterator[Served]:
    sock = listening(HOST, 0)
    application = Application(environments=environments)
    listener = Listener(application, sock, Limits(**{"threads": 2, "lame_s": 0.0, "drain_s": 5.0, **limits}))
    application.is_draining = lambda: listener.is_draining
    is_clean: list[bool] = []
    thread = Thread(target=lambda: is_clean.append(listener.run()))
    thread.start()
    running = Served(port=sock.getsockname()[1], listener=listener, thread=thread, is_clean=is_clean)
    try:
        yield running
    finally:
        running.end()
        environments.rest()


def main() -> None:
    """Two workers over memory, each with its own; prints the port."""
    sock = listening(HOST, 0)

    def work(sock: socket.socket, ready: Callable[[], None]) -> bool:
        import signal

        environments = over_rigs(answers("ok", lambda: time.sleep(0.01)))
        application = Application(environments=environments)
        listener = Listener(application, sock, Limits(threads=4, lame_s=0.5, drain_s=5.0))
        application.is_draining = lambda: listener.is_draining
        signal.signal(signal.SIGTERM, listener.begin_drain)
        ready()
        return listener.run()

    sys.stderr.write(f"{sock.getsockname()[1]}\n")
    sys.stderr.flush()
    sys.exit(Processes(sock=sock, work=work, workers=2, end_s=6.0).run())


if __name__ == "__main__":
    main()
