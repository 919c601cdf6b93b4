"""`fiso train | retrain | model-key | catalog-key`: the packaged prior, a retraining by the deployed retrainer, and the
keys that a stage signs with."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from fiso_cli.errors import BadInput
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output

FAMILIES = ("hist_gradient_boosting", "random_forest", "linear")
SubscriptionOption = Annotated[str, typer.Option(envvar="AZURE_SUBSCRIPTION_ID", help="azureml: Azure's subscription.")]
FEWEST_ROWS, MOST_ROWS, GENERATED = 200, 5_000_000, 10_000
RowsOption = Annotated[
    int | None, typer.Option(min=FEWEST_ROWS, max=MOST_ROWS, help="Rows, of an archive 1000000 at most otherwise.")
]


def train(  # noqa: PLR0913 - a command's options
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Train on the brief's generated set.")] = False,
    family: Annotated[str, typer.Option(help="hist_gradient_boosting, random_forest or linear.")] = FAMILIES[0],
    rows: RowsOption = None,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("ml_artifacts"),
    key: Annotated[Path | None, typer.Option(help="A signing key's file; without it a new key signs once.")] = None,
    on: Annotated[str | None, typer.Option(help="sagemaker, azureml or vertex: train a stage's rows there.")] = None,
    stage: StageOption = "local",
    image: Annotated[str | None, typer.Option(help="The trainer's image (deploy/training.Dockerfile).")] = None,
    machine: Annotated[str | None, typer.Option(help="Its kind, by the platform's name.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="On machines that may be taken away.")] = False,
    longest_s: Annotated[int, typer.Option(min=60, max=86_400, help="The job is ended after so long.")] = 3600,
    most_usd: Annotated[float | None, typer.Option(help="What it may cost at most; with --hourly-usd.")] = None,
    hourly_usd: Annotated[float | None, typer.Option(help="What the machine costs an hour.")] = None,
    role: Annotated[str | None, typer.Option(help="sagemaker: the ARN of the job's role.")] = None,
    project: Annotated[str | None, typer.Option(help="vertex: Google's project.")] = None,
    region: Annotated[str | None, typer.Option(help="vertex: where it runs.")] = None,
    bucket: Annotated[str | None, typer.Option(help="vertex: a bucket in that region.")] = None,
    subscription: SubscriptionOption = "",
    workspace: Annotated[str, typer.Option(help="azureml: the workspace in the stage's group.")] = "fiso-ml-workspace",
) -> Output:
    """Train the packaged model, a prior for a router that has seen nothing yet, and sign it.

    The key's public half goes into the code package; the private half of a new key is thrown away.

    With --on a stage's rows are trained there and the model becomes a candidate; run again it finds its job again.

    \b
    fiso train --synthetic --key ~/fiso-model-key
    fiso train --on sagemaker --stage prod --image IMAGE --role ARN
    fiso train --on vertex --stage prod --image IMAGE --project P --bucket B
    fiso train --on azureml --stage prod --image IMAGE --subscription S
    """
    if family not in FAMILIES:
        raise BadInput(f"--family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if on is not None:
        from fiso_cli.training.platforms import order

        image = image or _needed("--image", "the trainer's image, built from deploy/training.Dockerfile")
        wanted = order.Wanted(
            on=on,
            stage=stage,
            image=image,
            family=family,
            machine=machine,
            is_spot=spot,
            limits=order.Limits(longest_s=longest_s, most_usd=most_usd, hourly_usd=hourly_usd),
            place=order.Place(
                role=role, subscription=subscription, workspace=workspace, project=project, region=region, bucket=bucket
            ),
            is_synthetic=synthetic,
            most_rows=rows,
        )
        return order.carry_out(wanted, now=datetime.now(UTC))
    if not synthetic:
        raise BadInput("only the packaged prior is trained here: add --synthetic, or run `fiso retrain` for records")
    from fiso_cli.training import prior  # scikit-learn takes a second to import

    return prior.train(family, rows=rows or GENERATED, out=out, key=key)


def _needed(option: str, what: str) -> NoReturn:
    raise BadInput(f"{option} is needed: {what}")


def retrain(
    *,
    stage: StageOption = "local",
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Promote the model before the champion again.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Every step with the figures it rests on.")] = False,
    last: Annotated[bool, typer.Option("--last", help="The last recorded run, without another one.")] = False,
) -> Output:
    """Retrain now, by the deployed retrainer, on the archived records; prints the recorded run, step by step.

    \b
    fiso retrain --stage prod --explain
    fiso retrain --stage prod --explain --last
    fiso retrain --stage prod --roll-back
    """
    if last and roll_back:
        raise BadInput("--last changes nothing: leave --roll-back out")
    from fiso_cli.training import remote

    run = remote.last(stage) if last else remote.retrain(stage, roll_back=roll_back)
    before = f"rows {run['rows']}, champion before {run['champion_version']}"
    lines = [
        f"{'promoted' if run['promoted'] else 'refused'}: {run['reason']}",
        f"{before}, challenger {run['challenger_version'] or '-'}",
    ]
    return Output(document=run, shown=[*lines, *_steps(run, with_figures=explain)])


def _steps(run: Mapping[str, Any], *, with_figures: bool) -> Iterator[str]:
    for step in run.get("steps") or ():
        yield f"{step['verdict']:<8}{step['name']}: {step['reason']}"
        if with_figures:
            yield from (f"          {name:<28}{value:>12,.6g}" for name, value in step["figures"].items())


def model_key(stage: StageOption = "local") -> Output:
    """Show the public half of the key that a stage's models are signed with: the orchestrator is deployed with it.

    \b
    fiso model-key
    fiso model-key --stage prod --json
    """
    return _shown(stage, "models", "model-keys")


def catalog_key(stage: StageOption = "local") -> Output:
    """Show the public half of the key that a stage's catalog is signed with: whoever reads it is deployed with it.

    Without it no catalog is trusted. Two halves with a space between them are trusted both: that is how a key is
    changed under traffic.

    \b
    fiso catalog-key
    fiso catalog-key --stage prod --json
    """
    return _shown(stage, "catalog", "catalog-keys")


def _shown(stage: str, signed: str, setting: str) -> Output:
    from fiso.codecs import signature
    from fiso_cli.training import remote

    public = remote.public_key(stage, signed)
    word = signature.text_of(public.modulus)
    lines = [
        f"{signed} of stage {stage}: signed with key {public.id}",
        f"public half, for parameter /fiso/{stage}/{setting}: {word}",
    ]
    return Output(document={"stage": stage, "id": public.id, "public": word}, shown=lines)
