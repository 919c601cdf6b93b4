"""`fiso login-key`: the key that signs the console's sessions."""

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.traffic.stage_access import StageOption

if TYPE_CHECKING:
    from fiso_cli.stored_keys import StoredKeys

login_key_app = typer.Typer(add_completion=False)


@login_key_app.command("login-key")
def login_key(
    *,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Add a new key; sessions under the one before it go on.")
    ] = False,
    stage: StageOption = "local",
) -> None:
    """Make the key that signs the console's sessions, unless there is one. Shows no secret.

    \b
    fiso login-key --stage prod
    fiso login-key --stage prod --rotate     twice in a row, it ends every session
    """
    keys = keys_of(Stage.named(stage))
    terminal.out().print(keys.rotated() if rotate else keys.ensured(), markup=False)


def keys_of(stage: Stage) -> "StoredKeys":
    """A stage's keys, where serverless.yml tells the console that they are."""
    from fiso_cli.stored_keys import StoredKeys

    return StoredKeys(
        stage=stage,
        parameter=f"/fiso/{stage.name}/login-keys",
        new_secret=lambda: secrets.token_urlsafe(32),
        newest="signs",
        older="verifies",
    )
