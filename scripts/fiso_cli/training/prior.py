"""The prior: the model trained on the brief's generated set, which ships with FISO."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fiso.domain.errors import ModelRefused
from fiso.learning import dataset, synthetic
from fiso.learning.evaluate import Errors, by_target
from fiso.learning.export import Origin, package
from fiso.learning.signing import signed
from fiso.learning.train import Family, Trained
from fiso.learning.train import train as train_estimators
from fiso.ports import ModelFiles, ModelSigner
from fiso.prediction.artifact import TARGETS
from fiso_cli.errors import CommandError
from fiso_cli.training import artifacts, keys


def train(family: str, *, rows: int, out: Path, key: Path | None = None) -> None:
    """Generate, train, check, sign, write and report. Without `key` a new pair signs, and its private half is gone."""
    signer = keys.new() if key is None else keys.read(key)
    console = Console(highlight=False)
    halves = dataset.split(synthetic.generate(rows))
    with _progress(console) as progress:
        task = progress.add_task("training", total=len(TARGETS) + 1)
        trained = _trained(halves.train, family, lambda target: progress.update(task, advance=1, description=target))
        files = _packaged(trained, halves, signer)
        progress.update(task, advance=1, description="exported")
    try:
        folder = artifacts.write(files, out)
        keys.write_public(signer.public, keys.public_file(out))
    except OSError as error:
        raise CommandError(f"the model could not be written: {error}") from error
    console.print(_table(trained, halves.held_out))
    console.print(
        f"{files.pointer.version}: {len(files.artifact) / 1000:.0f} kB in {folder}, "
        f"equal to scikit-learn within {files.card['parity_error']:.1e}"
    )
    public = f"signed with key {signer.public.id}, whose public half is in {keys.public_file(out)}"
    console.print(public, soft_wrap=True)
    console.print(synthetic.NOTE, soft_wrap=True)


def _trained(data: dataset.DataSet, family: str, done: Callable[[str], None]) -> Trained:
    return train_estimators(data, family=Family(family), done=done)


def _packaged(trained: Trained, halves: dataset.Halves, signer: ModelSigner) -> ModelFiles:
    origin = Origin(version_prefix=f"synthetic-{synthetic.SEED}", trained_at=None, note=synthetic.NOTE)
    try:
        return signed(package(trained, halves, origin), signer)
    except ModelRefused as error:
        raise CommandError(f"nothing was written: {error}") from error


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _table(trained: Trained, held_out: dataset.DataSet) -> Table:
    table = Table(title=f"{trained.family.value}, {len(held_out):,} held-out rows")
    table.add_column("target")
    for name in ("mean absolute error", "R2", "off by a factor of"):
        table.add_column(name, justify="right")
    report = by_target({fit.target: fit.predict(held_out.features) for fit in trained.fits}, held_out)
    for target, groups in report.items():
        table.add_row(target, *_cells(groups))
    return table


def _cells(groups: Mapping[str, Errors]) -> list[str]:
    found = groups["all"]
    optional = [found.r2, found.geometric]
    return [f"{found.mean_absolute:.4g}", *("-" if value is None else f"{value:.3f}" for value in optional)]
