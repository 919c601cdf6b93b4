"""`fiso tariffs used`: what an account's functions used of a month, by the log, as `prices` of fiso.yaml declare it."""

from collections import defaultdict
from datetime import UTC, datetime
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.options import LogOption, SinceOption, StageOption
from fiso_cli.rendering import Output, Table, figure, text
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso.billing.measured_use import Use
    from fiso.domain.endpoint import Provider
    from fiso_cli.reports.bills.usage import Usage
    from fiso_cli.what_if.records import Log

DEFAULT_SINCE = "62d"
"""This month and the last, whatever day it is."""


def used(
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The catalog's file; else the stage's, or fiso.yaml here with --log."),
    ] = None,
) -> Output:
    """What all functions together used of each cloud in a month, data included, and how to declare it.

    The router counts each function's own use for itself; tiers and free tiers are an account's. This month counts for
    at least what the last one came to. What else the account runs is not in FISO's log: add it.

    \b
    fiso tariffs used --stage prod
    fiso tariffs used --log records.jsonl.gz -f fiso.yaml --json
    """
    from fiso_cli.reports.bills import beside
    from fiso_cli.reports.bills.resources import Resources
    from fiso_cli.reports.bills.usage import Usage
    from fiso_cli.what_if import records

    now, where = datetime.now(UTC), Stage.named(stage)
    resources = Resources(beside.catalog(where, log, file))
    usage = Usage(resources.endpoints, resources.terms)
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now, most=None) as logged:
        found, unplaced = _by_provider(logged, usage, router_region=where.region, now=None if log else now)
    rows = [{"provider": provider.value, **_declared(use)} for provider, use in sorted(found.items())]
    table = Table(
        title="Used in a month, called by FISO",
        columns=[
            text("provider"),
            figure("requests", "monthly_requests", _whole),
            figure("GB-s", "monthly_gb_seconds", _whole),
            figure("vCPU-s", "monthly_vcpu_seconds", _whole),
            figure("GB sent", "monthly_transfer_gb", _whole),
        ],
        rows=rows,
    )
    declared = [
        f"    {provider}: {{{', '.join(f'{key}: {amount}' for key, amount in _declared(use).items() if amount)}}}"
        for provider, use in sorted(found.items())
    ]
    how = ["To declare it, with what else these accounts use:", "defaults:", "  prices:", *declared] if declared else []
    left_out = [f"note: {name} is not in: neither catalog nor log says where it is" for name in unplaced]
    document = {"accounts": rows, "left_out": unplaced}
    return Output(document=document, shown=[table, *how], remarks=[*logged.remarks, *left_out])


def _by_provider(
    logged: "Log", usage: "Usage", *, router_region: str, now: datetime | None
) -> "tuple[dict[Provider, Use], list[str]]":
    """Of the month of the last call, of a file of any age; else of this one. And the copies that are nowhere."""
    from fiso.billing.measured_use import NONE, Use, measured
    from fiso.domain.state import EndpointState
    from fiso.routing.fold import with_use
    from fiso_cli.reports.bills.usage import Copy

    states: dict[Copy, EndpointState] = {}
    for record in usage.watching(logged.records):
        for attempt in record.attempts:
            copy = Copy(record.request.function_name, attempt.endpoint)
            known = states.get(copy) or EndpointState(function=copy.function, endpoint=copy.endpoint)
            states[copy] = with_use(known, record, attempt)
            now = attempt.started_at if now is None else max(now, attempt.started_at)
    found: defaultdict[Provider, Use] = defaultdict(lambda: NONE)
    for copy, state in states.items():
        endpoint = usage.endpoints.get(copy)
        if endpoint is not None and now is not None:
            terms, of_copy = usage.terms.get(copy), {copy.endpoint: state}
            for provider, use in measured([endpoint], of_copy, now, terms=terms, router_region=router_region).items():
                found[provider] = Use(*map(add, found[provider], use))
    return dict(found), sorted(f"{copy.function}/{copy.endpoint}" for copy in states if copy not in usage.endpoints)


def _declared(use: "Use") -> dict[str, int]:
    return {f"monthly_{name}": round(amount) for name, amount in use._asdict().items()}


def _whole(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
