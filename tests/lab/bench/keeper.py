"""A keeper's round on a virtual clock: the genuine reconciliation over lines that are read as CloudWatch lets them be,
and written as fast as a keeper's share of a processor can.

Spilled lines are in a group of their own: where nothing is spilled, nothing is read at any rate of requests.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.billing.hop import AWS_FULL_CPU_MB
from fiso.codecs import spilled_line
from fiso.codecs.record import to_document
from fiso.domain.errors import StoreUnavailable
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import Reconciliation
from fiso.services.log.spill import MARK
from fiso.services.maintenance.keep import Keeper
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryCatalogStore, InMemoryInvocationLog, InMemorySnapshots, InMemoryWatermark
from fiso_cli.cost import template
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import KEYRING, a_record, an_entry
from tests.held_executor import HeldExecutor
from tests.lab.bench import rows
from tests.lab.bench.rows import Row

PAGE_BYTES, PAGES_PER_S = 1_000_000, 10.0
"""What one FilterLogEvents gives, and how many an account may ask a second ("CloudWatch Logs quotas", AWS)."""
WRITE_S, WRITERS = 0.005, 8
"""A write as DynamoDB promises it ("single-digit milliseconds"), and the keeper's at once."""
EVERY_S, LONGEST_ROUND_S = 60.0, 20.0
MEASURED = 500


class Spilling:
    """`rate_per_s` spilled records a second from `since` for `lasts`; pages take their time."""

    def __init__(self, clock: ManualClock, rate_per_s: float, lasts: timedelta) -> None:
        self._clock, self._rate_per_s, self.since = clock, rate_per_s, clock()
        self._until = self.since + lasts

    @property
    def total(self) -> int:
        """How many there are in all."""
        return int((self._until - self.since).total_seconds() * self._rate_per_s)

    def pages(self, start: datetime, end: datetime) -> Iterator[Sequence[SpilledLine]]:
        """Those of a time."""
        first, last = (self._number(each) for each in (start, end))
        page, size = list[SpilledLine](), 0
        for number in range(first, last):
            page.append(line_of(number, self.since + timedelta(seconds=number / self._rate_per_s)))
            size += len(page[-1].text)
            if size >= PAGE_BYTES:
                self._clock.advance(1 / PAGES_PER_S)
                yield page
                page, size = [], 0
        self._clock.advance(1 / PAGES_PER_S)
        yield page

    def _number(self, at: datetime) -> int:
        within = min(max(at, self.since), self._until, self._clock())
        return int((within - self.since).total_seconds() * self._rate_per_s)


def line_of(number: int, at: datetime) -> SpilledLine:
    """One spilled final record."""
    document = to_document(a_record(number))
    text = json.dumps({"level": "ERROR", "message": MARK, MARK: spilled_line.written(document, KEYRING)})
    return SpilledLine(id=str(number), written_at=at, text=text)


class _Taken(HttpTransport):
    """DynamoDB that takes everything at once."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        may_repeat: bool = False,
        **_: object,
    ) -> HttpAnswer:
        return HttpAnswer(status=200, headers={}, body=b"{}")


def cpu_s() -> float:
    """Of one spilled line on a whole processor: its mark checked, its record read, written and signed. What the
    connection itself takes is left out."""
    service = SignedService(
        endpoint=AwsEndpoint(service="dynamodb", region="us-east-1", url="https://dynamodb.us-east-1.amazonaws.com"),
        credentials=Credentials(access_key="key", secret_key="secret"),
        transport=_Taken(),
        clock=lambda: datetime.now(UTC),
    )
    clock = ManualClock()
    lines = Spilling(clock, MEASURED, timedelta(seconds=1))
    clock.advance(1)
    reconciliation = _reconciliation(lines, clock, DynamoDBInvocationLog(DynamoDBClient(service), "log", clock=clock))
    reconciliation.watermark.move(lines.since)
    written = [list(page) for page in lines.pages(lines.since, clock())]  # not ours to pay
    lines.pages = lambda start, end: iter(written if end > lines.since else [])  # type: ignore[method-assign]
    began = time.process_time()
    assert reconciliation.reconcile(until=clock() + timedelta(hours=1)).written == MEASURED
    return (time.process_time() - began) / MEASURED


def _reconciliation(
    lines: Spilling, clock: ManualClock, log: InMemoryInvocationLog | DynamoDBInvocationLog
) -> Reconciliation:
    return Reconciliation(
        spilled=lines,
        keys=lambda: KEYRING,
        watermark=InMemoryWatermark(),
        log=log,
        clock=clock,
        executor=HeldExecutor(),
    )


def rounds_s(rate_per_s: float, *, spilled_for: timedelta = timedelta(0), each_s: float = 0.0) -> list[float]:
    """How long rounds take, a minute apart, of which each record takes `each_s`: while so many are spilled a second,
    and until all of them are in the log."""
    clock = ManualClock()
    lines, log, catalog = Spilling(clock, rate_per_s, spilled_for), InMemoryInvocationLog(), InMemoryCatalogStore()
    catalog.replace([an_entry()], based_on=0, author="ada")
    log.before = lambda operation: clock.advance(each_s if operation == "close" else 0.0)
    reconciliation = _reconciliation(lines, clock, log)
    reconciliation.watermark.move(clock())
    keeper = Keeper(
        log=log,
        reconciliation=reconciliation,
        catalog=catalog,
        snapshots=InMemorySnapshots(),
        clock=clock,
        sleep=clock.advance,
        executor=HeldExecutor(),
    )
    took: list[float] = []
    for _ in count():
        clock.advance(EVERY_S - (took[-1] if took else 0.0))
        began = clock()
        with suppress(StoreUnavailable):
            keeper.keep()
        took.append((clock() - began).total_seconds())
        if len(log.records) == lines.total:
            return took
    return took


def measure(say: Callable[[str], object]) -> Sequence[Row]:
    """The longest round where nothing is spilled, where a hundredth and a tenth are, and after a minute without a
    table; and how long that minute's records are on their way."""
    setup, whole_s = template.setup(), cpu_s()
    each_s = max(WRITE_S / WRITERS, whole_s * AWS_FULL_CPU_MB / setup.keeper_mb)
    say(f"a record takes {whole_s * 1000:.2f} ms of a processor, {each_s * 1000:.2f} ms at {setup.keeper_mb} MB")
    soon, in_time = rows.at_most(1.0), rows.at_most(LONGEST_ROUND_S)
    quiet = rounds_s(5_000)
    found = [rows.row("keeper_round_quiet_5000_per_s", max(quiet), "s", rival="", rival_value=None, n=1, gate=soon)]
    for name, rate, minutes in (("1_percent", 10, 10), ("10_percent", 100, 5), ("all", 1_000, 1)):
        took = rounds_s(rate, spilled_for=timedelta(minutes=minutes), each_s=each_s)
        said = f"{len(took)} rounds of {min(took):.1f} to {max(took):.1f} s"
        say(f"1,000 requests/s, {name} spilled for {minutes} min: {said}")
        row = f"keeper_round_1000_per_s_{name}_spilled"
        found.append(rows.row(row, max(took), "s", rival="", rival_value=None, n=len(took), gate=in_time))
    return found
