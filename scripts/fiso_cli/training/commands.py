"""`fiso train` and `fiso retrain`: the packaged prior, and a retraining by the deployed retrainer."""

from pathlib import Path
from typing import Annotated

import typer

from fiso_cli.errors import CommandError

FAMILIES = ("boosting", "forest")
FEWEST_ROWS, MOST_ROWS = 200, 5_000_000


def train_command(
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Train on the brief's generated set.")] = False,
    family: Annotated[str, typer.Option(help="boosting, or the random forest the brief asks for.")] = "boosting",
    rows: Annotated[int, typer.Option(help="Rows to generate.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("ml_artifacts"),
    key: Annotated[Path | None, typer.Option(help="A signing key's file; without it a new key signs once.")] = None,
) -> None:
    """Train the packaged model, a prior for a router that has seen nothing yet, and sign it.

    The key's public half goes into the code package (shared/fiso/prediction/model_keys.json); whoever serves trusts no
    other. The private half of a new key is thrown away: training again makes another.

    \b
    fiso train --synthetic
    fiso train --synthetic --key ~/fiso-model-key
    """
    if not synthetic:
        raise CommandError(
            "only the packaged prior is trained here: add --synthetic, or run `fiso retrain` for records"
        )
    if family not in FAMILIES:
        raise CommandError(f"--family must be {' or '.join(FAMILIES)}, not {family!r}")
    if not FEWEST_ROWS <= rows <= MOST_ROWS:
        raise CommandError(f"--rows must be from {FEWEST_ROWS} to {MOST_ROWS}, not {rows}")
    from fiso_cli.training import prior  # scikit-learn takes a second to import

    prior.train(family, rows=rows, out=out, key=key)


def retrain_command(
    stage: Annotated[str, typer.Option("--stage", help="The stage to retrain on.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Retrain now, by the deployed retrainer, on the archived records; prints the recorded run."""
    from fiso_cli.training import remote

    remote.show(remote.retrain(stage), as_json=as_json)


def model_key_command(
    stage: Annotated[str, typer.Option("--stage", help="The stage whose retrainer signs.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the public half of the key that a stage's models are signed with: the orchestrator is deployed with it.

    \b
    fiso model-key
    FISO_MODEL_KEYS=$(fiso model-key --stage prod --json | jq -r .public) serverless deploy --stage prod
    """
    from fiso_cli.training import remote

    remote.show_key(stage, as_json=as_json)


train_app = typer.Typer(add_completion=False)
train_app.command("train")(train_command)

retrain_app = typer.Typer(add_completion=False)
retrain_app.command("retrain")(retrain_command)

model_key_app = typer.Typer(add_completion=False)
model_key_app.command("model-key")(model_key_command)
