"""Composition root of the container: settings in, a process that serves out."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Self

from fiso import telemetry
from fiso.domain.access import AuthMode
from fiso.door_settings import DoorSettings
from fiso.settings import BadSetting, OrchestratorSettings
from functions.orchestrator import environment
from functions.orchestrator import wiring as orchestrator
from functions.orchestrator.wiring import App, Ports
from functions.server.door_ports import door
from functions.server.listener import Limits, Listener
from functions.server.processes import Processes
from functions.server.wsgi import Application, Environments, WsgiApplication

METRICS_EVERY_S = 1.0
BACKLOG = 1_024
_NO_TABLES = {"FISO_LOG_TABLE": "-", "FISO_STATE_TABLE": "-", "FISO_BUCKET": "-"}
"""A front door on another cloud has none of AWS's."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

logger = logging.getLogger("fiso.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where it listens, with how many processes and within which limits."""

    host: str = "0.0.0.0"  # nosec B104 # a container's own network
    port: int = 8080
    workers: int = 1
    has_console: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """PORT as Cloud Run and Container Apps give it; FISO_SERVE_HOST, _WORKERS, _THREADS, _QUEUE, _CONNECTIONS,
        _LAME_S, _DRAIN_S, _CONSOLE. `BadSetting` for what is no number of a sensible size."""

        def number(name: str, otherwise: int, most: int) -> int:
            text = environ.get(name, "").strip() or str(otherwise)
            if not (text.isascii() and text.isdecimal() and 0 <= int(text) <= most):
                raise BadSetting(
                    f"environment variable {name} must be a whole number up to {most:,}, not {text[:40]!r}"
                )
            return int(text)

        usual = Limits()
        return cls(
            host=environ.get("FISO_SERVE_HOST", "").strip() or "0.0.0.0",  # nosec B104
            port=number("PORT", 8080, 65_535),
            workers=max(1, number("FISO_SERVE_WORKERS", 1, 64)),
            has_console=environ.get("FISO_SERVE_CONSOLE", "").strip() == "1",
            limits=Limits(
                threads=max(1, number("FISO_SERVE_THREADS", usual.threads, 512)),
                queue=number("FISO_SERVE_QUEUE", usual.queue, 10_000),
                connections=max(1, number("FISO_SERVE_CONNECTIONS", usual.connections, 30_000)),
                lame_s=number("FISO_SERVE_LAME_S", int(usual.lame_s), 600),
                drain_s=number("FISO_SERVE_DRAIN_S", int(usual.drain_s), 600),
            ),
        )


def application_settings(environ: Mapping[str, str], host: str) -> OrchestratorSettings:
    """The orchestrator's settings behind a door of FISO's own. `BadSetting` where callers could not be known: what a
    gateway verified stands in an event that only the gateway writes, and here there is none."""
    is_elsewhere = DoorSettings.from_environ(environ) is not None
    settings = OrchestratorSettings.from_environ({**_NO_TABLES, **environ} if is_elsewhere else environ)
    if settings.access.mode is AuthMode.IAM:
        raise BadSetting("environment variable FISO_AUTH must be jwt here: nobody in front verifies signatures")
    if settings.access.mode is AuthMode.NONE and host not in _LOOPBACK:
        raise BadSetting("environment variable FISO_AUTH must be jwt: only on loopback nobody is asked who they are")
    return replace(settings, access=replace(settings.access, gateway_hashes=frozenset()))


def environments(settings: OrchestratorSettings, ports: Ports) -> Environments:
    """Applications over the same ports; what they need of the stores is read once."""

    def compose() -> App:
        return orchestrator.build(settings, metrics=ports.metrics, ports=ports)

    return Environments(compose)


def serve(environ: Mapping[str, str]) -> int:
    """Serve until a signal to end; the exit code. `BadSetting` and `OSError` before anything is served."""
    telemetry.logger()
    settings = ServerSettings.from_environ(environ)
    app_settings = application_settings(environ, settings.host)
    if settings.has_console:
        from fiso.console_settings import ConsoleSettings

        ConsoleSettings.from_environ(environ)  # each worker would only find out, and be replaced
    sock = listening(settings.host, settings.port)

    def work(listened: socket.socket, ready: Callable[[], None]) -> bool:
        return _work(settings, app_settings, listened, ready)

    limits = settings.limits
    processes = Processes(sock=sock, work=work, workers=settings.workers, end_s=limits.lame_s + limits.drain_s)
    return processes.run()


def listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _work(
    settings: ServerSettings, app_settings: OrchestratorSettings, sock: socket.socket, ready: Callable[[], None]
) -> bool:
    """One worker's life."""
    own = DoorSettings.from_environ(os.environ)
    elsewhere = door(app_settings, own, os.environ, telemetry.metrics()) if own else None
    pool = environments(app_settings, elsewhere.ports if elsewhere else _ports(app_settings))
    with pool.borrowed() as app:
        environment.get_ready(app)
    is_over = Event()
    flusher = Thread(target=_flush_until, args=(is_over,), name="metrics", daemon=True)
    flusher.start()
    application = Application(environments=pool, console=_console() if settings.has_console else None)
    listener = Listener(application, sock, settings.limits)
    application.is_draining = lambda: listener.is_draining
    signal.signal(signal.SIGTERM, listener.begin_drain)
    ready()
    logger.info("serving")
    with elsewhere.also_kept() if elsewhere else nullcontext():
        is_clean = listener.run()
    is_over.set()
    flusher.join()
    if elsewhere is not None:
        is_clean = elsewhere.log.drain(within_s=settings.limits.drain_s) and is_clean
    pool.rest()
    return is_clean


def _ports(settings: OrchestratorSettings) -> Ports:
    return orchestrator.aws_ports(settings, os.environ, telemetry.metrics())


def _console() -> WsgiApplication:
    from fiso.console_settings import ConsoleSettings
    from functions.console import wiring as console

    os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION", ""))  # the one that boto3 reads
    app: WsgiApplication = console.build(ConsoleSettings.from_environ(os.environ))
    return app


def _flush_until(is_over: Event) -> None:
    """Metrics of many requests in one line; on Lambda each request writes its own, since nothing runs after it."""
    while not is_over.wait(METRICS_EVERY_S):
        telemetry.flush()
    telemetry.flush()
