"""The local cloud's parts as values: what to run, where it listens, how to see that it is ready. Starts nothing.

What stands in for three clouds, and why: docs/decisions/0003-the-local-cloud.md
"""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from fiso_cli.local_stage import HOST
from fiso_cli.stage import LOCAL_LISTENERS
from localcloud import postgres
from localcloud.layout import LocalCloud
from localcloud.postgres import Postgres
from localcloud.profile import PROFILE_FILE

_Words: TypeAlias = tuple[str | int | Path, ...]

_MODULE = ("-P", "-m")  # without the current folder on the path
_FUNC_WITH_ADDRESS = (4, 13)
"""The first Azure Functions Core Tools that can be told to stay on loopback."""
_CHECK_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be chosen about the local cloud.

    `aws_url` and `lambda_url` name what stands before the emulator for functions, and before the Lambda host for the
    provider proxy: tests record the calls there. `peer` is another local cloud as a region of this one,
    `us-west-2=http://127.0.0.1:5566`; the two have one access key, which `access_key` names.
    """

    has_distance: bool = True
    has_issuer: bool = False
    aws_url: str | None = None
    lambda_url: str | None = None
    peer: str | None = None
    access_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One long-running process. It starts when all it comes `after` are ready, and stops before they do.

    `ports[0]` is the one shown. The folders it `writes` are made before it starts and deleted by a reset.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...]
    check: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    writes: tuple[Path, ...] = ()
    after: frozenset[str] = frozenset()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """Whether `GET path` answers with the status. One question, one second at most; never an exception."""

    port: int
    path: str = "/healthz"
    status: int = 200

    def __call__(self) -> bool:
        """Ask once."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_CHECK_TIMEOUT_S)
        try:
            connection.request("GET", self.path, headers={"Connection": "close"})
            return connection.getresponse().status == self.status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def parts(cloud: LocalCloud, options: Options | None = None) -> tuple[Part, ...]:
    """Every part in the order in which they are shown."""
    chosen = options or Options()
    issuer = (_issuer(cloud),) if chosen.has_issuer else ()
    return (
        _emulator(cloud, chosen),
        _lambda_host(cloud, chosen),
        _stream_pump(cloud),
        _azure_host(cloud),
        _azure_cloud(cloud),
        _entra(cloud),
        _google_host(cloud),
        _google_cloud(cloud),
        _provider_proxy(cloud, chosen),
        _postgres(cloud),
        *issuer,
    )


def _emulator(cloud: LocalCloud, chosen: Options) -> Part:
    state = cloud.state / "emulator"
    launcher = Path(__file__).with_name("emulator_launch.py")
    options: _Words = ("--lambda-host-url", cloud.lambda_host_url, "--port", cloud.port("emulator"))
    options += ("--access-key", cloud.access_key_file)
    options += ("--peer", chosen.peer) if chosen.peer else ()
    return Part(
        name="emulator",
        command=(str(cloud.emulator_environment / "bin" / "python"), str(launcher), *map(str, options)),
        ports=(cloud.port("emulator"),),
        check=HttpCheck(port=cloud.port("emulator"), path="/_ministack/health"),
        environment={
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


def _lambda_host(cloud: LocalCloud, chosen: Options) -> Part:
    cache = cloud.state / "lambda"
    # functions invoke the AWS samples through the proxy, so that distance and faults apply to those alone
    variables = {"AWS_ENDPOINT_URL": chosen.aws_url or cloud.emulator_url}
    variables["AWS_ENDPOINT_URL_LAMBDA"] = cloud.provider_url(0)
    variables |= {"FISO_ENTRA_LOGIN": cloud.url("entra"), "FISO_GOOGLE_LOGIN": cloud.url("google-cloud")}
    options: _Words = ("--port", cloud.port("lambda-host"), "--emulator-url", cloud.emulator_url, "--cache", cache)
    options += ("--access-key", cloud.access_key_file)
    options += tuple(word for pair in variables.items() for word in ("--function-env", "=".join(pair)))
    return _module(cloud, "lambda-host", options, writes=(cache,), after=frozenset({"emulator"}))


def _stream_pump(cloud: LocalCloud) -> Part:
    checkpoints = cloud.state / "pump" / "checkpoints.json"
    options: _Words = ("--health-port", cloud.port("stream-pump"), "--emulator-url", cloud.emulator_url)
    options += ("--lambda-url", cloud.lambda_host_url, "--checkpoints", checkpoints)
    options += ("--access-key", cloud.access_key_file)
    # or it would count a function that is not there yet as failing
    return _module(cloud, "stream-pump", options, writes=(checkpoints.parent,), after=frozenset({"lambda-host"}))


def _provider_proxy(cloud: LocalCloud, chosen: Options) -> Part:
    upstreams = {"aws": chosen.lambda_url or cloud.lambda_host_url}
    upstreams |= {"azure": cloud.url("azure-host"), "gcp": cloud.url("google-host")}
    options: _Words = ("--control-port", cloud.port("provider-proxy"), "--base-port", cloud.provider_base_port)
    options += ("--profile", PROFILE_FILE)
    options += tuple(word for pair in upstreams.items() for word in ("--upstream", "=".join(pair)))
    options += () if chosen.has_distance else ("--no-distance",)
    listeners = tuple(_listeners(cloud))
    hosts = frozenset({"lambda-host", "azure-host", "google-host"})
    return _module(cloud, "provider-proxy", options, more_ports=listeners, after=hosts)


def _listeners(cloud: LocalCloud) -> range:
    """The provider proxy's ports. It passes requests on as they are, `Host` included."""
    return range(cloud.provider_base_port, cloud.provider_base_port + len(LOCAL_LISTENERS))


def _behind_proxy(cloud: LocalCloud) -> _Words:
    return tuple(word for port in _listeners(cloud) for word in ("--behind", port))


def _azure_host(cloud: LocalCloud) -> Part:
    app, port = cloud.root / "functions" / "sample_azure", cloud.port("azure-host")
    func = shutil.which("func")
    if func is None or not _can_stay_on_loopback(func):
        options: _Words = ("--port", port, "--app", app, "--path", cloud.root / "shared")
        return _module(cloud, "azure-host", options + _behind_proxy(cloud))
    return Part(
        name="azure-host",
        command=(func, "start", "--port", str(port), "--address", HOST),
        ports=(port,),
        check=HttpCheck(port=port, path="/admin/host/ping"),
        environment={
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS_CORE_TOOLS_TELEMETRY_OPTOUT": "1",
            "PYTHONPATH": str(cloud.root / "shared"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        },
        folder=app,
    )


def _azure_cloud(cloud: LocalCloud) -> Part:
    folder = cloud.state / "azure"
    options: _Words = ("--port", cloud.port("azure-cloud"), "--folder", folder, "--entra-url", cloud.url("entra"))
    return _module(cloud, "azure-cloud", options, writes=(folder,))


def _entra(cloud: LocalCloud) -> Part:
    return _module(cloud, "entra", ("--port", cloud.port("entra"), "--aws-url", cloud.emulator_url))


def _google_cloud(cloud: LocalCloud) -> Part:
    folder = cloud.state / "google-cloud"
    options: _Words = ("--port", cloud.port("google-cloud"), "--folder", folder, "--aws-url", cloud.emulator_url)
    return _module(cloud, "google-cloud", options, writes=(folder,))


def _google_host(cloud: LocalCloud) -> Part:
    folder, port = cloud.state / "google", cloud.port("google-host")
    source = cloud.root / "functions" / "sample_gcp" / "main.py"
    options: _Words = ("--target", "sample", "--source", source, "--port", port, *_behind_proxy(cloud))
    return Part(
        name="google-host",
        command=(sys.executable, *_MODULE, "localcloud.google_host", *map(str, options)),
        ports=(port,),
        # the framework's own answer to a path that it keeps from the function, whose first call must stay a client's
        check=HttpCheck(port=port, path="/robots.txt", status=404),
        environment={**_python_path(cloud), "HOME": str(folder), "THREADS": "16"},
        folder=folder,
        writes=(folder,),
        stop_signal=signal.SIGINT,  # at once; SIGTERM would wait for connections that clients keep open
    )


def _postgres(cloud: LocalCloud) -> Part:
    server = Postgres(folder=cloud.postgres_dir, port=cloud.postgres_port)
    options: _Words = ("--folder", server.folder, "--port", server.port)
    return Part(
        name="postgres",
        command=(sys.executable, *_MODULE, "localcloud.postgres", *map(str, options)),
        ports=(server.port,),
        check=server.answers,
        environment=_python_path(cloud),
        writes=(server.folder,),
        stop_signal=postgres.STOP_SIGNAL,
    )


def _issuer(cloud: LocalCloud) -> Part:
    options: _Words = ("--port", cloud.port("issuer"), "--keys", cloud.issuer_dir)
    options += ("--console-port", cloud.port("emulator"))
    return _module(cloud, "issuer", options, writes=(cloud.issuer_dir,))


def _module(
    cloud: LocalCloud,
    name: str,
    options: _Words,
    *,
    more_ports: tuple[int, ...] = (),
    writes: tuple[Path, ...] = (),
    after: frozenset[str] = frozenset(),
) -> Part:
    """One of the package's own processes."""
    return Part(
        name=name,
        command=(sys.executable, *_MODULE, f"localcloud.{name.replace('-', '_')}", *map(str, options)),
        ports=(cloud.port(name), *more_ports),
        check=HttpCheck(port=cloud.port(name)),
        environment={**_without_key(cloud.aws_environment()), **_python_path(cloud)},
        folder=cloud.state,
        writes=writes,
        after=after,
    )


def _without_key(variables: Mapping[str, str]) -> dict[str, str]:
    """Whoever needs the access key reads its file; a cloud's function does not."""
    return {name: value for name, value in variables.items() if "ACCESS_KEY" not in name}


def _python_path(cloud: LocalCloud) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(str(cloud.root / folder) for folder in ("scripts", "shared"))}


def _can_stay_on_loopback(func: str) -> bool:
    try:
        told = subprocess.run([func, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"(\d+)\.(\d+)\.", told.strip())
    return version is not None and (int(version[1]), int(version[2])) >= _FUNC_WITH_ADDRESS
