"""The hop's cost: what a proxied request makes FISO do, measured here, priced by dated list prices.

The orchestrator's genuine handler runs with its own signed DynamoDB client; only the wire is cut: what it would have
sent is counted. Waiting for DynamoDB itself cannot be measured without AWS: STORE_WAIT_MS is stated.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import median
from time import process_time

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, Item, closed_item, open_item
from fiso.billing import hop
from fiso.billing.hop import CALLS_PER_LEASE, OUTCOMES_PER_REPORT, STORE_WAIT_MS, HopPrices, Work
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.ingest import ingest
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates
from fiso_cli.log_redirect import lines_to
from fiso_cli.rendering import Table, decimals, figure, text
from fiso_cli.reports.savings import deployed_memory_mb
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.lab.bench import ours
from tests.lab.bench.rows import Row, row

WAITED_MS = 100.0
"""How long the function takes, in the row; the table has others."""
REQUESTS = 400
BATCH = 25
MEMORIES_MB = (128, 192, 256, 384, 512, 768, 1024, 1769)
MOST_OWN_MS, MOST_COLD_MS = 20.0, 1_500.0
"""What the hop may add to a warm request and to a cold one (p50)."""


class _AnsweringTransport(HttpTransport):
    """Says yes at once to whatever is sent."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        may_repeat: bool = False,
    ) -> HttpAnswer:
        """An empty JSON object."""
        return HttpAnswer(status=200, headers={}, body=b"{}")


class CountingLog(DynamoDBInvocationLog):
    """The genuine log, whose client signs and encodes as ever, and whose transport answers at once."""

    def __init__(self) -> None:
        service = SignedService(
            endpoint=AwsEndpoint(
                service="dynamodb", region="us-east-1", url="https://dynamodb.us-east-1.amazonaws.com"
            ),
            credentials=Credentials(access_key="bench", secret_key="bench", token=None),  # nosec B106 # signs for nobody
            transport=_AnsweringTransport(),
            clock=lambda: datetime.now(UTC),
        )
        super().__init__(DynamoDBClient(service), "log", clock=lambda: datetime.now(UTC))
        self.opened: list[OpenRecord] = []
        self.closed: list[InvocationRecord] = []

    def open(self, record: OpenRecord) -> None:
        """Count it, too."""
        self.opened.append(record)
        super().open(record)

    def close(self, record: InvocationRecord) -> bool:
        """Count it, too."""
        self.closed.append(record)
        return super().close(record)


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
    prices, work, memory_mb = hop.current(), measured_work(model_dir), deployed_memory_mb()
    show(memory_table(choices(prices, work, cold_ms)))
    proxied = hop.total_usd(hop.proxy_hop(prices, work, memory_mb=memory_mb, waited_ms=WAITED_MS)) * 1e6
    leased = (
        hop.total_usd(
            hop.lease_hop(
                prices,
                work,
                memory_mb=memory_mb,
                calls_per_lease=CALLS_PER_LEASE,
                outcomes_per_report=OUTCOMES_PER_REPORT,
            )
        )
        * 1e6
    )
    rival = f"the lease's hop ({CALLS_PER_LEASE:g} calls a lease)"
    return [row("hop_usd_per_million", proxied, "USD", rival=rival, rival_value=leased, n=REQUESTS)]


def measured_work(model_dir: Path) -> Work:
    """Run requests through the whole handler, count and time what they make it do."""
    log, written = CountingLog(), StringIO()
    with redirect_stdout(written), lines_to(written):
        handle = ours.handler(model_dir, log=log)
        cpu_ms = [_cpu_ms(handle) for _ in range(REQUESTS)]
    records = log.closed[-10 * BATCH :]
    return Work(
        cpu_ms=median(cpu_ms[REQUESTS // 4 :]),
        store_wait_ms=STORE_WAIT_MS,
        open_bytes=round(median(item_bytes(open_item(record)) for record in log.opened)),
        record_bytes=round(median(item_bytes(closed_item(record)) for record in log.closed)),
        consumer_cpu_ms=_consumer_cpu_ms(records),
        log_bytes=len(written.getvalue().encode()) // REQUESTS,
    )


def choices(prices: HopPrices, work: Work, cold_ms: float) -> list[MemoryChoice]:
    """Every memory with its price and what it adds, for a function that takes WAITED_MS."""
    return [
        MemoryChoice(
            memory_mb=memory_mb,
            usd_per_million=hop.total_usd(hop.proxy_hop(prices, work, memory_mb=memory_mb, waited_ms=WAITED_MS)) * 1e6,
            own_ms=hop.own_time_ms(work, memory_mb),
            cold_ms=cold_ms * hop.AWS_FULL_CPU_MB / memory_mb,
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


def item_bytes(item: Item) -> int:
    """An item's size as DynamoDB counts it: names and values in UTF-8, a number about half a byte a digit plus one
    (docs.aws.amazon.com/amazondynamodb, "DynamoDB item sizes and formats")."""
    return sum(len(name.encode()) + _value_bytes(*next(iter(value.items()))) for name, value in item.items())


def _value_bytes(kind: str, value: object) -> int:
    if kind == "S":
        return len(str(value).encode())
    return len(str(value)) // 2 + 1 if kind == "N" else 1


def _cpu_ms(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return (process_time() - start) * 1000


def _consumer_cpu_ms(records: Sequence[InvocationRecord]) -> float:
    """Per record, folded in full batches."""
    states, archive = InMemoryEndpointStates(), InMemoryArchive()
    start = process_time()
    for first in range(0, len(records), BATCH):
        ingest(records[first : first + BATCH], states=states, archive=archive, batch_id=str(first))
    return (process_time() - start) * 1000 / len(records)
