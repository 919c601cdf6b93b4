"""FISO's own price at a rate, part by part: a table that adds up to the cent, and the same for machines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import partial
from math import inf

from fiso.billing import hop
from fiso.billing.hop import FrontDoor, HopPrices, Setup, Work
from fiso.domain.archive import Extent
from fiso.domain.record import InvocationRecord
from fiso_cli.clouds.databases.sizes import SIZES
from fiso_cli.cost import measured
from fiso_cli.errors import CommandError
from fiso_cli.rendering import Part, Table, decimals, figure, text

Document = dict[str, object]
CENT = Decimal("0.01")
MILLION = 1e6
SAMPLE = 500
"""Records whose sizes are measured; all are counted."""
SHORTEST_S = 600.0
BY_REQUEST, FIXED, ALL = "by request", "fixed by the month", "all"
WORDS = {
    "front_door": "front door",
    "lambda_request": "Lambda: requests",
    "lambda_own_time": "Lambda: FISO's own time",
    "lambda_waiting": "Lambda: waiting for the function",
    "lambda_starts": "Lambda: starts of environments",
    "reads": "reads of states, breakers, catalog",
    "log_table": "DynamoDB: the log's records",
    "open_intents": "DynamoDB: intents still open",
    "states": "DynamoDB: states, marks, lists",
    "consumer": "stream consumer: Lambda",
    "consumer_reads": "stream consumer: reads",
    "archiver": "archiver: Lambda",
    "archiver_reads": "archiver: reads",
    "archive": "S3: archive, written",
    "compaction": "archive, compacted",
    "archive_kept": "S3: archive, kept",
    "log_kept": "DynamoDB: log kept, with its backup",
    "idempotency_keys": "DynamoDB: idempotency keys",
    "log_lines": "CloudWatch: a request's lines, kept",
    "access_log": "CloudWatch: access log, kept",
    "traces": "X-Ray: traces",
    "prediction_lines": "CloudWatch: predictions, kept",
    "readers_lines": "CloudWatch: the readers' lines",
    "alarms": "CloudWatch: alarms",
    "dashboards": "CloudWatch: dashboards",
    "metrics": "CloudWatch: metrics",
    "route_metrics": "CloudWatch: the HTTP API's metrics",
    "keys": "KMS: keys",
    "secrets": "Secrets Manager: secrets",
    "keeper": "keeper: Lambda",
    "keeper_calls": "keeper: reads and writes",
    "history": "DynamoDB: counts by the minute",
    "compaction_runs": "compaction: each hour's run",
    "retrainer": "retrainer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a stage is asked: requests a second in the month's mean, how long functions take, how many there are.

    `own_ms` is FISO's own time where it was measured there; `keyed_share` of the requests bring an idempotency key,
    `repeatable_share` may be repeated.
    """

    rate_per_s: float
    waited_ms: float
    own_ms: float | None = None
    functions: int = 1
    keyed_share: float = 0.0
    repeatable_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One part. What is fixed is there whatever is asked, and its share of a million falls with the rate."""

    part: str
    is_fixed: bool
    per_million: Decimal
    per_month: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A stage's price at its load; the lines add up to the totals, digit by digit."""

    load: Load
    lines: tuple[Line, ...]

    def sum(self, *, by_month: bool = False, is_fixed: bool | None = None) -> Decimal:
        """Of all lines, or of those that are fixed or not."""
        lines = (line for line in self.lines if is_fixed in (None, line.is_fixed))
        return sum((line.per_month if by_month else line.per_million for line in lines), Decimal(0))


def cost(prices: HopPrices, work: Work, setup: Setup, load: Load) -> Cost:
    """Every part, in cents that add up."""
    requests = load.rate_per_s * hop.MONTH_S
    parts = hop.proxy_hop(
        prices,
        work,
        setup,
        waited_ms=load.waited_ms,
        own_ms=load.own_ms,
        rate_per_s=load.rate_per_s,
        keyed_share=load.keyed_share,
        repeatable_share=load.repeatable_share,
        functions=load.functions,
    )
    routed = {name: usd * requests for name, usd in parts.items() if name != "stage"}
    fixed = dict(hop.month_parts(prices, work, setup))
    month = routed | fixed
    per_month, per_million = cents(month), cents({name: usd / requests * MILLION for name, usd in month.items()})
    return Cost(
        load=load,
        lines=tuple(
            Line(part=name, is_fixed=name in fixed, per_million=per_million[name], per_month=per_month[name])
            for name in month
        ),
    )


def cents(usd: Mapping[str, float]) -> dict[str, Decimal]:
    """Rounded so that they add up to the rounded sum: the cents that rounding down leaves go where most was cut."""
    exact = {name: Decimal(repr(value)) for name, value in usd.items()}
    down = {name: value.quantize(CENT, ROUND_FLOOR) for name, value in exact.items()}
    total = sum(exact.values(), Decimal(0)).quantize(CENT, ROUND_HALF_UP)
    left = int((total - sum(down.values(), Decimal(0))) / CENT)
    for name in sorted(exact, key=lambda name: down[name] - exact[name])[:left]:
        down[name] += CENT
    return down


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A stage's own load and work, from its log."""

    load: Load
    work: Work
    records: int


def of_log(
    records: Iterable[InvocationRecord],
    *,
    span_s: float | None,
    keyed_share: float,
    repeatable_share: float = 0.0,
    extent: Extent | None = None,
) -> Measured:
    """By the records of `span_s` seconds, or of the time that they span themselves; each stands for as many as the
    `extent` of the reading says. `CommandError` for too few."""
    sample: list[InvocationRecord] = []
    count, waited, own, first_s, last_s, functions = 0, 0.0, 0.0, inf, -inf, set()
    for record in records:
        at_s = record.timestamp.timestamp()
        count, first_s, last_s = count + 1, min(first_s, at_s), max(last_s, at_s)
        waited, own = waited + (record.result.execution_time_ms or 0.0), own + (record.result.overhead_ms or 0.0)
        functions.add(record.request.function_name)
        if len(sample) < SAMPLE:
            sample.append(record)
    span_s = last_s - first_s if span_s is None else span_s
    if count < 2 or span_s < SHORTEST_S:
        raise CommandError(
            f"{count} records of {max(0.0, span_s):.0f} s say nothing of a stage's rate: name one with --rate"
        )
    return Measured(
        load=Load(
            rate_per_s=count * (extent.records_each if extent is not None else 1.0) / span_s,
            waited_ms=waited / count,
            own_ms=own / count,
            functions=len(functions),
            keyed_share=keyed_share,
            repeatable_share=repeatable_share,
        ),
        work=measured.of_records(sample),
        records=count,
    )


def parts(found: Sequence[Cost], prices: HopPrices, setup: Setup) -> list[Part]:
    """One rate by the million and by the month, several by the million side by side."""
    first = found[0]
    columns = [(f"{each.load.rate_per_s:,.4g}/s", each, False) for each in found]
    if len(found) == 1:
        columns = [("USD a million", first, False), ("USD a month", first, True)]
    rows = [*_rows(first, is_fixed=False), BY_REQUEST, *_rows(first, is_fixed=True), FIXED, ALL]
    figures = [figure(title, partial(_figure, each, by_month), decimals(2)) for title, each, by_month in columns]
    rate = f" at {first.load.rate_per_s:,.4g} requests a second" if len(found) == 1 else ", USD a million requests"
    table = Table(
        title=f"FISO's own price{rate}; functions of {first.load.waited_ms:,.4g} ms, {_door(setup)}",
        columns=[text("part", lambda name: WORDS.get(name, name)), *figures],
        rows=rows,
        style=lambda name: "" if name in WORDS else "bold",
    )
    return [table, *_remarks(prices, setup)]


def document(found: Sequence[Cost], prices: HopPrices, setup: Setup) -> Document:
    """For machines: USD as text, so that sums stay sums."""
    return {
        "prices": prices.version,
        "as_of": prices.as_of,
        "setup": asdict(setup),
        "database_per_month_usd": {cloud: f"{size.monthly_usd:.2f}" for cloud, size in SIZES.items()},
        "rates": [
            {
                **asdict(each.load),
                "parts": [
                    {
                        "part": line.part,
                        "fixed": line.is_fixed,
                        "per_million_usd": str(line.per_million),
                        "per_month_usd": str(line.per_month),
                    }
                    for line in each.lines
                ],
                "per_million_usd": str(each.sum()),
                "per_million_without_fixed_usd": str(each.sum(is_fixed=False)),
                "per_month_usd": str(each.sum(by_month=True)),
            }
            for each in found
        ],
    }


def _rows(found: Cost, *, is_fixed: bool) -> list[str]:
    return [line.part for line in found.lines if line.is_fixed == is_fixed]


def _figure(found: Cost, by_month: bool, name: str) -> Decimal:
    if name == ALL:
        return found.sum(by_month=by_month)
    if name in (BY_REQUEST, FIXED):
        return found.sum(by_month=by_month, is_fixed=name == FIXED)
    (usd,) = (line.per_month if by_month else line.per_million for line in found.lines if line.part == name)
    return usd


def _door(setup: Setup) -> str:
    return "behind an HTTP API" if setup.front_door is FrontDoor.API else "by the function's URL"


def _remarks(prices: HopPrices, setup: Setup) -> Iterator[str]:
    yield (
        f"Orchestrator {setup.memory_mb} MB, {setup.architecture}. Write units, sizes and lines are counted on this "
        "code, memories, alarms and retention in its template; processor times are decision 8's."
    )
    yield "Not counted: alarms of functions (`fiso alarms`: 0.90 USD a month each), VPC endpoints, notices of SNS."
    yield "What is kept is priced as in a month when the oldest goes. Retrainer: the most that a run may take."
    each = ", ".join(f"{size.monthly_usd:.2f} on {cloud}" for cloud, size in SIZES.items())
    yield f"The catalog's PostgreSQL comes on top, a month as `fiso db create` makes it: {each}."
    yield f"List prices of us-east-1 as of {prices.as_of}; no free tier. Not measured on AWS."
