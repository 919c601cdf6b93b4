"""A switchback experiment: records in, arms, differences and a decision out; as a table and as JSON."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from fiso.billing import tariff
from fiso.domain.decision import Reason
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.learning.intervals import Estimate
from fiso.learning.savings import call_of
from fiso.learning.switchback import ALPHA, FEWEST_BLOCKS, Block, difference
from fiso.routing import constraints
from fiso_cli.rendering import Document, Table, figure, text

COST, LATENCY, FAILURES = "net cost", "latency", "failures"
UNITS = {COST: (1e6, "USD per million"), LATENCY: (1.0, "ms"), FAILURES: (100.0, "%")}


@dataclass(slots=True)
class _Block:
    """What one block's requests came to. Cost and time are of answers."""

    is_routed: bool
    requests: int = 0
    failures: int = 0
    usd: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """`arms` by name, with the blocks, requests and means of each; `differences` are routed less home."""

    arms: Mapping[str, Mapping[str, float | None]]
    differences: Mapping[str, Estimate | None]
    decision: str
    why: str


def compared(records: Iterable[InvocationRecord], *, share: float, block_s: int, router_usd: float) -> Compared:
    """By blocks. `share` of them is called home; `router_usd` is what FISO itself costs a routed request."""
    blocks = list(_blocks(records, share=share, block_s=block_s, router_usd=router_usd).values())
    measures: Mapping[str, Callable[[_Block], float | None]] = {
        COST: lambda block: _mean(block.usd),
        LATENCY: lambda block: _mean(block.ms),
        FAILURES: lambda block: block.failures / block.requests,
    }
    alpha, routed_share = ALPHA / len(measures), 1 - share
    differences = {
        name: difference(
            [Block(is_new=b.is_routed, mean=mean) for b in blocks if (mean := measure(b)) is not None],
            share=routed_share,
            alpha=alpha,
        )
        for name, measure in measures.items()
    }
    arms = {
        name: _arm([b for b in blocks if b.is_routed is is_routed], measures)
        for name, is_routed in (("routed", True), ("home", False))
    }
    decision, why = _decision(differences)
    return Compared(arms=arms, differences=differences, decision=decision, why=why)


def _blocks(
    records: Iterable[InvocationRecord], *, share: float, block_s: int, router_usd: float
) -> Mapping[int, _Block]:
    found: dict[int, _Block] = {}
    prices = tariff.current()
    for record in sorted(records, key=lambda each: each.timestamp):
        if record.status is not RecordStatus.FINAL or record.decision.reason in (None, Reason.POLICY):
            continue
        at, name = record.timestamp, record.request.function_name
        is_routed = not constraints.is_control(name, at, share=share, block_s=block_s)
        block = found.setdefault(constraints.block_of(at, block_s=block_s), _Block(is_routed))
        block.requests, block.failures = block.requests + 1, block.failures + record.result.error_occurred
        call = call_of(record, block_s=block_s, prices=prices)
        if call is not None:
            block.usd.append(call.usd + call.egress_usd + (router_usd if is_routed else 0.0))
            block.ms.append(call.ms + (call.own_ms if is_routed else 0.0))
    return found


def _arm(
    blocks: Sequence[_Block], measures: Mapping[str, Callable[[_Block], float | None]]
) -> Mapping[str, float | None]:
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for block in blocks:
        for name, measure in measures.items():
            mean = measure(block)
            if mean is not None:
                sums[name].append(mean)
    counts: dict[str, float | None] = {
        "blocks": float(len(blocks)),
        "requests": float(sum(block.requests for block in blocks)),
    }
    return counts | {name: _mean(sums[name]) for name in measures}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _decision(differences: Mapping[str, Estimate | None]) -> tuple[str, str]:
    """Routing is kept where nothing is shown to be worse and something to be better; failures weigh most."""
    known = {name: found for name, found in differences.items() if found is not None}
    if not known:
        return "go on", f"fewer than {FEWEST_BLOCKS} blocks of an arm: nothing can be told yet"
    worse = [name for name, found in known.items() if found.low > 0]
    better = [name for name, found in known.items() if found.high < 0]
    if FAILURES in worse or (worse and not better):
        return "call home", f"routed is worse: {', '.join(worse)}"
    if worse:
        return "your choice", f"routed is better ({', '.join(better)}) and worse ({', '.join(worse)})"
    if better:
        return "route", f"routed is better: {', '.join(better)}; nothing is shown to be worse"
    return "go on", "every interval holds 0: neither is shown to be better"


def document(function: str, found: Compared) -> Document:
    intervals = {name: None if each is None else asdict(each) for name, each in found.differences.items()}
    return {
        "function": function,
        "arms": {name: dict(arm) for name, arm in found.arms.items()},
        "routed_less_home": intervals,
        "decision": found.decision,
        "why": found.why,
        "alpha": ALPHA,
    }


def parts(function: str, found: Compared) -> list[Table | str]:
    rows = [
        {
            "measure": f"{name}, {unit}",
            **{arm: _scaled(means[name], by) for arm, means in found.arms.items()},
            "difference": _scaled(each.value if each else None, by),
            "interval": f"{each.low * by:.4g} to {each.high * by:.4g}" if each else "-",
        }
        for name, (by, unit) in UNITS.items()
        for each in [found.differences[name]]
    ]
    columns = [text("measure"), *(figure(arm) for arm in found.arms), figure("difference"), text("interval")]
    counted = ", ".join(f"{arm} {means['blocks']:.0f}" for arm, means in found.arms.items())
    note = f"blocks: {counted}; the intervals hold together and at every look, in 95 of 100 experiments"
    return [Table(columns=columns, rows=rows, notes=[note]), f"{function}: {found.decision}: {found.why}"]


def _scaled(value: float | None, by: float) -> str:
    return "-" if value is None else f"{value * by:.4g}"
