"""`fiso cost`: options in, FISO's own price out."""

from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso.billing.hop import FrontDoor
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput
from fiso_cli.options import LogOption, SinceOption, stages_here
from fiso_cli.rendering import Output

if TYPE_CHECKING:
    from fiso_cli.cost import report

RATES = (1.0, 10.0, 100.0, 1_000.0)
DEFAULT_SINCE = "1d"
MOST_PER_S = 1e6


def cost(  # noqa: PLR0913 - a command's options
    *,
    rate: Annotated[list[float] | None, typer.Option("--rate", help="Requests a second, the month's mean.")] = None,
    ms: Annotated[float, typer.Option("--ms", min=0, max=900_000, help="How long the functions take.")] = 100.0,
    front_door: Annotated[FrontDoor | None, typer.Option(help="Otherwise as serverless.yml has it.")] = None,
    keyed: Annotated[
        float, typer.Option("--keyed", min=0, max=1, help="Share of requests with an Idempotency-Key.")
    ] = 0.0,
    repeatable: Annotated[
        float, typer.Option("--repeatable", min=0, max=1, help="Share of requests that may be repeated.")
    ] = 0.0,
    traced: Annotated[
        float | None, typer.Option("--traced", min=0, max=1, help="Share of requests that X-Ray records.")
    ] = None,
    region: Annotated[str, typer.Option(help="Whose prices count.")] = "us-east-1",
    stage: Annotated[
        str | None, typer.Option("--stage", help="Rate, times and sizes of its log.", autocompletion=stages_here)
    ] = None,
    since: SinceOption = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> Output:
    """What FISO itself costs on AWS, part by part: per million requests and per month, by list prices.

    Without a rate, at 1, 10, 100 and 1,000 requests a second. With a stage or a log, at the rate that it shows, with
    the times and record sizes that it has. What may be repeated (`idempotent: yes`, or GET) needs no intent written.

    \b
    fiso cost
    fiso cost --rate 100 --ms 250 --front-door url
    fiso cost --stage prod --since 7d
    """
    from fiso.billing import hop
    from fiso_cli.cost import measured, monitored, report, template

    if any(not (isfinite(each) and 0 < each <= MOST_PER_S) for each in rate or ()):
        raise BadInput(f"--rate is above 0 and at most {MOST_PER_S:,.0f} requests a second")
    if rate and (stage or log):
        raise BadInput("a stage and a log have a rate of their own: leave out --rate")
    prices, setup = hop.current(region), template.setup(front_door, stage or "prod")
    if traced is not None:
        setup = replace(setup, traced_share=traced)
    loads, work, said = (
        [
            report.Load(rate_per_s=each, waited_ms=ms, keyed_share=keyed, repeatable_share=repeatable)
            for each in rate or RATES
        ],
        None,
        [],
    )
    if stage or log:
        found = _measured(stage, log, since, keyed=keyed, repeatable=repeatable)
        loads, work = [found.load], found.work
        said = [f"{found.records:,} records of {found.load.functions} functions."]
    costs = [report.cost(prices, work or measured.work(), setup, load) for load in loads]
    document = {**report.document(costs, prices, setup), "monitoring": [each._asdict() for each in monitored.told()]}
    return Output(document=document, shown=[*report.parts(costs, prices, setup), *monitored.remarks(), *said])


def _measured(
    stage: str | None, log: Path | None, since: str | None, *, keyed: float, repeatable: float
) -> "report.Measured":
    from fiso_cli.cost import report
    from fiso_cli.stage import Stage
    from fiso_cli.what_if import records

    now, where = datetime.now(UTC), Stage.named(stage or "local")
    wanted = since or (None if log else DEFAULT_SINCE)
    span_s = records.span(wanted).total_seconds() if wanted else None
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now) as logged:
        return report.of_log(
            logged, span_s=span_s, keyed_share=keyed, repeatable_share=repeatable, extent=logged.extent
        )
