"""Savings per function: records in, figures out as a table and as JSON."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import inf

from fiso.billing import hop, tariff
from fiso.billing.hop import REFERENCE_RATE_PER_S
from fiso.domain.archive import Extent
from fiso.domain.endpoint import FunctionName
from fiso.domain.record import InvocationRecord
from fiso.learning.intervals import Estimate
from fiso.learning.savings import Call, Hops, Saving, call_of, saving
from fiso_cli.cost import measured, template
from fiso_cli.rendering import Part, Table, decimals, figure, text

Document = dict[str, object]
MILLION = 1e6
SHORTEST_S = 600.0
SAMPLE = 200
"""Records of a function whose sizes are measured."""
MEANING = (
    "net = gross - router - egress - exploration - warming (nothing is kept warm: 0). Intervals are 95 %, by blocks.",
    "Adjusted: control gets the cold share of the endpoint that routed traffic used most; blocks find home colder.",
    "The hop is priced at the log's rate; its writes as counted on this code, its time from the records.",
)


@dataclass(slots=True)
class _Function:
    calls: list[Call] = field(default_factory=list)
    waited_ms: float = 0.0
    own_ms: float = 0.0
    sample: list[InvocationRecord] = field(default_factory=list)

    def add(self, record: InvocationRecord, call: Call) -> None:
        self.calls.append(call)
        self.waited_ms += call.ms
        self.own_ms += call.own_ms
        if len(self.sample) < SAMPLE:
            self.sample.append(record)

    def hops(self, rate_per_s: float) -> Hops:
        """By this function's own waiting, FISO's own time and record sizes, and the rate of the stage."""
        count, prices, setup = len(self.calls), hop.current(), template.setup()
        work = measured.of_records(self.sample)
        proxied = hop.proxy_hop(
            prices,
            work,
            setup,
            waited_ms=self.waited_ms / count,
            own_ms=self.own_ms / count,
            rate_per_s=rate_per_s,
        )
        leased = hop.lease_hop(prices, work, setup, rate_per_s=rate_per_s)
        return Hops(proxied=hop.marginal_usd(proxied), leased=hop.marginal_usd(leased))


@dataclass(slots=True)
class _Rate:
    """Requests per second of the stage, over the time that its log spans."""

    records: int = 0
    first_s: float = inf
    last_s: float = -inf

    def add(self, record: InvocationRecord) -> None:
        at_s = record.timestamp.timestamp()
        self.records, self.first_s, self.last_s = self.records + 1, min(self.first_s, at_s), max(self.last_s, at_s)

    def per_s(self, records_each: float) -> float:
        """Too short a log says nothing of it. Each record that was read stands for so many."""
        span_s = self.last_s - self.first_s
        return (
            records_each * self.records / span_s if self.records > 1 and span_s >= SHORTEST_S else REFERENCE_RATE_PER_S
        )


def of_records(records: Iterable[InvocationRecord], *, block_s: int, extent: Extent | None = None) -> list[Saving]:
    """One saving per function, by name. Reads the log once and keeps a few numbers a record; `extent` is known then."""
    functions: defaultdict[FunctionName, _Function] = defaultdict(_Function)
    prices, rate = tariff.current(), _Rate()
    for record in records:
        rate.add(record)
        call = call_of(record, block_s=block_s, prices=prices)
        if call is not None:
            functions[record.request.function_name].add(record, call)
    per_s = rate.per_s(extent.records_each if extent is not None else 1.0)
    hops = {name: function.hops(per_s) for name, function in functions.items()}
    return [saving(name, function.calls, hops[name]) for name, function in sorted(functions.items())]


def parts(found: Sequence[Saving]) -> list[Part]:
    """Money per million requests, time per request, positive is saved; and what the money is made of."""
    if not found:
        return ["the log has no records"]
    result = Table(
        title="What routing saved against calling home: USD per million requests, ms per request",
        columns=[
            text("function"),
            text("advice"),
            figure("routed", spare=1),
            figure("control (blocks)", lambda item: f"{item.control:,} ({item.control_blocks})", spare=2),
            figure("net", lambda item: _shown(item.money.net if item.money else None, MILLION, 2)),
            figure("net, adjusted", lambda item: _shown(item.adjusted_usd, MILLION, 2), spare=4),
            figure("ms", lambda item: _shown(item.time_ms, 1.0, 0)),
            figure("leased", lambda item: _shown(item.leased_usd, MILLION, 2), spare=3),
        ],
        rows=found,
    )
    shares = [figure(name, _part(name), decimals(2, "+")) for name in ("gross", "router", "egress", "exploration")]
    made_of = Table(
        title="net is made of", columns=[text("function"), *shares], rows=[item for item in found if item.money]
    )
    return [result, *([made_of] if made_of.rows else []), *_remarks(found)]


def _part(name: str) -> Callable[[Saving], float]:
    return lambda item: getattr(item.money, name) * MILLION


def _remarks(found: Sequence[Saving]) -> Iterator[str]:
    """Why each is advised as it is, and how the figures are meant."""
    for item in found:
        yield f"{item.function}: {item.advice}: {item.why}"
    yield from MEANING
    prices = hop.current()
    month_usd = hop.total_usd(hop.month_parts(prices, measured.work(), template.setup()))
    yield f"The stage itself costs {month_usd:.2f} USD a month beside that, whatever it routes (fiso cost)."
    yield f"List prices of us-east-1 as of {prices.as_of}. Local times are not cloud times."


def document(found: Sequence[Saving]) -> Document:
    """For machines: USD and ms per request."""
    return {"prices": hop.current().version, "functions": [asdict(item) for item in found]}


def _shown(estimate: Estimate | None, factor: float, decimals: int) -> str:
    if estimate is None:
        return "-"
    value, low, high = (factor * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:+,.{decimals}f} [{low:+,.{decimals}f}, {high:+,.{decimals}f}]"
