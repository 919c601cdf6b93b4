"""`fiso diagnose`: options in, whose fault trouble is out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from fiso.codecs.typed import Document
from fiso_cli.errors import FAILED, USAGE, CommandError
from fiso_cli.options import StageOption, UrlOption, functions_here
from fiso_cli.rendering import Output, Part, Table, at, figure, ms, share, text
from fiso_cli.traffic.documents import rows_of

if TYPE_CHECKING:
    from fiso_cli.traffic.gateway import Gateway

Breakers = Mapping[tuple[object, object], str]


def diagnose(
    function: Annotated[
        str, typer.Argument(help="Only this function. Default: all, worst first.", autocompletion=functions_here)
    ] = "",
    *,
    since: Annotated[str, typer.Option("--since", help="How far back, at most 7d: 15m, 1h, 2d.")] = "1h",
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Say whose fault trouble is: which copy, since when, how sure, its siblings' figures, and what to do.

    Reads the newest 1,000 invocations of that time and the folded states; invokes nothing. Callers' own mistakes
    are told, and are no reason to exit 1.

    \b
    exit 0  all is well
    exit 1  something is wrong
    exit 2  it could not be found out

    \b
    fiso diagnose
    fiso diagnose thumbnails --since 6h
    fiso diagnose --stage prod --json | jq '.functions[].findings[]'
    """
    from fiso_cli.traffic.gateway import gateway_of

    try:
        gateway = gateway_of(stage, api_url, to_console=True)
        query = {"since": since, **({"function": function} if function else {})}
        document = gateway.get("api", "diagnosis", query=query)
        is_well = document.get("is_well") is True
        shown = parts(document, _breakers(gateway), since=since)
    except CommandError as error:
        error.exit_code = USAGE  # 1 says that something is wrong
        raise
    return Output(document=document, shown=shown, exit_code=0 if is_well else FAILED)


def _breakers(gateway: "Gateway") -> Breakers:
    """What one environment holds of breakers; nothing where it cannot be asked: the diagnosis does without."""
    from fiso_cli.traffic.tables import breaker_cell

    try:
        rows = rows_of(gateway.get("v1", "endpoints"), "endpoints")
    except CommandError:
        return {}
    return {(row.get("function"), row.get("endpoint")): breaker_cell(row) for row in rows}


def parts(document: Document, breakers: Breakers, *, since: str) -> list[Part]:
    """A line on how it is altogether; then each function, its findings and its copies."""
    functions = rows_of(document, "functions")
    wrong = [row for row in functions if not row.get("is_well")]
    most = " (the newest only)" if document.get("is_cut") else ""
    said = f"{document.get('records')} invocations in the last {since}{most}"
    if not functions:
        return [f"the catalog has no function; {said}"]
    head = f"all is well: {said}" if not wrong else f"something is wrong with {len(wrong)} of {len(functions)}: {said}"
    shown: list[Part] = [head]
    for row in functions:
        for finding in rows_of(row, "findings"):
            shown += ["", _finding(row, finding)]
        shown += ["", _copies(row, breakers)]
    return shown


def _finding(function: Document, finding: Document) -> Table:
    """What is wrong, a line each; a table, since it folds where a screen ends."""
    whose = finding.get("copy") or "every copy that was called"
    where = f" ({finding['provider']} {finding['region']})" if finding.get("copy") else ""
    chance = finding.get("chance")
    odds = (
        f"; by chance at most once in {1 / max(chance, 1e-12):,.0f}"
        if isinstance(chance, float | int) and chance
        else ""
    )
    lines = [
        ("fault", f"{finding.get('verdict')}, {finding.get('sure')}: {finding.get('why')}{odds}"),
        ("what", f"{finding.get('what')}, {finding.get('bad')} of {finding.get('calls')} calls"),
        ("since", _time(finding)),
        ("shown by", finding.get("evidence")),
        ("example", finding.get("example")),
        *(("" if number else "copies then", _sibling(row)) for number, row in enumerate(rows_of(finding, "figures"))),
        ("do", finding.get("what_to_do")),
    ]
    return Table(
        title=f"{function.get('function')}: {whose}{where}",
        columns=[text("", lambda row: row[0]), text("", lambda row: row[1])],
        rows=[line for line in lines if line[1]],
        has_header=False,
    )


def _time(finding: Document) -> str:
    since, until = finding.get("since"), finding.get("until")
    began = f"{str(since)[:19].replace('T', ' ')} UTC" if since else "unknown"
    older = " or before" if finding.get("is_since_before") else ""
    return f"{began}{older}" + (f", over at {str(until)[11:19]} UTC" if until else "")


def _sibling(row: Document) -> str:
    calls, odd, median = row.get("calls"), row.get("odd"), row.get("median_ms")
    bad = share(odd / calls) if isinstance(odd, int) and isinstance(calls, int) and calls else "-"
    return f"{row.get('copy')} {calls} calls, {bad} bad, {ms(median)} ms"


def _copies(function: Document, breakers: Breakers) -> Table:
    name = function.get("function")
    return Table(
        title=f"{name}: {'well' if function.get('is_well') else 'wrong'}",
        columns=[
            text("copy"),
            text("provider/region", lambda row: f"{row.get('provider')}/{row.get('region')}", spare=3),
            figure("calls"),
            figure("bad"),
            text("whose fault", lambda row: _verdicts(at(row, "verdicts")), spare=1),
            figure("median ms", "median_ms", ms),
            text("standing"),
            text("breaker", lambda row: breakers.get((name, row.get("copy")), "not read"), spare=2),
        ],
        rows=rows_of(function, "copies"),
    )


def _verdicts(counts: object) -> str:
    found = counts if isinstance(counts, Mapping) else {}
    return ", ".join(f"{verdict} {count}" for verdict, count in found.items()) or "-"
