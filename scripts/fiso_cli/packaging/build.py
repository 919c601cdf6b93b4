"""Builds a stage's packages: `build/<stage>/<function>.zip` for each function, `layer-model.zip`, `layer-access.zip`,
and beside each what is in it (`<function>.cdx.json`).

Unchanged inputs give unchanged bytes, and are not built again: wheels are cached by their lock, archives by what is in
them.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.packaging import archive, contents, sbom, wheels
from fiso_cli.packaging.archive import LAYER_ROOT, compile_folder
from fiso_cli.packaging.manifest import ACCESS_LAYER, ACCESS_LAYER_MB, MODEL_LAYER_MB, PACKAGES, FunctionPackage
from fiso_cli.packaging.report import BuildReport, Built
from fiso_cli.packaging.sbom import Distribution
from fiso_cli.packaging.target import Target, architecture_of, for_stage

ROOT = CHECKOUT
MODEL_LAYER = "layer-model"
ACCESS_LOCK = "scripts/requirements/access_layer.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where one build reads and writes."""

    root: Path
    stage: str
    target: Target

    @property
    def output(self) -> Path:
        """The stage's archives."""
        return self.root / "build" / self.stage

    @property
    def cache(self) -> Path:
        """Zipped wheels, shared by all stages with one target."""
        return self.root / "build" / "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """An archive on disk and what is known of it."""

    path: Path
    key: str
    sha256: str
    unzipped_bytes: int
    is_unchanged: bool


def build(
    stage: str, only: Sequence[str] | None = None, *, architecture: str | None = None, root: Path = ROOT
) -> BuildReport:
    """Build the packages of a stage, or `only` those named. `CommandError` if a limit is broken or a lock not met.

    `architecture` is what serverless.yml says for the stage unless it is given.
    """
    place = Workplace(root=root, stage=stage, target=for_stage(stage, architecture or architecture_of(stage, root)))
    chosen = _chosen(only)
    place.output.mkdir(parents=True, exist_ok=True)
    model, access = _build_model_layer(place), _build_access_layer(place)
    with ThreadPoolExecutor(max_workers=2) as pool:
        archives = list(pool.map(lambda package: _build_function(package, place), chosen))
    rows = [
        _row(
            package.name,
            made,
            root,
            unzipped_mb=package.unzipped_mb,
            zip_mb=package.zip_mb,
            beside=model.unzipped_bytes if package.has_model else 0,
        )
        for package, made in zip(chosen, archives, strict=True)
    ]
    for name, made, limit_mb in ((MODEL_LAYER, model, MODEL_LAYER_MB), (ACCESS_LAYER, access, ACCESS_LAYER_MB)):
        rows.append(_row(name, made, root, unzipped_mb=limit_mb, zip_mb=limit_mb))
    report = BuildReport(stage=stage, target=place.target, built=rows)
    if complaints := report.complaints():
        raise CommandError("; ".join(complaints))
    return report


def fetch_wheels(stage: str, *, root: Path = ROOT) -> None:
    """Fetch what a build of the stage would: from then on it needs no network until a lock changes."""
    place = Workplace(root=root, stage=stage, target=for_stage(stage, architecture_of(stage, root)))
    for wanted in (_access_wheels(place), *(_wheels_of(package, place) for package in PACKAGES)):
        wheels.prepare(wanted, place.target, cache=place.cache)


def _chosen(only: Sequence[str] | None) -> list[FunctionPackage]:
    names = [package.name for package in PACKAGES]
    if unknown := sorted(set(only or ()) - set(names)):
        raise CommandError(f"there is no function {unknown[0]}; there are {', '.join(names)}")
    return [package for package in PACKAGES if not only or package.name in only]


def _build_function(package: FunctionPackage, place: Workplace) -> Archived:
    base = wheels.prepare(_wheels_of(package, place), place.target, cache=place.cache)
    sources = contents.of_function(package, place.root)
    compiler = place.target.compiler if package.has_bytecode else None
    key = archive.digest(
        [
            base.key.encode(),
            repr(place.target).encode(),
            str(compiler is not None).encode(),
            archive.digest_of_entries(sources).encode(),
        ]
    )
    finished = place.output / f"{package.name}.zip"
    if known := _known(finished, key):
        return known
    with tempfile.TemporaryDirectory(dir=place.output) as scratch:
        tree, unfinished = Path(scratch, "tree"), Path(scratch, "package.zip")
        tree.mkdir()
        contents.copy(sources, tree)
        if compiler:
            compile_folder(tree, compiler)
        if base.archive:
            shutil.copyfile(base.archive, unfinished)
        archive.append(unfinished, archive.entries(tree))
        return _finish(unfinished, finished, key, base.distributions)


def _wheels_of(package: FunctionPackage, place: Workplace) -> wheels.Wanted:
    return wheels.Wanted(
        name=package.name,
        lock=place.root / "functions" / package.name / "requirements.txt",
        metadata_of=package.metadata_of,
        aws_services=package.aws_services,
        has_bytecode=package.has_bytecode,
    )


def _access_wheels(place: Workplace) -> wheels.Wanted:
    return wheels.Wanted(name=ACCESS_LAYER, lock=place.root / ACCESS_LOCK, root=LAYER_ROOT, folder="python")


def _build_access_layer(place: Workplace) -> Archived:
    """Wheels and nothing else, below `python/`."""
    finished = place.output / f"{ACCESS_LAYER}.zip"
    base = wheels.prepare(_access_wheels(place), place.target, cache=place.cache)
    if base.archive is None:
        raise CommandError(f"{ACCESS_LOCK} is missing; run `make lock`")
    if known := _known(finished, base.key):
        return known
    with tempfile.TemporaryDirectory(dir=place.output) as scratch:
        unfinished = Path(scratch, "layer.zip")
        shutil.copyfile(base.archive, unfinished)
        return _finish(unfinished, finished, base.key, base.distributions, folder="python")


def _build_model_layer(place: Workplace) -> Archived:
    finished = place.output / f"{MODEL_LAYER}.zip"
    with tempfile.TemporaryDirectory(dir=place.output) as scratch:
        files = contents.of_model_layer(place.root / "ml_artifacts", Path(scratch))
        key = archive.digest_of_entries(files)
        if known := _known(finished, key):
            return known
        unfinished = Path(scratch, "layer.zip")
        archive.append(unfinished, files)
        return _finish(unfinished, finished, key)


def _note(finished: Path) -> Path:
    return finished.with_suffix(".json")


def _known(finished: Path, key: str) -> Archived | None:
    """The archive as it was built before, if it was built from the same inputs and is still whole."""
    try:
        note = json.loads(_note(finished).read_bytes())
        if (
            note["key"] != key
            or archive.digest_of_file(finished) != note["sha256"]
            or not sbom.place(finished).exists()
        ):
            return None
        return Archived(
            path=finished, key=key, sha256=note["sha256"], unzipped_bytes=note["unzipped_bytes"], is_unchanged=True
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _finish(
    unfinished: Path, finished: Path, key: str, distributions: Sequence[Distribution] = (), *, folder: str = ""
) -> Archived:
    """`folder` is where in the archive the distributions lie."""
    unfinished.replace(finished)
    sbom.write(finished, distributions, folder=folder)
    made = Archived(
        path=finished,
        key=key,
        sha256=archive.digest_of_file(finished),
        unzipped_bytes=archive.unzipped_bytes(finished),
        is_unchanged=False,
    )
    note = {"key": key, "sha256": made.sha256, "unzipped_bytes": made.unzipped_bytes}
    _note(finished).write_text(json.dumps(note) + "\n")
    return made


def _row(name: str, made: Archived, root: Path, *, unzipped_mb: float, zip_mb: float, beside: int = 0) -> Built:
    """`beside`: unzipped bytes that count with it."""
    return Built(
        name=name,
        path=made.path.relative_to(root).as_posix(),
        sha256=made.sha256,
        zip_bytes=made.path.stat().st_size,
        unzipped_bytes=made.unzipped_bytes,
        counted_bytes=made.unzipped_bytes + beside,
        unzipped_limit_mb=unzipped_mb,
        zip_limit_mb=zip_mb,
        is_unchanged=made.is_unchanged,
    )
