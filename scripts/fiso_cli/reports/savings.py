"""Savings per function: records in, figures out as a table and as JSON."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import yaml

from fiso.billing import hop
from fiso.billing.hop import CALLS_PER_LEASE, OUTCOMES_PER_REPORT, REFERENCE
from fiso.codecs.record import to_document
from fiso.domain.endpoint import FunctionName
from fiso.domain.record import InvocationRecord
from fiso.learning.intervals import Estimate
from fiso.learning.savings import Call, Hops, Saving, call_of, saving
from fiso_cli.local_stage import project_file
from fiso_cli.rendering import Part, Table, decimals, figure, text

Document = dict[str, object]
MILLION = 1e6
MEANING = (
    "net = gross - router - egress - exploration - warming (nothing is kept warm: 0). Intervals are 95 %, by blocks.",
    "Adjusted: control gets the cold share of the endpoint that routed traffic used most; blocks find home colder.",
    "The hop's writes are taken as measured in docs/decisions/0008, waiting and FISO's own time from the records.",
)


@dataclass(slots=True)
class _Function:
    calls: list[Call] = field(default_factory=list)
    waited_ms: float = 0.0
    own_ms: float = 0.0
    record_bytes: int = 0

    def add(self, record: InvocationRecord, call: Call) -> None:
        self.calls.append(call)
        self.waited_ms += call.ms
        self.own_ms += call.own_ms
        self.record_bytes += len(json.dumps(to_document(record), separators=(",", ":")))

    def hops(self) -> Hops:
        """By this function's own waiting, FISO's own time and record size; the rest as docs/decisions/0008 measured."""
        count, prices, memory_mb = len(self.calls), hop.current(), deployed_memory_mb()
        work = replace(REFERENCE, record_bytes=self.record_bytes // count)
        proxied = hop.proxy_hop(
            prices, work, memory_mb=memory_mb, waited_ms=self.waited_ms / count, own_ms=self.own_ms / count
        )
        leased = hop.lease_hop(
            prices,
            work,
            memory_mb=memory_mb,
            calls_per_lease=CALLS_PER_LEASE,
            outcomes_per_report=OUTCOMES_PER_REPORT,
        )
        return Hops(proxied=hop.total_usd(proxied), leased=hop.total_usd(leased))


def of_records(records: Iterable[InvocationRecord], *, block_s: int) -> list[Saving]:
    """One saving per function, by name. Reads the log once and keeps a few numbers a record."""
    functions: defaultdict[FunctionName, _Function] = defaultdict(_Function)
    prices = hop.current()
    for record in records:
        call = call_of(record, block_s=block_s, prices=prices)
        if call is not None:
            functions[record.request.function_name].add(record, call)
    return [saving(name, function.calls, function.hops()) for name, function in sorted(functions.items())]


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
    yield f"List prices of us-east-1 as of {hop.current().as_of}. Local times are not cloud times."


def document(found: Sequence[Saving]) -> Document:
    """For machines: USD and ms per request."""
    return {"prices": hop.current().version, "functions": [asdict(item) for item in found]}


def _shown(estimate: Estimate | None, factor: float, decimals: int) -> str:
    if estimate is None:
        return "-"
    value, low, high = (factor * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:+,.{decimals}f} [{low:+,.{decimals}f}, {high:+,.{decimals}f}]"


def deployed_memory_mb() -> int:
    """What serverless.yml gives the orchestrator."""
    declared = yaml.safe_load(project_file("serverless.yml").read_text(encoding="utf-8"))
    return int(declared["functions"]["orchestrator"]["memorySize"])
