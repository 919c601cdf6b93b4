"""A keeper's round on a virtual clock: the genuine reconciliation over logs that are read as CloudWatch lets them be.

The orchestrator's lines are in one log group, of which only what was spilled is wanted, and all is read for it. How
many bytes they are `fiso cost` counts.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from fiso.billing.hop import LAMBDA_LINES_BYTES
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import Reconciliation
from fiso.services.maintenance.keep import Keeper
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryCatalogStore, InMemoryInvocationLog, InMemorySnapshots, InMemoryWatermark
from fiso_cli.cost import measured
from tests.builders import KEYRING, an_entry
from tests.held_executor import HeldExecutor
from tests.lab.bench import rows
from tests.lab.bench.rows import Row

PAGE_BYTES, PAGES_PER_S = 1_000_000, 10.0
"""What one FilterLogEvents looks through, and how many an account may ask a second ("CloudWatch Logs quotas", AWS).
Assumed: a page is as much of what is looked through as it may be of what is found."""
ROUNDS, EVERY_S = 15, 60.0
LONGEST_ROUND_S = 20.0


class NoSigns:
    """Of nothing spilled."""

    def minutes(self, start: datetime, end: datetime) -> frozenset[datetime]:
        return frozenset()


class BusyLogs:
    """Lines of a steady rate, none of them spilled; a page takes its time."""

    def __init__(self, clock: ManualClock, bytes_per_s: float) -> None:
        self._clock, self._bytes_per_s = clock, bytes_per_s
        self.looked_through = 0.0

    def pages(self, start: datetime, end: datetime) -> Iterator[Sequence[SpilledLine]]:
        """As many as there are bytes for."""
        size = (end - start).total_seconds() * self._bytes_per_s
        self.looked_through += size
        for _ in range(1 + int(size / PAGE_BYTES)):
            self._clock.advance(1 / PAGES_PER_S)
            yield ()


def rounds_s(rate_per_s: float, signs: NoSigns | None = None) -> list[float]:
    """How long each of ROUNDS rounds takes, a minute apart; without `signs` while something is spilled all the time."""
    clock = ManualClock()
    lines_bytes = measured.work().log_bytes + LAMBDA_LINES_BYTES
    watermark, catalog = InMemoryWatermark(), InMemoryCatalogStore(clock=clock)
    watermark.move(clock())
    catalog.replace([an_entry()], based_on=0, author="ada")
    log, executor = InMemoryInvocationLog(), HeldExecutor()
    keeper = Keeper(
        log=log,
        reconciliation=Reconciliation(
            spilled=BusyLogs(clock, rate_per_s * lines_bytes),
            keys=lambda: KEYRING,
            signs=signs,
            watermark=watermark,
            log=log,
            clock=clock,
            executor=executor,
        ),
        catalog=catalog,
        snapshots=InMemorySnapshots(),
        clock=clock,
        sleep=clock.advance,
        executor=executor,
    )
    took: list[float] = []
    for _ in range(ROUNDS):
        began = clock()
        clock.advance(EVERY_S - (took[-1] if took else 0.0))
        began += timedelta(seconds=EVERY_S - (took[-1] if took else 0.0))
        keeper.keep()
        took.append((clock() - began).total_seconds())
    return took


def measure(say: Callable[[str], object]) -> Sequence[Row]:
    """The longest round at three rates while something is spilled, and where nothing is."""
    quiet = max(rounds_s(5_000, NoSigns()))
    name, soon = "keeper_round_quiet_5000_per_s", rows.at_most(1.0)
    found = [rows.row(name, quiet, "s", rival="", rival_value=None, n=ROUNDS, gate=soon)]
    for rate_per_s in (100, 1_000, 2_000):
        took = rounds_s(rate_per_s)
        say(f"{rate_per_s} requests/s: rounds of {min(took):.1f} to {max(took):.1f} s")
        gate = rows.at_most(LONGEST_ROUND_S) if rate_per_s <= 1_000 else None
        name = f"keeper_round_{rate_per_s}_per_s"
        found.append(rows.row(name, max(took), "s", rival="", rival_value=None, n=len(took), gate=gate))
    return found
