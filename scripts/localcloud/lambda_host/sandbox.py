"""The sandbox of an execution environment: its own view of the file system, in which it sees Lambda's paths.

In a mount namespace `/var/task` is the unpacked code, `/opt` the merged layers, `/var/runtime` the runtime, `/var/lang`
the interpreter (all read-only) and `/tmp` its own. The rest of `/var` and `/opt` is hidden. Its process namespace takes
everything that the function started along when it ends. Where the kernel refuses, the paths are rewritten instead.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localcloud.lambda_host.function import Package
from localcloud.lambda_host.interpreter import BOOTSTRAP, Interpreter

log = logging.getLogger(__name__)

TASK_ROOT, RUNTIME_ROOT, LAYER_ROOT, LANGUAGE_ROOT = "/var/task", "/var/runtime", "/opt", "/var/lang"
LIBRARY_PATH = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"

# Sources are bound below the skeleton before /var, /opt and /tmp are covered: any of them may hold the sources. The
# shell stays the namespace's first process, because the kernel ignores fatal signals that a first process sends to
# itself; what it says about the end of its child does not belong in the function's log.
_MOUNT = f"""set -e
skeleton=$1 language=$2 runtime=$3 code=$4 layers=$5 tmp_mb=$6 libraries=$7; shift 7
mount --bind -o ro "$language" "$skeleton/lang"
mount --bind -o ro "$runtime" "$skeleton/runtime"
mount --bind -o ro "$code" "$skeleton/task"
mount --bind -o ro "$layers" {LAYER_ROOT}
mount --rbind "$skeleton" /var
mount -t tmpfs -o "size=${{tmp_mb}}m,mode=1777" tmpfs /tmp
cd {TASK_ROOT}
unset OLDPWD
set +e
exec 3>&2 2>/dev/null
(export LD_LIBRARY_PATH="$libraries"; exec "$@" 2>&3 3>&-)
exit $?"""


class Mode(StrEnum):
    """How an environment gets its paths, the truest first."""

    NAMESPACE = "namespace"
    USER_NAMESPACE = "user-namespace"
    PLAIN = "plain-paths"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command ready to be started."""

    command: Sequence[str]
    variables: Mapping[str, str]
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Turns a package and its environment variables into a command. `skeleton` is the directory shown as `/var`."""

    mode: Mode
    interpreter: Interpreter
    skeleton: Path

    @property
    def process_depth(self) -> int:
        """How many processes stand between the one that is started and the function's own."""
        return 0 if self.mode is Mode.PLAIN else 2

    def launch(self, package: Package, handler: str, variables: Mapping[str, str], tmp_mb: int = 512) -> Launch:
        if self.mode is Mode.PLAIN:
            return self._plain_launch(package, handler, variables)
        libraries = variables.get("LD_LIBRARY_PATH", LIBRARY_PATH)
        script = ["-S", "-s", f"{RUNTIME_ROOT}/{BOOTSTRAP}", handler, LAYER_ROOT]
        return Launch(
            command=[*self.enter(package, tmp_mb, libraries), *script],
            # Not for the shell and mount themselves: they would load the interpreter's libraries.
            variables={name: value for name, value in variables.items() if name != "LD_LIBRARY_PATH"},
            directory=Path("/"),
        )

    def enter(self, package: Package, tmp_mb: int, libraries: str) -> list[str]:
        """The command, up to the interpreter's arguments, that runs the interpreter inside the namespaces."""
        user = ["-Ur"] if self.mode is Mode.USER_NAMESPACE else []
        unshare = ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child"]
        sources = (self.skeleton, self.interpreter.prefix, self.interpreter.runtime, package.code, package.layers)
        python = self.interpreter.executable_under(Path(LANGUAGE_ROOT))
        mount = ["sh", "-c", _MOUNT, "sh", *map(str, sources), str(tmp_mb), libraries]
        return [*_die_with_parent(), *unshare, *mount, str(python)]

    def _plain_launch(self, package: Package, handler: str, variables: Mapping[str, str]) -> Launch:
        paths = {
            TASK_ROOT: package.code,
            RUNTIME_ROOT: self.interpreter.runtime,
            LAYER_ROOT: package.layers,
            LANGUAGE_ROOT: self.interpreter.prefix,
        }
        rewritten = {name: rewrite_paths(value, paths) for name, value in variables.items()}
        rewritten.setdefault("FISO_MODEL_DIR", str(package.layers / "model"))
        script = ["-S", "-s", str(self.interpreter.runtime / BOOTSTRAP), handler, str(package.layers)]
        command = [*_die_with_parent(), str(self.interpreter.executable), *script]
        return Launch(command=command, variables=rewritten, directory=package.code)


def rewrite_paths(value: str, paths: Mapping[str, Path]) -> str:
    """Replace Lambda's directories in a `:`-separated list; a value that only mentions one elsewhere stays as it is."""
    return ":".join(_rewrite_path(part, paths) for part in value.split(":"))


def _rewrite_path(part: str, paths: Mapping[str, Path]) -> str:
    for root, directory in paths.items():
        if part == root or part.startswith(root + "/"):
            return f"{directory}{part.removeprefix(root)}"
    return part


def _die_with_parent() -> list[str]:
    """Environments never outlive a host that was killed. Without setpriv they end when they miss the Runtime API."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


async def choose_sandbox(interpreter: Interpreter, cache: Path, only: Mode | None = None) -> Sandbox:
    """The truest sandbox that this machine allows, found by trying; with `only`, that one whatever comes of it."""
    skeleton = cache / "var"
    for directory in ("lang", "lib", "log", "runtime", "task", "tmp"):
        (skeleton / directory).mkdir(parents=True, exist_ok=True)
    if only is not None:
        return Sandbox(mode=only, interpreter=interpreter, skeleton=skeleton)
    modes = [Mode.NAMESPACE, Mode.USER_NAMESPACE] if os.geteuid() == 0 else [Mode.USER_NAMESPACE]
    for mode in modes:
        sandbox = Sandbox(mode=mode, interpreter=interpreter, skeleton=skeleton)
        if await _works(sandbox, cache):
            return sandbox
    log.warning("no mount namespaces here: functions get plain paths instead of /var/task and /opt")
    return Sandbox(mode=Mode.PLAIN, interpreter=interpreter, skeleton=skeleton)


async def _works(sandbox: Sandbox, cache: Path) -> bool:
    empty = cache / "empty"
    empty.mkdir(exist_ok=True)
    enter = sandbox.enter(Package(code=empty, layers=empty), 1, LIBRARY_PATH)
    try:
        process = await asyncio.create_subprocess_exec(
            *enter, "-S", "-c", "import json", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        log.info("%s refused: %s", sandbox.mode, error)
        return False
    _, errors = await process.communicate()
    if process.returncode != 0:
        log.info("%s refused: %s", sandbox.mode, errors.decode(errors="replace").strip())
    return process.returncode == 0
