"""The local cloud's components, each as a value. Nothing is started here and nothing is looked for but the tools."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fiso_cli.local_stage import HOST, url
from fiso_cli.stage import LOCAL_LISTENERS
from localcloud import postgres
from localcloud.layout import LocalCloud
from localcloud.postgres import Postgres
from localcloud.profile import PROFILE_FILE
from localcloud.supervision.component import Component
from localcloud.supervision.health import HttpCheck

_Options: TypeAlias = dict[str, str | int | Path | list[str]]

_EMULATOR = "emulator"
_LAMBDA_HOST = "lambda-host"
_AZURE_HOST = "azure-host"
_GOOGLE_HOST = "google-host"
_GOOGLE_TARGET = "sample"
_MODULE = ("-P", "-m")  # without the current folder on the path
_FUNC_WITH_ADDRESS = (4, 13)
"""The first Azure Functions Core Tools that can be told to stay on loopback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may choose about the local cloud."""

    records_calls: bool = False
    has_distance: bool = True
    has_issuer: bool = False


def components(cloud: LocalCloud, options: Options | None = None) -> tuple[Component, ...]:
    """Every component in the order in which they are shown."""
    chosen = options or Options()
    recorder = (_call_recorder(cloud),) if chosen.records_calls else ()
    return (
        _emulator(cloud),
        *recorder,
        _lambda_host(cloud, is_recorded=chosen.records_calls),
        _stream_pump(cloud),
        _provider_proxy(cloud, chosen),
        _azure_host(cloud),
        _google_host(cloud),
        _postgres(cloud),
        *((_issuer(cloud),) if chosen.has_issuer else ()),
    )


def _emulator(cloud: LocalCloud) -> Component:
    state = cloud.state / "emulator"
    launcher = cloud.root / "scripts" / "localcloud" / "emulator_launch.py"
    options: _Options = {"--lambda-host-url": cloud.lambda_host_url, "--port": cloud.port("emulator")}
    return Component(
        name=_EMULATOR,
        command=(str(cloud.emulator_environment / "bin" / "python"), str(launcher), *_words(options)),
        ports=(cloud.port("emulator"),),
        check=HttpCheck(port=cloud.port("emulator"), path="/_ministack/health"),
        environment={
            "BIND_HOST": HOST,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state / "s3"),
            "TMPDIR": str(state / "tmp"),
        },
        folder=state,
        writes=(state, state / "tmp"),
        stop_timeout_s=30,  # it writes all its tables down
    )


def _call_recorder(cloud: LocalCloud) -> Component:
    options: _Options = {"--emulator-url": cloud.emulator_url, "--out": cloud.state / "calls" / "calls.jsonl"}
    return _module(
        cloud,
        "lambda_host.call_recorder",
        {"--port": cloud.base_port + 2, **options},
        writes=cloud.state / "calls",
        uses=frozenset({_EMULATOR}),
    )


def _lambda_host(cloud: LocalCloud, *, is_recorded: bool) -> Component:
    options: _Options = {
        "--emulator-url": cloud.emulator_url,
        "--cache": cloud.state / "lambda",
        "--aws-endpoint-url": url(cloud.base_port + 2) if is_recorded else cloud.emulator_url,
        # functions invoke the AWS samples through the proxy, so that distance and faults apply to those alone
        "--function-env": f"AWS_ENDPOINT_URL_LAMBDA={cloud.provider_url(0)}",
    }
    return _module(
        cloud,
        "lambda_host",
        {"--port": cloud.port("lambda-host"), **options},
        writes=cloud.state / "lambda",
        uses=frozenset({_EMULATOR}),
    )


def _stream_pump(cloud: LocalCloud) -> Component:
    options: _Options = {
        "--emulator-url": cloud.emulator_url,
        "--lambda-url": cloud.lambda_host_url,
        "--checkpoints": cloud.state / "pump" / "checkpoints.json",
    }
    return _module(
        cloud,
        "stream_pump",
        {"--health-port": cloud.port("stream-pump"), **options},
        writes=cloud.state / "pump",
        needs=frozenset({_EMULATOR, _LAMBDA_HOST}),  # or it would count a function that is not there yet as failing
    )


def _provider_proxy(cloud: LocalCloud, chosen: Options) -> Component:
    upstreams = {"aws": cloud.lambda_host_url, "azure": cloud.url("azure-host"), "gcp": cloud.url("google-host")}
    options: _Options = {
        "--profile": PROFILE_FILE,
        "--base-port": cloud.provider_base_port,
        "--upstream": [f"{provider}={address}" for provider, address in upstreams.items()],
        "--no-distance": not chosen.has_distance,
    }
    if chosen.records_calls:  # the functions' own invocations pass here, not through the recorder
        options["--record-calls"] = cloud.state / "calls" / "calls.jsonl"
    return _module(
        cloud,
        "provider_proxy",
        {"--control-port": cloud.port("provider-proxy"), **options},
        uses=frozenset({_LAMBDA_HOST, _AZURE_HOST, _GOOGLE_HOST}),
        more_ports=tuple(cloud.provider_base_port + index for index in range(len(LOCAL_LISTENERS))),
    )


def _azure_host(cloud: LocalCloud) -> Component:
    app = cloud.root / "functions" / "sample_azure"
    func = shutil.which("func")
    if func is None or not _can_stay_on_loopback(func):
        options: _Options = {"--port": cloud.port("azure-host"), "--app": app, "--path": cloud.root / "shared"}
        return _module(cloud, "azure_host", options)
    return Component(
        name=_AZURE_HOST,
        command=(func, "start", "--port", str(cloud.port("azure-host")), "--address", HOST),
        ports=(cloud.port("azure-host"),),
        check=HttpCheck(port=cloud.port("azure-host"), path="/admin/host/ping"),
        environment={
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS_CORE_TOOLS_TELEMETRY_OPTOUT": "1",
            "PYTHONPATH": str(cloud.root / "shared"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        },
        folder=app,
    )


def _google_host(cloud: LocalCloud) -> Component:
    source = cloud.root / "functions" / "sample_gcp" / "main.py"
    options: _Options = {
        "--target": _GOOGLE_TARGET,
        "--source": source,
        "--host": HOST,
        "--port": cloud.port("google-host"),
    }
    return Component(
        name=_GOOGLE_HOST,
        command=(sys.executable, *_MODULE, "functions_framework", *_words(options)),
        ports=(cloud.port("google-host"),),
        # the framework's own answer to a path that it keeps from the function, whose first call must stay a client's
        check=HttpCheck(port=cloud.port("google-host"), path="/robots.txt", statuses=(404,)),
        environment={"PYTHONPATH": str(cloud.root / "shared"), "HOME": str(cloud.state / "google"), "THREADS": "16"},
        folder=cloud.state / "google",
        writes=(cloud.state / "google",),
        stop_signal=signal.SIGINT,  # at once; SIGTERM would wait for connections that clients keep open
    )


def _postgres(cloud: LocalCloud) -> Component:
    server = Postgres(folder=cloud.postgres_dir, port=cloud.postgres_port)
    options: _Options = {"--folder": server.folder, "--port": server.port}
    return Component(
        name="postgres",
        command=(sys.executable, *_MODULE, "localcloud.postgres", *_words(options)),
        ports=(server.port,),
        check=server.answers,
        environment=_python_path(cloud),
        writes=(server.folder,),
        workplace=server.data,
        stop_signal=postgres.STOP_SIGNAL,
    )


def _issuer(cloud: LocalCloud) -> Component:
    options: _Options = {"--keys": cloud.issuer_dir, "--console-port": cloud.port("emulator")}
    return _module(cloud, "issuer", {"--port": cloud.port("issuer"), **options}, writes=cloud.issuer_dir)


def _module(
    cloud: LocalCloud,
    module: str,
    options: _Options,
    *,
    more_ports: tuple[int, ...] = (),
    writes: Path | None = None,
    needs: frozenset[str] = frozenset(),
    uses: frozenset[str] = frozenset(),
) -> Component:
    """One of the package's own processes; its first option is the port on which it tells its health."""
    port = int(str(next(iter(options.values()))))
    return Component(
        name=module.rpartition(".")[2].replace("_", "-"),
        command=(sys.executable, *_MODULE, f"localcloud.{module}", *_words(options)),
        ports=(port, *more_ports),
        check=HttpCheck(port=port),
        environment={**cloud.aws_environment(), **_python_path(cloud)},
        folder=cloud.state,
        writes=() if writes is None else (writes,),
        needs=needs,
        uses=uses,
    )


def _words(options: _Options) -> Iterator[str]:
    """Options as a command line: one with a list of values is repeated, one that is true stands alone."""
    for name, value in options.items():
        if isinstance(value, bool):
            yield from (name,) if value else ()
        else:
            for each in value if isinstance(value, list) else [value]:
                yield from (name, str(each))


def _python_path(cloud: LocalCloud) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(str(cloud.root / folder) for folder in ("scripts", "shared"))}


def _can_stay_on_loopback(func: str) -> bool:
    try:
        told = subprocess.run([func, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"(\d+)\.(\d+)\.", told.strip())
    return version is not None and (int(version[1]), int(version[2])) >= _FUNC_WITH_ADDRESS
