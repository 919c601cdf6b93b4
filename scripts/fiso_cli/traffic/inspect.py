"""`fiso explain` and `fiso endpoints`: the decision that would be made now, and the state it would be made on."""

from typing import Annotated

import typer

from fiso_cli.traffic import payload, tables, terminal
from fiso_cli.traffic.documents import items, text
from fiso_cli.traffic.invoke import DataOption
from fiso_cli.traffic.stage_access import JsonOption, StageOption, UrlOption, gateway_of

explain_app, endpoints_app = typer.Typer(), typer.Typer()


@explain_app.command()
def explain(
    function: Annotated[str, typer.Argument(help="The function's name in the catalog.")],
    *,
    data: DataOption = "",
    content_type: Annotated[str, typer.Option(help="Default: application/json if it is JSON, else plain bytes.")] = "",
    user_region: Annotated[str, typer.Option(help="Where the user is, for region affinity.")] = "",
    stage: StageOption = "local",
    api_url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the decision that this request would get: ranking, predictions, scores, exclusions. Invokes nothing.

    fiso explain compress --data @photo.raw
    fiso explain word-count --data 'one two' --user-region eu-west-1 --json
    """
    body = payload.read(data)
    headers = {"content-type": content_type or payload.content_type_of(body)}
    if user_region:
        headers["x-fiso-user-region"] = user_region
    decision = gateway_of(stage, api_url).post("v1", "explain", function, body=body, headers=headers)
    if as_json:
        terminal.write_json(decision)
        return
    console = terminal.out()
    console.print(tables.of_ranking(decision))
    if items(decision["exclusions"]):
        console.print(tables.of_exclusions(decision))
    console.print(
        f"model {text(decision['model_version'])}, tariffs {text(decision['tariff_version'])}, "
        f"policy {decision['policy_version']}, catalog {decision['snapshot_version']}",
        style="dim",
        markup=False,
    )


@endpoints_app.command()
def endpoints(*, stage: StageOption = "local", api_url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show every endpoint with its state: breaker (until when and why), latency, load, errors.

    \b
    fiso endpoints
    fiso endpoints --json
    """
    document = gateway_of(stage, api_url).get("v1", "endpoints")
    if as_json:
        terminal.write_json(document)
    else:
        terminal.out().print(tables.of_endpoints(document))
