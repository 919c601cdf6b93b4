"""`fiso smoke`."""

from typing import Annotated

import typer

from fiso_cli.errors import FAILED
from fiso_cli.options import DataOption, StageOption, UrlOption, functions_here
from fiso_cli.rendering import Output


def smoke(
    function: Annotated[
        str, typer.Argument(help="Decide for this one; otherwise the first.", autocompletion=functions_here)
    ] = "",
    *,
    data: DataOption = "",
    call: Annotated[bool, typer.Option("--call", help="Call the function, too, with --data.")] = False,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Ask a stage a few things after a deployment, each told in a line. Without --call nothing of yours is called.

    Exits with 1 when one fails: the deployment is to be rolled back.

    \b
    fiso smoke --stage dev
    fiso smoke thumbnails --stage prod --call --data @photo.jpg
    """
    from fiso_cli.traffic import payload
    from fiso_cli.traffic import smoke as steps
    from fiso_cli.traffic.gateway import gateway_of

    gateway = gateway_of(stage, api_url)
    asked = steps.steps_of(gateway, function, payload.read(data), is_open=gateway.auth is None, calls=call)
    found = list(steps.run(asked))
    rows = [{"step": step, "ok": problem is None, "says": says or problem} for step, says, problem in found]
    shown = [f"{'ok' if row['ok'] else 'FAILED':<7} {row['step']:<10} {row['says']}" for row in rows]
    is_well = all(row["ok"] for row in rows)
    document = {"stage": stage, "ok": is_well, "steps": rows}
    return Output(document=document, shown=shown, exit_code=0 if is_well else FAILED)
