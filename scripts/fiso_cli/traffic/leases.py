"""`fiso lease` and `fiso lease-key`: the lease a client would get now, and the key that leases are signed with."""

import secrets
from typing import Annotated

import typer

from fiso_cli.stage import Stage
from fiso_cli.stored_keys import StoredKeys
from fiso_cli.traffic import payload, tables, terminal
from fiso_cli.traffic.documents import text
from fiso_cli.traffic.invoke import DataOption
from fiso_cli.traffic.stage_access import JsonOption, StageOption, UrlOption, gateway_of

lease_app, lease_key_app = typer.Typer(), typer.Typer()


@lease_app.command()
def lease(
    function: Annotated[str, typer.Argument(help="The function's name in the catalog.")],
    *,
    data: DataOption = "",
    user_region: Annotated[str, typer.Option(help="Where the user is, for region affinity.")] = "",
    stage: StageOption = "local",
    api_url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the lease a client would get: where to call, in which order, until when. Invokes nothing.

    \b
    fiso lease word-count --data 'one two'
    fiso lease compress --json
    """
    headers = {"x-fiso-request-size": str(len(payload.read(data)))}
    if user_region:
        headers["x-fiso-user-region"] = user_region
    document = gateway_of(stage, api_url).post("v1", "decide", function, body=b"", headers=headers)
    if as_json:
        terminal.write_json(document)
        return
    console = terminal.out()
    console.print(tables.of_lease(document))
    console.print(
        f"token of {len(text(document['token']))} characters, outcomes until {text(document['reported_until'])}, "
        f"model {text(document['model_version'])}, policy {document['policy_version']}",
        style="dim",
        markup=False,
    )


@lease_key_app.command("lease-key")
def lease_key(
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="Add a new key; the one before it still verifies.")] = False,
    stage: StageOption = "local",
) -> None:
    """Make the key that a stage's leases are signed with, unless there is one. Shows no secret.

    \b
    fiso lease-key --stage prod
    fiso lease-key --stage prod --rotate
    """
    target = Stage.named(stage)
    terminal.out().print(rotated(target) if rotate else ensured(target), markup=False)


def parameter_of(stage: Stage) -> str:
    """Where a stage's keys are, as serverless.yml tells the orchestrator."""
    return f"/fiso/{stage.name}/lease-keys"


def ensured(stage: Stage) -> str:
    """Make the first key unless there is one; one line about it."""
    return _keys(stage).ensured()


def rotated(stage: Stage) -> str:
    """A new key before the newest; one line about it."""
    return _keys(stage).rotated()


def _keys(stage: Stage) -> StoredKeys:
    return StoredKeys(
        stage=stage,
        parameter=parameter_of(stage),
        new_secret=lambda: secrets.token_hex(32),
        newest="signs",
        older="verifies",
    )
