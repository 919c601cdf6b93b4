"""`fiso invoke | explain | endpoints | lease | tail`: options in, what the API answered out."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import (
    ContentTypeOption,
    DataOption,
    FunctionArgument,
    RegionOption,
    StageOption,
    UrlOption,
    functions_here,
)
from fiso_cli.rendering import Output, remark

if TYPE_CHECKING:
    from fiso_cli.traffic.gateway import Gateway

PAGE = 200
"""Records in one answer of the log."""
INTERVAL_S = 1.0


def invoke(  # noqa: PLR0913 - a command's options
    function: FunctionArgument,
    *,
    data: DataOption = "",
    requests: Annotated[int, typer.Option("-n", "--requests", min=1, help="How many requests to send.")] = 1,
    concurrency: Annotated[int, typer.Option("-c", "--concurrency", min=1, max=256, help="How many at once.")] = 1,
    method: Annotated[str, typer.Option("-X", "--method", help="GET, PUT, HEAD …; POST where none is named.")] = "POST",
    path: Annotated[str, typer.Option(help="What follows the function's name, as in /users/7.")] = "",
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", help="'Name: value' of a header; repeatable.")
    ] = None,
    content_type: ContentTypeOption = "",
    query: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the query string; repeatable.")] = None,
    user_region: RegionOption = "",
    idempotency_key: Annotated[str, typer.Option(help="Makes repeating this request safe.")] = "",
    timeout_ms: Annotated[int, typer.Option(min=0, help="The whole request's deadline; 0: the policy's.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer's body to this file.")] = None,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Send requests to a function and show who answered and why.

    One request prints the function's own answer, and on standard error who gave it. Several print a table per provider.
    Exits 1 if any request failed.

    \b
    fiso invoke word-count --data 'one two two'
    fiso invoke compress --data @photo.raw --output photo.z
    fiso invoke users -X PATCH --path /7 -H 'if-match: "3"' -d '{"name": "Ada"}'
    fiso invoke graph-bfs --data @graph.json -n 200 -c 4 --user-region eu-west-1
    """
    from fiso_cli.traffic import payload
    from fiso_cli.traffic.calls import Call, Load
    from fiso_cli.traffic.gateway import ANSWER_TIMEOUT_S, gateway_of
    from fiso_cli.traffic.invoke import many, once

    if requests > 1 and output is not None:
        raise BadInput("--output takes the answer of one request: leave out -n, or --output")
    body = payload.read(data)
    headers = {
        **payload.headers(header or []),
        "x-fiso-user-region": user_region,
        "idempotency-key": idempotency_key,
        "x-fiso-timeout-ms": str(timeout_ms) if timeout_ms else "",
    }
    call = Call(
        function=function,
        body=body,
        content_type=content_type or (payload.content_type_of(body) if body or method == "POST" else ""),
        method=payload.method(method),
        path=payload.path(path),
        query=payload.pairs(query or []),
        headers={name: value for name, value in headers.items() if value},
    )
    gateway = gateway_of(stage, api_url, timeout_s=max(ANSWER_TIMEOUT_S, timeout_ms / 1000 + 5))
    if requests == 1:
        return once(gateway, call, output)
    return many(gateway, Load(calls=[call] * requests, concurrency=concurrency))


def explain(
    function: FunctionArgument,
    *,
    data: DataOption = "",
    content_type: ContentTypeOption = "",
    user_region: RegionOption = "",
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Show the decision that this request would get: ranking, predictions, scores, exclusions. Invokes nothing.

    \b
    fiso explain compress --data @photo.raw
    fiso explain word-count --data 'one two' --user-region eu-west-1 --json
    """
    from fiso_cli.traffic import payload, tables
    from fiso_cli.traffic.gateway import gateway_of

    body = payload.read(data)
    headers = {"content-type": content_type or payload.content_type_of(body), **_region(user_region)}
    decision = gateway_of(stage, api_url).post("v1", "explain", function, body=body, headers=headers)
    return Output(document=decision, shown=tables.of_decision(decision))


def endpoints(*, stage: StageOption = "local", api_url: UrlOption = "") -> Output:
    """Show every endpoint with its state: breaker (until when and why), latency, load, errors.

    \b
    fiso endpoints
    fiso endpoints --json
    """
    from fiso_cli.traffic import tables
    from fiso_cli.traffic.gateway import gateway_of

    document = gateway_of(stage, api_url).get("v1", "endpoints")
    return Output(document=document, shown=[tables.of_endpoints(document)])


def lease(
    function: FunctionArgument,
    *,
    data: DataOption = "",
    user_region: RegionOption = "",
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Show the lease a client would get: where to call, in which order, until when. Invokes nothing.

    \b
    fiso lease word-count --data 'one two'
    fiso lease compress --json
    """
    from fiso_cli.traffic import payload, tables
    from fiso_cli.traffic.gateway import gateway_of

    headers = {"x-fiso-request-size": str(len(payload.read(data))), **_region(user_region)}
    document = gateway_of(stage, api_url).post("v1", "decide", function, body=b"", headers=headers)
    return Output(document=document, shown=[tables.of_lease(document)])


def tail(
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    function: Annotated[str, typer.Option(help="Only this function.", autocompletion=functions_here)] = "",
    count: Annotated[int, typer.Option("-n", "--lines", min=0, max=PAGE, help="How many past ones to show.")] = 20,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Iterator[Output]:
    """Show the latest invocations and why each went where it went; -f goes on live.

    \b
    fiso tail -f
    fiso tail --function compress -n 50
    fiso tail -f --json | jq .endpoint
    """
    from fiso_cli.traffic.following import Follower
    from fiso_cli.traffic.gateway import gateway_of
    from fiso_cli.traffic.lines import header, of_record

    gateway = gateway_of(stage, api_url, to_console=True)
    follower = Follower(gateway, function or None, page=PAGE)
    latest = follower.latest(count)
    if function and count and not latest:
        _refuse_unknown(gateway, function)
    yield header()
    yield from map(of_record, latest)
    while follow:
        time.sleep(INTERVAL_S)
        yield from map(of_record, follower.poll())
        if follower.may_have_skipped:
            remark(f"more than {PAGE} came at once: some are not shown")


def _region(user_region: str) -> Mapping[str, str]:
    return {"x-fiso-user-region": user_region} if user_region else {}


def _refuse_unknown(gateway: "Gateway", function: str) -> None:
    """A function without a record may have been called by nobody yet, or be misspelt."""
    from fiso_cli.traffic.documents import rows_of

    known = sorted({str(row.get("function")) for row in rows_of(gateway.get("v1", "endpoints"), "endpoints")})
    if function not in known:
        raise CommandError(
            f"no function {function!r} in the catalog, and none in the log; there are {', '.join(known)}"
        )
