"""`fiso tariffs`: what prices FISO goes by, what a month would cost, and new prices from the vendors' own files."""

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fiso.domain.endpoint import Architecture, Plan, Provider
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import YesOption
from fiso_cli.rendering import Output, Table, figure, show, text

if TYPE_CHECKING:
    from fiso.billing.tariff import Tariff
    from fiso_cli.tariffs.renewal import Renewal
    from fiso_cli.tariffs.vendors import Listed

PROJECT_FILE = "shared/fiso/billing/tariffs.json"
GOOGLE_KEY = "FISO_GOOGLE_API_KEY"
FileOption: TypeAlias = Annotated[
    Path | None, typer.Option("--file", help="The file of tariffs. Default: the one of this checkout.")
]


def show_tariffs(
    *,
    provider: Annotated[Provider | None, typer.Option(help="One cloud's only.")] = None,
    region: Annotated[str | None, typer.Option(help="One region's; each cloud's first otherwise.")] = None,
    memory_mb: Annotated[int, typer.Option("--memory-mb", min=1, max=32_768, help="Of the copy.")] = 512,
    file: FileOption = None,
) -> Output:
    """What calls cost under each plan, how old the prices are, and where they are from.

    \b
    fiso tariffs show
    fiso tariffs show --provider aws --region eu-south-1 --memory-mb 1024
    """
    prices = _tariff(file)
    rows = [
        row
        for each in Provider
        if provider in (None, each)
        for row in _rows(prices, each, region or next(iter(prices.lists[each].areas)), memory_mb)
    ]
    table = Table(
        title=f"USD per million calls of {memory_mb} MB, list prices of {prices.as_of} (version {prices.version})",
        columns=[
            text("provider"),
            text("region"),
            text("plan"),
            text("processor", spare=2),
            figure("requests", "requests", _usd),
            figure("100 ms", "ms_100", _usd),
            figure("1 s", "ms_1000", _usd),
            figure("a start of 1 s", "start", _usd, spare=1),
            text("", "note"),
        ],
        rows=rows,
    )
    sources = [
        f"{each}: {line}" for each in Provider for line in prices.lists[each].sources if provider in (None, each)
    ]
    remarks = [f"note: {old}" for old in [stale(prices, datetime.now(UTC).date())] if old]
    return Output(
        document={"version": prices.version, "as_of": prices.as_of, "rates": rows, "sources": sources},
        shown=[table, *sources],
        remarks=remarks,
    )


def invoice(
    *,
    provider: Annotated[Provider, typer.Option(help="The cloud.")],
    region: Annotated[str, typer.Option(help="The region.")],
    memory_mb: Annotated[int, typer.Option("--memory-mb", min=1, max=32_768, help="Of the copy.")],
    calls: Annotated[float, typer.Option(min=0, max=1e15, help="In the month.")],
    ms: Annotated[float, typer.Option(min=0, max=3_600_000, help="How long each takes.")],
    plan: Annotated[
        Plan | None, typer.Option(metavar="PLAN", help="As `show` names it; the provider's default otherwise.")
    ] = None,
    ready: Annotated[float, typer.Option(min=0, max=1e6, help="Instances kept ready all month.")] = 0.0,
    free_tier: Annotated[bool, typer.Option("--free-tier", help="Count the free tier as this use's.")] = False,
) -> Output:
    """What a month of calls comes to, line by line, as the provider would write it.

    \b
    fiso tariffs invoice --provider aws --region us-east-1 \\
      --memory-mb 1536 --calls 3e6 --ms 120 --free-tier
    """
    from fiso.billing import invoice as invoices
    from fiso.billing import tariff
    from fiso.domain.endpoint import Endpoint, EndpointId
    from fiso.domain.fields import Impossible
    from fiso.domain.terms import Account, Terms

    account = Account(free_tier=free_tier)
    try:
        endpoint = Endpoint(
            id=EndpointId("copy"), provider=provider, region=region, memory_mb=memory_mb, address="copy", plan=plan
        )
        use = invoices.Use(endpoint=endpoint, calls=calls, call_ms=ms, capacity_s=ready * MONTH_S)
        found = invoices.lines([use], tariff.current().under(Terms(aws=account, azure=account, gcp=account)))
    except Impossible as error:
        raise BadInput(str(error)) from error
    total = invoices.total_usd(found)
    rows = [
        {
            "meter": line.meter,
            "quantity": line.quantity,
            "free": line.free,
            "usd": line.usd,
            "estimated": line.is_estimated,
        }
        for line in found
    ]
    table = Table(
        title=f"{provider} {region}, {endpoint.sold_as}: {total:,.2f} USD",
        columns=[
            text("meter"),
            figure("quantity"),
            figure("of it free", "free"),
            figure("USD", "usd", _usd),
            text("", lambda row: "estimated" if row["estimated"] else ""),
        ],
        rows=rows,
    )
    return Output(document={"total_usd": total, "plan": endpoint.sold_as.value, "lines": rows}, shown=[table])


def update(
    *,
    provider: Annotated[list[Provider] | None, typer.Option(help="One cloud's only; can be repeated.")] = None,
    source: Annotated[
        list[str] | None, typer.Option("--from", help="PROVIDER=URL, where a mirror of its price files is.")
    ] = None,
    file: FileOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Believe prices that doubled, halved or vanished.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Read the vendors' public price files, show what changed, and write the file of tariffs anew, with its date.

    Of all clouds or none: a file that is cut, in another currency or without a price that is needed changes nothing.
    Google's catalogue wants an API key in FISO_GOOGLE_API_KEY; without one its prices stay as they are.

    \b
    fiso tariffs update --dry-run
    fiso tariffs update --provider aws --yes
    """
    from fiso_cli.tariffs import renewal

    path, today = _file(file), datetime.now(UTC).date().isoformat()
    document = renewal.read(path)
    found, notes = _listed(provider or list(Provider), source or [])
    made = renewal.renewed(document, found, today=today)
    shown: dict[str, object] = {
        "as_of": today,
        "version": made.document["version"],
        "changes": [
            {"provider": d.provider, "region": d.region, "meter": d.meter, "before": d.before, "after": d.after}
            for d in made.differences
        ],
        "notes": notes,
    }
    if not as_json:
        show(*(f"note: {note}" for note in notes), *_difference(made))
    if made.jumps and not accept:
        told = "; ".join(str(jump) for jump in made.jumps[:3])
        raise BadInput(f"{len(made.jumps)} prices are hardly what they were ({told}): look, then pass --accept")
    if dry_run:
        return Output(document={**shown, "written": False}, shown=["nothing was written (--dry-run)"])
    _agree(path, yes=yes or not made.differences, can_ask=not as_json and sys.stdin.isatty())
    renewal.write(path, made.document)
    return Output(document={**shown, "written": True}, shown=[f"{path}: prices of {today}, version {shown['version']}"])


MONTH_S = 2_628_000.0
"""730 hours."""


def stale(prices: "Tariff", today: date) -> str | None:
    """What to say of prices that nobody looked at for long; None while they are young enough."""
    from fiso.billing.tariff import STALE_DAYS

    days = prices.age_days(today)
    return f"prices are {days} days old: `fiso tariffs update` reads new ones" if days > STALE_DAYS else None


def _file(file: Path | None) -> Path:
    from fiso_cli.local_stage import project_file

    return file or project_file(PROJECT_FILE)


def _tariff(file: Path | None) -> "Tariff":
    from fiso.billing import tariff
    from fiso_cli.tariffs import renewal

    return tariff.current() if file is None else tariff.read(renewal.read(file))


def _rows(prices: "Tariff", provider: Provider, region: str, memory_mb: int) -> list[dict[str, object]]:
    from fiso.domain.endpoint import PLANS, Endpoint, EndpointId

    rows: list[dict[str, object]] = []
    for plan in PLANS[provider]:
        for architecture in Architecture if provider is Provider.AWS else (Architecture.X86_64,):
            endpoint = Endpoint(
                id=EndpointId("copy"),
                provider=provider,
                region=region,
                memory_mb=memory_mb,
                address="copy",
                plan=plan,
                architecture=architecture,
            )
            rate = prices.rate(endpoint)
            calls = {f"ms_{ms}": prices.cost_usd(endpoint, ms) for ms in (100, 1000)}
            start_usd = prices.start_usd(endpoint, 1000)
            if rate is None or start_usd is None:
                continue
            rows.append(
                {
                    "provider": provider.value,
                    "region": region,
                    "plan": plan.value,
                    "processor": architecture.value,
                    "requests": rate.request_usd * 1e6,
                    **{name: usd * 1e6 for name, usd in calls.items() if usd is not None},
                    "start": start_usd * 1e6,
                    "note": "estimated: its neighbours' price" if rate.is_estimated else "",
                }
            )
    return rows


def _listed(providers: list[Provider], sources: list[str]) -> tuple[dict[Provider, "Listed"], list[str]]:
    """What each vendor lists, and who was left out."""
    from fiso_cli.tariffs import vendors
    from fiso_cli.tariffs.fetching import Source

    bases = {provider: vendors.VENDORS[provider][0] for provider in Provider}
    for word in sources:
        name, separator, url = word.partition("=")
        if not separator or name not in [each.value for each in Provider]:
            raise BadInput(f"--from {word}: must be PROVIDER=URL, as in aws=https://prices.example.com")
        bases[Provider(name)] = url
    found, notes = dict[Provider, "Listed"](), list[str]()
    for provider in dict.fromkeys(providers):
        key = os.environ.get(GOOGLE_KEY, "") if provider is Provider.GCP else ""
        if provider is Provider.GCP and not key:
            notes.append(f"gcp: its catalogue wants an API key in {GOOGLE_KEY}; its prices stay as they are")
            continue
        headers = {"x-goog-api-key": key} if key else {}
        found[provider] = vendors.read(provider, Source(base=bases[provider], headers=headers))
    return found, notes


def _difference(made: "Renewal") -> list[Table | str]:
    if not made.differences:
        return ["no price has changed"]
    return [
        Table(
            columns=[
                text("provider"),
                text("region"),
                text("meter"),
                figure("before", lambda d: "" if d.before is None else f"{d.before:.10g}", str),
                figure("after", lambda d: f"{d.after:.10g}", str),
            ],
            rows=made.differences,
            style=lambda d: "red" if d.is_jump else "",
        ),
        f"{len(made.differences)} prices changed",
    ]


def _agree(path: Path, *, yes: bool, can_ask: bool) -> None:
    if yes:
        return
    if not can_ask:
        raise CommandError("there is nobody to ask: pass --yes to write these prices")
    if not typer.confirm(f"Write them to {path}?"):
        raise CommandError("nothing was written")


def _usd(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, int | float) else str(value)
