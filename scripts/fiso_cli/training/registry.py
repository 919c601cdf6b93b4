"""`fiso model list | show | compare | export | promote | rollback | pin`: a stage's models. Reading is by the
operator's own rights on the bucket; what changes the champion is asked of the keeper, which alone may."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Document, Output, Table, decimals, figure, text
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso.domain.model import ModelPointer
    from fiso.ports import ModelFiles

WITHIN_S = 50.0
VersionArgument = Annotated[str, typer.Argument(help="A version, as `fiso model list` names it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One model: where it stands, and what its card says."""

    version: str
    state: str
    card: Mapping[str, Any]

    @property
    def document(self) -> Document:
        return asdict(self)


def list_models(*, stage: StageOption = "local") -> Output:
    """Every model that a stage keeps: candidates, the champion, and those before it.

    \b
    fiso model list
    fiso model list --stage prod --json
    """
    found = _versions(Stage.named(stage))
    columns = [
        text("version", lambda row: row.version),
        text("state", lambda row: row.state),
        text("family", lambda row: row.card.get("family"), spare=2),
        figure("rows", lambda row: (row.card.get("rows") or {}).get("trained_on")),
        figure("off by a factor of", lambda row: _latency(row.card).get("geometric"), decimals(3)),
        text("parent", lambda row: row.card.get("parent"), spare=1),
    ]
    lines = [] if found else ["no model was trained on this stage yet: `fiso retrain` does; the packaged one serves"]
    return Output(
        document={"models": [each.document for each in found]}, shown=[Table(columns=columns, rows=found), *lines]
    )


def show(version: VersionArgument, *, stage: StageOption = "local") -> Output:
    """One model's card: rows, window, parent, errors per target and cloud, libraries.

    \b
    fiso model show 20261130T031500Z-8198b90c --stage prod
    """
    found = _version(_versions(Stage.named(stage)), version)
    card = found.card
    window = " to ".join(card.get("window") or []) or "not recorded"
    rows = [
        {"target": target, "of": group, **errors}
        for target, groups in (card.get("metrics_on_held_out_rows") or {}).items()
        for group, errors in groups.items()
    ]
    columns = [
        text("target"),
        text("of"),
        figure("rows"),
        figure("mean absolute error", "mean_absolute", lambda value: f"{value:.4g}"),
        figure("R2", "r2", decimals(3)),
        figure("off by a factor of", "geometric", decimals(3)),
    ]
    kilobytes = card.get("artifact_bytes", 0) / 1000
    lines = [
        f"{found.version}: {found.state}, {card.get('family', 'of before')}, {kilobytes:.0f} kB",
        f"rows from {window}, parent {card.get('parent') or '-'}",
        f"sha256 {card.get('sha256', '-')}",
    ]
    return Output(document=found.document, shown=[*lines, Table(columns=columns, rows=rows)])


def compare(one: VersionArgument, other: VersionArgument, *, stage: StageOption = "local") -> Output:
    """Two models' errors side by side, each on the newest rows that it had not seen.

    \b
    fiso model compare 20261129T031500Z-1111aaaa 20261130T031500Z-2222bbbb
    """
    versions = _versions(Stage.named(stage))
    both = [_version(versions, each) for each in (one, other)]
    metrics = [each.card.get("metrics_on_held_out_rows") or {} for each in both]
    rows = [
        {
            "target": target,
            "of": group,
            "one": _error(metrics[0], target, group),
            "other": _error(metrics[1], target, group),
        }
        for target in sorted(set(metrics[0]) | set(metrics[1]))
        for group in sorted(set(metrics[0].get(target, {})) | set(metrics[1].get(target, {})))
    ]
    columns = [
        text("target"),
        text("of"),
        figure("first", "one", lambda value: f"{value:.4g}"),
        figure("second", "other", lambda value: f"{value:.4g}"),
    ]
    note = (
        "mean absolute errors; each on rows of its own: the paired comparison is the retraining's (fiso retrain --last)"
    )
    return Output(
        document={"models": [each.document for each in both], "mean_absolute": rows},
        shown=[Table(columns=columns, rows=rows, notes=[note])],
    )


def export(
    version: Annotated[str, typer.Argument(help="A version as `fiso model list` names it, or packaged.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of MLflow's file store.")] = Path("mlruns"),
    form: Annotated[str, typer.Option("--format", help="mlflow.")] = "mlflow",
    stage: StageOption = "local",
) -> Output:
    """Write a version as MLflow keeps one: model, signature, parameters, errors as metrics, and where it comes from.

    Versions go into one store, each once. `mlflow ui --backend-store-uri mlruns` shows them; `mlflow.pyfunc.load_model`
    predicts with one without FISO, pandas given.

    \b
    fiso model export 20261130T031500Z-2222bbbb --stage prod --format mlflow
    fiso model export packaged --out mlruns
    """
    from fiso.domain.errors import ModelRefused
    from fiso_cli.training import mlflow_layout

    if form != "mlflow":
        raise BadInput(f"--format must be mlflow, not {form[:60]!r}")
    try:
        files, state = _packaged() if version == "packaged" else _stored(Stage.named(stage), version)
        folder = mlflow_layout.write(files, out, state=state)
    except (ModelRefused, ValueError) as error:
        raise CommandError(f"nothing was exported: {error}") from error
    except OSError as error:
        raise CommandError(f"the model could not be written: {error}") from error
    run = mlflow_layout.run_id(files.pointer.version)
    document = {"version": files.pointer.version, "run_id": run, "folder": str(folder)}
    return Output(document=document, shown=[f"{files.pointer.version}: run {run} of {out}", f"model in {folder}"])


def _packaged() -> tuple["ModelFiles", str]:
    import json

    from fiso.adapters.aws.models import LayerModelStore
    from fiso.domain.errors import ModelRefused
    from fiso.ports import ModelFiles
    from fiso.prediction import manifest
    from fiso_cli.local_stage import CHECKOUT

    store = LayerModelStore(CHECKOUT / "ml_artifacts")
    pointer = store.champion()
    if pointer is None:
        raise ModelRefused("there is no packaged model here: `fiso train --synthetic` makes one")
    artifact = store.artifact(pointer)
    manifest.read(pointer, artifact, manifest.packaged_keys())
    card = json.loads((CHECKOUT / "ml_artifacts" / pointer.version / "model_card.json").read_bytes())
    return ModelFiles(pointer=pointer, artifact=artifact, card=card), "packaged"


def _stored(stage: Stage, version: str) -> tuple["ModelFiles", str]:
    """Its bytes are those that its pointer names, or nothing is exported."""
    from fiso.adapters.aws.candidates import S3Candidates
    from fiso.adapters.aws.models import S3ModelStore
    from fiso.domain.errors import ModelRefused
    from fiso.ports import ModelFiles
    from fiso.prediction import artifact

    found = _version(_versions(stage), version)
    files = None
    with stage.wrapped_errors():
        client, bucket = stage.client("s3"), stage.bucket
        if found.state == "candidate":
            files = S3Candidates(client, bucket).get(version, admitted=False)
        else:
            store = S3ModelStore(client, bucket)
            pointer = store.promoted(version)
            if pointer is not None:
                files = ModelFiles(pointer=pointer, artifact=store.artifact(pointer), card=found.card)
    if files is None:
        raise ModelRefused(f"{version} is not whole on this stage")
    artifact.read(files.artifact, sha256=files.pointer.sha256)
    return files, found.state


def promote(version: VersionArgument, *, stage: StageOption = "local") -> Output:
    """Make a candidate, or a model of before, the champion. The keeper checks its file and golden rows first.

    \b
    fiso model promote 20261130T031500Z-2222bbbb --stage prod
    """
    _admit(Stage.named(stage), version)
    return _done(stage, {"do": "promote", "version": version}, "serves from the next request on")


def rollback(*, stage: StageOption = "local") -> Output:
    """The model before the champion again, with a new number.

    \b
    fiso model rollback --stage prod
    """
    return _done(stage, {"do": "roll_back"}, "serves again")


def pin(
    version: Annotated[str, typer.Argument(help="The version to keep; it becomes the champion.")] = "",
    *,
    off: Annotated[bool, typer.Option("--off", help="Lift the pin.")] = False,
    stage: StageOption = "local",
) -> Output:
    """Keep a model the champion, whatever retraining finds, until the pin is lifted.

    \b
    fiso model pin 20261130T031500Z-2222bbbb --stage prod
    fiso model pin --off --stage prod
    """
    if off == bool(version):
        raise BadInput("say which version is to be kept, or --off")
    order = {"do": "unpin"} if off else {"do": "pin", "version": version}
    return _done(stage, order, "serves; the next better one takes its place" if off else "serves and is kept")


def _admit(stage: Stage, version: str) -> None:
    """A candidate that came from elsewhere, as of `fiso train --on`, is offered by the operator's word first."""
    from fiso.adapters.aws.candidates import S3Candidates, offer_of

    with stage.wrapped_errors():
        candidates = S3Candidates(stage.client("s3"), stage.bucket)
        found = candidates.get(version, admitted=False) if candidates.get(version) is None else None
        order = None if found is None else offer_of(found, replaces=None, promote=False)
    if order is not None:
        said = stage.invoke("keeper", {"model": order}, within_s=WITHIN_S)
        if "refused" in said:
            raise CommandError(f"models are as they were: {said['refused']}")


def _done(stage: str, order: Mapping[str, object], what: str) -> Output:
    said = Stage.named(stage).invoke("keeper", {"model": order}, within_s=WITHIN_S)
    if "refused" in said:
        raise CommandError(f"models are as they were: {said['refused']}")
    if "model" not in said:
        raise CommandError("the stage's keeper is of before and promotes no models: deploy the stage")
    champion = said["model"] or {}
    return Output(document=said, shown=[f"{champion.get('version', 'the packaged model')} {what}"])


def _versions(stage: Stage) -> Sequence[Version]:
    """The champion first, then the newest."""
    from fiso.adapters.aws.candidates import S3Candidates, S3Pins
    from fiso.adapters.aws.models import S3ModelStore
    from fiso.adapters.aws.s3 import Bucket

    with stage.wrapped_errors():
        client, bucket = stage.client("s3"), stage.bucket
        objects, store = Bucket(client, bucket), S3ModelStore(client, bucket)
        champion, pinned = store.champion(), S3Pins(client, bucket).pinned()
        serving = champion.version if champion is not None else None
        before = champion.previous.version if champion is not None and champion.previous is not None else None
        names = {serving: "champion", before: "before it"}
        trial = champion.trial if champion is not None else None
        if trial is not None:
            names[trial.version] = _on_trial(trial)
        found = [
            Version(
                version=each,
                state=names.get(each, "promoted once") + (", pinned" if each == pinned else ""),
                card=objects.read_json(f"models/{each}/model_card.json") or {},
            )
            for each in store.versions()
        ]
        promoted = {each.version for each in found}
        candidates = [each for each in S3Candidates(client, bucket).versions() if each not in promoted]
        found += [
            Version(version=each, state="candidate", card=objects.read_json(f"candidates/{each}/model_card.json") or {})
            for each in candidates
        ]
    ordered = sorted(found, key=lambda each: (each.version[:8].isdigit(), each.version), reverse=True)
    return sorted(ordered, key=lambda each: each.version != serving)


def _on_trial(trial: "ModelPointer") -> str:
    """With what it says of itself; who serves it verifies that."""
    from fiso.domain.errors import ModelRefused
    from fiso.prediction import manifest

    try:
        terms = manifest.unsigned(trial.manifest).trial if trial.manifest is not None else None
    except ModelRefused:
        terms = None
    return "on trial" if terms is None else f"on trial, {terms.share:.0%} until {terms.until:%d %b %H:%M}"


def _version(versions: Sequence[Version], wanted: str) -> Version:
    found = next((each for each in versions if each.version == wanted), None)
    if found is None:
        raise BadInput(f"there is no model {wanted[:60]!r} here: `fiso model list` shows those there are")
    return found


def _latency(card: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (card.get("metrics_on_held_out_rows") or {}).get("execution_time_ms", {}).get("all", {})
    return found


def _error(metrics: Mapping[str, Any], target: str, group: str) -> object:
    return metrics.get(target, {}).get(group, {}).get("mean_absolute")
