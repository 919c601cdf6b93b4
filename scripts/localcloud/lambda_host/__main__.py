"""The Lambda host's process: its arguments, its parts put together, its end."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from fiso_cli.access_key import AccessKey
from localcloud.aiohttp_doors import guarded_by_key
from localcloud.lambda_host.control_plane import Emulator, EmulatorControlPlane
from localcloud.lambda_host.environment import INIT_LIMIT_S, HostVariables, Surroundings
from localcloud.lambda_host.interpreter import UnusableInterpreterError, prepare_interpreter
from localcloud.lambda_host.pool import FunctionDirectory, Refresh
from localcloud.lambda_host.sandbox import Mode, choose_sandbox
from localcloud.lambda_host.server import TELLING, Front
from localcloud.lambda_host.shipping import CloudWatch, LogHub

log = logging.getLogger("localcloud.lambda_host")
_FLUSH_LIMIT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """The command line, read."""

    port: int
    emulator_url: str
    access_key: Path
    cache: Path
    python: Path
    function_variables: dict[str, str] = field(default_factory=dict)
    idle_s: float
    max_environments: int
    init_limit_s: float
    sandbox: Mode | None


def read_settings(arguments: Sequence[str]) -> HostSettings:
    parser = argparse.ArgumentParser(prog="python -m localcloud.lambda_host", description="The local Lambda host.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--emulator-url", required=True, help="where the control plane is")
    parser.add_argument(
        "--access-key", type=Path, required=True, metavar="FILE", help="whoever calls must sign with it"
    )
    parser.add_argument("--cache", type=Path, required=True, help="directory for unpacked code and the runtime")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter that has awslambdaric")
    parser.add_argument("--function-env", action="append", default=[], type=_assignment, metavar="KEY=VALUE")
    parser.add_argument("--idle-seconds", type=float, default=300.0, help="end environments idle for longer")
    parser.add_argument("--max-environments", type=int, default=64, help="at most this many at once, all functions")
    parser.add_argument("--init-limit-seconds", type=float, default=INIT_LIMIT_S, help="AWS's limit of the init phase")
    parser.add_argument("--sandbox", type=Mode, choices=list(Mode), help="insist on one (default: the best)")
    given = parser.parse_args(arguments)
    return HostSettings(
        port=given.port,
        emulator_url=given.emulator_url,
        access_key=given.access_key,
        cache=given.cache.resolve(),
        python=given.python,
        function_variables=dict(given.function_env),
        idle_s=given.idle_seconds,
        max_environments=given.max_environments,
        init_limit_s=given.init_limit_seconds,
        sandbox=given.sandbox,
    )


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


async def serve(settings: HostSettings) -> None:
    """Run until SIGTERM or SIGINT, then end every environment."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings.cache.mkdir(parents=True, exist_ok=True)
    interpreter = await prepare_interpreter(settings.python, settings.cache)
    sandbox = await choose_sandbox(interpreter, settings.cache, only=settings.sandbox)
    key = AccessKey.read(settings.access_key)
    emulator = Emulator(url=settings.emulator_url, key=key)
    control_plane = EmulatorControlPlane(emulator, settings.cache)
    control_plane.prune()
    logs = LogHub(CloudWatch(emulator))
    surroundings = Surroundings(
        sandbox=sandbox,
        variables=HostVariables(aws_endpoint_url=settings.emulator_url, key=key, extra=settings.function_variables),
        emit=logs.emit,
        init_limit_s=settings.init_limit_s,
    )
    functions = FunctionDirectory(
        control_plane, surroundings, max_environments=settings.max_environments, refresh=Refresh()
    )
    front = Front(functions, logs, sandbox)
    runner = web.AppRunner(
        front.application(guarded_by_key(key, unsigned=TELLING)), access_log=None, shutdown_timeout=0.2
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.port).start()
    log.info("listening on 127.0.0.1:%d, python %s, %s", settings.port, interpreter.version, sandbox.mode)
    background = [functions.keep_fresh(), functions.reap(settings.idle_s), logs.ship()]
    await _until(stop, [asyncio.create_task(work) for work in background])
    await functions.close()
    await runner.cleanup()
    await _flush(logs)


async def _until(stop: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the signal. Background work never ends by itself: its failure ends the host, loudly."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *background], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *background):
        task.cancel()
    await asyncio.gather(stopping, *background, return_exceptions=True)
    for task in done:
        if task is not stopping and (error := task.exception()):
            log.error("background work failed", exc_info=error)


async def _flush(logs: LogHub) -> None:
    try:
        async with asyncio.timeout(_FLUSH_LIMIT_S):
            await logs.flush()
    except TimeoutError:
        log.warning("the last log lines were not delivered in time")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    settings = read_settings(sys.argv[1:])
    try:
        asyncio.Runner().run(serve(settings))
    except (UnusableInterpreterError, OSError, ValueError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # A thread may still wait for an emulator that hangs; closing the runner, or sys.exit, would wait for the thread.
    os._exit(status)
