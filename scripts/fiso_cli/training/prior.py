"""The prior: the model trained on the brief's generated set, which ships with FISO."""

from pathlib import Path

from fiso.domain.errors import ModelRefused
from fiso.learning import dataset, synthetic
from fiso.learning.evaluate import by_target
from fiso.learning.export import Origin, package, signed
from fiso.learning.train import Family, Trained
from fiso.learning.train import train as train_estimators
from fiso.ports import ModelFiles, Signer
from fiso.prediction.artifact import TARGETS
from fiso_cli.errors import CommandError
from fiso_cli.rendering import Document, Output, Table, decimals, figure, progress, text
from fiso_cli.training import artifacts, keys


def train(family: str, *, rows: int, out: Path, key: Path | None = None) -> Output:
    """Generate, train, check, sign, write and report. Without `key` a new pair signs, and its private half is gone."""
    signer = keys.new() if key is None else keys.read(key)
    halves = dataset.split(synthetic.generate(rows))
    with progress("training", len(TARGETS) + 1) as bar:

        def done(target: str) -> None:
            bar.say(target)
            bar.advance()

        trained = train_estimators(halves.train, family=Family(family), done=done)
        files = _packaged(trained, halves, signer)
        done("exported")
    try:
        folder = artifacts.write(files, out)
        keys.write_public(signer.public, keys.public_file(out))
    except OSError as error:
        raise CommandError(f"the model could not be written: {error}") from error
    errors = _errors(trained, halves.held_out)
    lines = [
        f"{files.pointer.version}: {len(files.artifact) / 1000:.0f} kB in {folder}",
        f"equal to scikit-learn within {files.card['parity_error']:.1e}",
        f"signed with key {signer.public.id}, whose public half is in {keys.public_file(out)}",
        synthetic.NOTE,
    ]
    title = f"{trained.family.value}, {len(halves.held_out):,} held-out rows"
    document = {"version": files.pointer.version, "folder": str(folder), "key": signer.public.id, "errors": errors}
    return Output(document=document, shown=[_table(title, errors), *lines])


def _packaged(trained: Trained, halves: dataset.Halves, signer: Signer) -> ModelFiles:
    origin = Origin(version_prefix=f"synthetic-{synthetic.SEED}", trained_at=None, note=synthetic.NOTE)
    try:
        return signed(package(trained, halves, origin), signer)
    except ModelRefused as error:
        raise CommandError(f"nothing was written: {error}") from error


def _errors(trained: Trained, held_out: dataset.DataSet) -> list[Document]:
    predicted = {fit.target: fit.predict(held_out.features) for fit in trained.fits}
    return [
        {"target": target, "mean_absolute": of["all"].mean_absolute, "r2": of["all"].r2, "factor": of["all"].geometric}
        for target, of in by_target(predicted, held_out).items()
    ]


def _table(title: str, errors: list[Document]) -> Table:
    return Table(
        title=title,
        columns=[
            text("target"),
            figure("mean absolute error", "mean_absolute", lambda value: f"{value:.4g}"),
            figure("R2", "r2", decimals(3)),
            figure("off by a factor of", "factor", decimals(3)),
        ],
        rows=errors,
    )
