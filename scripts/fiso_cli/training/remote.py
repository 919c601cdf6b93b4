"""A stage's retrainer: one invocation on demand, and the key it signs with."""

from collections.abc import Mapping
from typing import Any

from fiso.adapters.http.signers import KmsSigner
from fiso.codecs.signature import PublicKey
from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_cli.training import keys

LONGEST_S = 900
"""A Lambda's 15 minutes."""


def retrain(stage_name: str, *, roll_back: bool = False) -> Mapping[str, Any]:
    """Invoke the retrainer once and wait for the run. `CommandError` when there is none."""
    stage = Stage.named(stage_name)
    asked = {"trigger": "command", "roll_back": roll_back}
    run = stage.invoke("retrainer", asked, within_s=LONGEST_S)
    if "promoted" not in run:
        raise CommandError(f"{stage.function_name('retrainer')} failed: {str(run)[:300]}")
    return run


def last(stage_name: str) -> Mapping[str, Any]:
    """The newest recorded run. `CommandError` when there is none."""
    from fiso.adapters.aws.s3 import S3RetrainingRuns
    from fiso.codecs.run import RUNS

    stage = Stage.named(stage_name)
    with stage.wrapped_errors():
        runs = S3RetrainingRuns(stage.client("s3"), stage.bucket).latest(1)
    if not runs:
        raise CommandError("no retraining has run on this stage yet: `fiso retrain` runs one")
    return RUNS.to_document(runs[0])


def public_key(stage_name: str, signed: str) -> PublicKey:
    """The public half of the stage's key that `models` or the `catalog` is signed with, made on first use on the local
    stage."""
    stage = Stage.named(stage_name)
    if stage.local is not None:
        return keys.ensured(keys.local_file(stage.local, signed)).public
    with stage.wrapped_errors():
        return KmsSigner(stage.client("kms"), f"alias/fiso-{stage.name}-{signed}").public_key()
