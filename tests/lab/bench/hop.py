"""The hop's cost: what a proxied request makes FISO do, measured here, priced by dated list prices.

The genuine handlers run over stores that count (`fiso_cli.cost.measured`), and are timed. Waiting for DynamoDB itself
cannot be measured without AWS: STORE_WAIT_MS is stated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import process_time

from fiso.billing import hop
from fiso.billing.hop import CALLS_PER_LEASE, HopPrices, Work
from fiso_cli.cost import measured, template
from fiso_cli.rendering import Table, decimals, figure, text
from tests.lab.bench.rows import Row, row

WAITED_MS = 100.0
"""How long the function takes, in the row; the table has others."""
REQUESTS = 400
BATCH = 25
MEMORIES_MB = (128, 192, 256, 384, 512, 768, 1024, 1769)
MOST_OWN_MS, MOST_COLD_MS = 20.0, 1_500.0
"""What the hop may add to a warm request and to a cold one (p50)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChoice:
    """One memory size of the orchestrator: what it costs and adds."""

    memory_mb: int
    usd_per_million: float
    own_ms: float
    cold_ms: float

    @property
    def is_within(self) -> bool:
        """Whether it stays within what the hop may add."""
        return self.own_ms <= MOST_OWN_MS and self.cold_ms <= MOST_COLD_MS


def measure(model_dir: Path, cold_ms: float, show: Callable[[Table], None]) -> list[Row]:
    """The row, and the table of memories on the way. `cold_ms` is one cold start on a whole processor."""
    prices, work, setup = hop.current(), replace(measured_work(model_dir), cold_ms=cold_ms), template.setup()
    show(memory_table(choices(prices, work)))
    proxied = hop.total_usd(hop.proxy_hop(prices, work, setup, waited_ms=WAITED_MS)) * 1e6
    leased = hop.total_usd(hop.lease_hop(prices, work, setup)) * 1e6
    rival = f"the lease's hop ({CALLS_PER_LEASE:g} calls a lease)"
    return [row("hop_usd_per_million", proxied, "USD", rival=rival, rival_value=leased, n=REQUESTS)]


def measured_work(model_dir: Path) -> Work:
    """Run requests through the whole handler, and time what they make it do."""
    meter = measured.Meter(model_dir)
    cpu_ms = [_cpu_ms(meter.request) for _ in range(REQUESTS)]
    folding = [_cpu_ms(lambda: meter.fold(BATCH)) / BATCH for _ in range(REQUESTS // BATCH)]
    return replace(measured.work(), cpu_ms=median(cpu_ms[REQUESTS // 4 :]), consumer_cpu_ms=median(folding))


def choices(prices: HopPrices, work: Work) -> list[MemoryChoice]:
    """Every memory with its price and what it adds, for a function that takes WAITED_MS."""
    return [
        MemoryChoice(
            memory_mb=memory_mb,
            usd_per_million=hop.total_usd(
                hop.proxy_hop(prices, work, replace(template.setup(), memory_mb=memory_mb), waited_ms=WAITED_MS)
            )
            * 1e6,
            own_ms=hop.own_time_ms(work, memory_mb),
            cold_ms=work.cold_ms * hop.AWS_FULL_CPU_MB / memory_mb,
        )
        for memory_mb in MEMORIES_MB
    ]


def chosen(found: Sequence[MemoryChoice]) -> MemoryChoice:
    """The cheapest that stays within what the hop may add; the largest when none does."""
    within = [choice for choice in found if choice.is_within]
    return min(within, key=lambda choice: choice.usd_per_million) if within else found[-1]


def memory_table(found: Sequence[MemoryChoice]) -> Table:
    """For a terminal."""
    best = chosen(found)
    return Table(
        title=f"The orchestrator's memory, a function of {WAITED_MS:g} ms behind it; list prices",
        columns=[
            figure("memory MB", "memory_mb"),
            figure("USD per million", "usd_per_million", decimals(2)),
            figure("adds ms", "own_ms", decimals(1)),
            figure("cold start ms", "cold_ms"),
            text("", lambda each: "chosen" if each is best else "" if each.is_within else "adds too much"),
        ],
        rows=found,
    )


def _cpu_ms(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return (process_time() - start) * 1000
