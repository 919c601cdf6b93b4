"""Package: a function's folder as one archive that a cloud builds and runs with nothing else beside it.

In it are the user's files less what its ignore files name, the shared code that they import, and requirements locked by
hash. Its bytes depend on these alone.
"""

import gzip
import io
import os
import re
import subprocess  # nosec B404: runs uv with a fixed argument list
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.packaging import archive, wheels
from fiso_cli.packaging.archive import Entry
from fiso_cli.packaging.target import Target

SHARED = ("fiso_workload", "fiso_client", "fiso")
"""Packages of FISO's that a function may import: they are laid beside its files."""
REQUIREMENTS, LOCK = "requirements.txt", "requirements.lock"
NEVER = (
    ".*",
    "__pycache__/",
    "*.py[cod]",
    "venv/",
    "node_modules/",
    "local.settings.json",
    LOCK,
    "requirements.in",
    "Thumbs.db",
)
"""Left out whatever an ignore file says: caches, environments, and files with secrets in them."""
PYTHON = "3.13"
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))", re.MULTILINE)
_PINNED = re.compile(r"^[A-Za-z0-9][\w.\-]*(?:\[[\w.,\- ]+\])?[ \t]*==[ \t]*[^\s;]+")
_CONTINUED = re.compile(r"\\\n")
MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a cloud takes: the file where it begins, its ignore file, what its runtime needs, and megabytes.

    Sources: cloud.google.com/functions/quotas (100 MB of source, 500 with modules); learn.microsoft.com, Flex
    Consumption (one deploy, 1 GB); docs.aws.amazon.com/lambda, quotas (50 MB straight, 250 unzipped).
    """

    entry: str
    ignore: str
    framework: str
    zip_mb: int
    unzipped_mb: int
    target: Target | None = None
    """Where the cloud builds nothing, what the wheels in the package are for."""


PLACES: Mapping[Provider, Place] = {
    Provider.GCP: Place(
        entry="main.py", ignore=".gcloudignore", framework="functions-framework", zip_mb=100, unzipped_mb=500
    ),
    Provider.AZURE: Place(
        entry="function_app.py", ignore=".funcignore", framework="azure-functions", zip_mb=1024, unzipped_mb=4096
    ),
    Provider.AWS: Place(entry="handler.py", ignore=".lambdaignore", framework="", zip_mb=50, unzipped_mb=250),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An archive on disk. `shared` are the packages of FISO's in it, `left_out` what an ignore file named."""

    path: Path
    sha256: str
    zip_bytes: int
    unzipped_bytes: int
    files: tuple[str, ...]
    shared: tuple[str, ...]
    left_out: tuple[str, ...]

    def describe(self) -> str:
        """In one line, for a plan."""
        shared = f" with {', '.join(self.shared)}" if self.shared else ""
        return f"{len(self.files)} files{shared}, {self.zip_bytes / MB:.1f} MB, sha256 {self.sha256[:12]}"


def make(
    folder: Path,
    provider: Provider,
    *,
    into: Path,
    generated: Mapping[str, bytes] | None = None,
    lock: bool = True,
    place: Place | None = None,
) -> Package:
    """The package of a folder, written below `into` under the name of its content.

    `generated` are files that a deployer adds (a wrapper, a host.json); the user's own of the same name win. Without
    `lock` requirements that are not locked are refused, else they are locked once, into `requirements.lock` in the
    folder. `place` is the provider's unless it is given. `BadInput` says what of the folder cannot be packaged.
    """
    place = place or PLACES[provider]
    files, left_out = _files(folder, place)
    with tempfile.TemporaryDirectory(dir=_made(into)) as scratch:
        own = {entry.name: entry.path for entry in files}
        for name, content in (generated or {}).items():
            own.setdefault(name, _written(Path(scratch, "generated", name), content))
        if place.entry not in own:
            raise BadInput(f"{folder}: there is no {place.entry}, where {provider} begins")
        if requirements := _requirements(folder, own, place, lock=lock):
            own[REQUIREMENTS] = _written(Path(scratch, "locked", REQUIREMENTS), requirements.encode())
        shared = _shared(own)
        if requirements and place.target is not None:
            for entry in _wheels(own[REQUIREMENTS], place.target, Path(scratch, "wheels")):
                own.setdefault(entry.name, entry.path)
        entries = [Entry(name=name, path=path) for name, path in own.items()] + [
            entry for name in shared for entry in _package_files(name)
        ]
        entries.sort(key=lambda entry: entry.name)
        unfinished = Path(scratch, "package.zip")
        archive.append(unfinished, entries)
        return _finish(unfinished, into, entries, place, shared=shared, left_out=left_out, folder=folder)


def _finish(
    unfinished: Path,
    into: Path,
    entries: list[Entry],
    place: Place,
    *,
    shared: tuple[str, ...],
    left_out: tuple[str, ...],
    folder: Path,
) -> Package:
    sha256 = archive.digest_of_file(unfinished)
    zip_bytes, unzipped = unfinished.stat().st_size, archive.unzipped_bytes(unfinished)
    for what, size, limit in (("zipped", zip_bytes, place.zip_mb), ("unzipped", unzipped, place.unzipped_mb)):
        if size > limit * MB:
            largest = max(entries, key=lambda entry: entry.path.stat().st_size)
            raise BadInput(
                f"{folder}: {size / MB:.0f} MB {what} is more than the {limit} MB the cloud takes; the largest file is "
                f"{largest.name}: name what is not needed in {place.ignore}"
            )
    finished = into / f"{sha256[:16]}.zip"
    unfinished.replace(finished)
    return Package(
        path=finished,
        sha256=sha256,
        zip_bytes=zip_bytes,
        unzipped_bytes=unzipped,
        files=tuple(entry.name for entry in entries),
        shared=shared,
        left_out=left_out,
    )


def as_tar(package: Package) -> bytes:
    """The same files as `.tar.gz`, which Cloud Run's builds take; as reproducible as the zip."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(package.path) as files,
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in package.files:
            info = tarfile.TarInfo(name)
            info.size = files.getinfo(name).file_size
            tar.addfile(info, files.open(name))
    return packed.getvalue()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _files(folder: Path, place: Place) -> tuple[list[Entry], tuple[str, ...]]:
    """The user's files, and what was left out. The last pattern that matches wins, as git reads them."""
    from pathspec import GitIgnoreSpec

    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such folder")
    root = folder.resolve()
    wanted = GitIgnoreSpec.from_lines([*_patterns(root / ".gitignore"), *_patterns(root / place.ignore)])
    never = GitIgnoreSpec.from_lines(NEVER)
    kept, left_out = [], []
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if never.match_file(name):
            continue
        if wanted.match_file(name):
            left_out.append(name)
            continue
        _check_file(path, root)
        kept.append(Entry(name=name, path=path))
    return kept, tuple(sorted(left_out))


def _walk(root: Path) -> Iterator[Path]:
    """Every file, links to folders not followed; hidden folders (`.git`, `.venv`) are not even opened."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith("."):
                yield from _walk(path)
        else:
            yield path


def _patterns(file: Path) -> list[str]:
    """An ignore file's lines; gcloud's `#!include:FILE` stands for that file's."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read as text") from error
    included = [line for line in lines if not line.startswith("#!include:")]
    for line in lines:
        if line.startswith("#!include:") and (other := line.partition(":")[2].strip()) != ".gitignore":
            included += [each for each in _patterns(file.parent / Path(other).name) if not each.startswith("#")]
    return included


def _check_file(path: Path, root: Path) -> None:
    """A link may lead to a file of the folder and nowhere else: a package carries no file that nobody put there."""
    name = path.relative_to(root)
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise BadInput(f"{name}: a link that leads out of {root.name}: put the file itself there")
    if not path.is_file():
        raise BadInput(f"{name}: neither a file nor a folder: leave it out with an ignore file")
    try:
        name.as_posix().encode()
        with path.open("rb"):
            pass
    except (OSError, UnicodeEncodeError) as error:
        raise BadInput(f"{str(name)!a}: cannot be read: {getattr(error, 'strerror', None) or 'name'}") from error


def _shared(own: Mapping[str, Path]) -> tuple[str, ...]:
    """FISO's packages that are imported, by what is imported too, unless the user has a module of that name."""
    tops = {name.split("/")[0].removesuffix(".py") for name in own}
    found: list[str] = []
    sources: Iterable[Path] = [path for name, path in own.items() if name.endswith(".py")]
    while sources:
        imported = {top for path in sources for top in _imports(path)}
        new = [name for name in SHARED if name in imported - tops - set(found)]
        found += new
        sources = [entry.path for name in new for entry in _package_files(name)]
    return tuple(sorted(found))


def _imports(path: Path) -> Iterator[str]:
    """The modules at the top of what a source imports. Not parsed: it may be written for a newer Python than this."""
    for source, several in _IMPORT.findall(path.read_text(encoding="utf-8", errors="replace")):
        for each in [source] if source else several.split(","):
            if words := each.split():
                yield words[0].partition(".")[0]


def _package_files(name: str) -> list[Entry]:
    spec = find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise CommandError(f"{name} is imported, but it is not installed here: it comes with the checkout")
    return [
        entry for entry in archive.entries(Path(places[0]), prefix=f"{name}/") if "__pycache__" not in entry.path.parts
    ]


def _requirements(folder: Path, own: Mapping[str, Path], place: Place, *, lock: bool) -> str:
    """What goes in as requirements.txt: the user's own where it is locked, else the lock that is made of it once."""
    given = own.get(REQUIREMENTS)
    text = given.read_text(encoding="utf-8-sig", errors="replace") if given else f"{place.framework}\n"
    if not text.strip():
        return ""
    if is_locked(text):
        return text
    kept, marked = folder / LOCK, f"# of {archive.digest([text.encode(), PYTHON.encode()])[:16]}\n"
    if kept.is_file() and (known := kept.read_text(encoding="utf-8")).startswith(marked):
        return known
    if not lock:
        raise BadInput(f"{folder / REQUIREMENTS}: every line needs ==version and --hash: uv pip compile writes them")
    locked = marked + _locked(text, folder)
    kept.write_text(locked, encoding="utf-8")
    return locked


def _wheels(lock: Path, target: Target, tree: Path) -> Iterator[Entry]:
    """What is installed, less what names this machine: programs with the path of an interpreter, and their hashes."""
    wheels.install(target, lock, tree)
    for entry in archive.entries(tree):
        parts = Path(entry.name).parts
        if parts[0] != "bin" and parts[-1] not in ("RECORD", ".lock") and "__pycache__" not in parts:
            yield entry


def is_locked(text: str) -> bool:
    """Whether every requirement has one version and at least one hash, so that what is installed is what was tested."""
    lines = [line.strip() for line in _CONTINUED.sub(" ", text.replace("\r\n", "\n")).splitlines()]
    needs = [line for line in lines if line and not line.startswith("#")]
    return all(_PINNED.match(line) and "--hash=sha256:" in line for line in needs)


def _locked(text: str, folder: Path) -> str:
    from uv import find_uv_bin

    # Azure and Google run Python on x86-64; from standard input, so that no path of this machine is in the result
    command = [find_uv_bin(), "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    # this interpreter, or uv asks the network for one of that version first
    command += [
        "--python",
        sys.executable,
        "--no-python-downloads",
        "--no-emit-index-url",
        "--python-version",
        PYTHON,
        "--python-platform",
        "x86_64-manylinux_2_28",
        "-",
    ]
    around = {"UV_SYSTEM_CERTS": "true", **os.environ}  # trust what this machine trusts, as pip and npm do
    done = subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, check=False, env=around)  # nosec B603
    if done.returncode:
        why = " ".join(done.stderr.encode("ascii", "ignore").decode().split())
        raise BadInput(f"{folder / REQUIREMENTS}: cannot be locked: {why[:300]}")
    if not is_locked(done.stdout):
        raise BadInput(f"{folder / REQUIREMENTS}: a path or a link cannot be locked by hash: name a released version")
    return done.stdout
