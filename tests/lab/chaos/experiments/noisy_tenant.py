"""Row 24: a tenant that sends ten times its quota, beside tenants within theirs, over many environments.

Time is virtual: arrivals are Poisson, a call takes a log-normal time around 110 ms, an environment serves one request
at a time and the one that was used last is used next, as Lambda does. The quotas are the genuine ones, one set an
environment, meeting in one table in memory. What others wait for (their latency) is for the rig to measure.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from fiso_cli.inline_executor import Inline
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none

if TYPE_CHECKING:
    from fiso.ports import TenantUse
    from fiso.services.identity.quotas import Quotas

START = datetime(2026, 11, 23, tzinfo=UTC)
OFFENDER, HONEST = "offender", tuple(f"honest-{number}" for number in range(4))
PER_S, BURST = 50.0, 50.0
TIMES_OVER, PART_USED = 10.0, 0.6
CALL_MS, SIGMA = 110.0, 0.3
REFUSAL_MS = 2.0


class VirtualClock:
    """Seconds since START, as a time of day."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> datetime:
        """Now."""
        return START + timedelta(seconds=self.at_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How long, and how much each tenant sends a second."""

    seconds: float
    rates: dict[str, float]

    def arrivals(self, rng: Random) -> Iterator[tuple[float, str]]:
        """Times and tenants, in order."""
        total, at_s = sum(self.rates.values()), 0.0
        while (at_s := at_s + rng.expovariate(total)) < self.seconds:
            yield at_s, rng.choices(list(self.rates), list(self.rates.values()))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of a load: requests that passed and that were refused, per tenant."""

    seconds: float
    passed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    environments: int = 0
    writes: int = 0

    def rate(self, tenant: str) -> float:
        """Requests a second that passed."""
        return self.passed[tenant] / self.seconds


class Fleet:
    """Execution environments, each with quotas of its own that meet in `use`."""

    def __init__(self, use: "TenantUse | None", rng: Random) -> None:
        self._use, self._rng, self._clock = use, rng, VirtualClock()
        self._idle: list[Quotas] = []
        self._busy: list[tuple[float, int, Quotas]] = []
        self._order = count()
        self.made = 0

    def serve(self, at_s: float, tenant: str) -> bool:
        """Whether a request that arrives then passes."""
        from fiso.domain.errors import QuotaExceeded
        from fiso.domain.request import TenantId

        self._free(at_s)
        self._clock.at_s = at_s
        quotas = self._idle.pop() if self._idle else self._made()
        try:
            quotas.admit(TenantId(tenant))
            takes_ms, passes = CALL_MS * self._rng.lognormvariate(0.0, SIGMA), True
        except QuotaExceeded:
            takes_ms, passes = REFUSAL_MS, False
        heapq.heappush(self._busy, (at_s + takes_ms / 1000, next(self._order), quotas))
        return passes

    def _free(self, at_s: float) -> None:
        """Environments whose request has been answered by then; an exchange is taken in when the wait is over."""
        while self._busy and self._busy[0][0] <= at_s:
            self._clock.at_s, _, quotas = heapq.heappop(self._busy)
            quotas.await_pending()
            self._idle.append(quotas)

    def _made(self) -> "Quotas":
        from fiso.services.identity.quotas import Quotas, in_words

        self.made += 1
        rules = in_words(f"{PER_S}/{BURST}")
        return Quotas(lambda: rules, self._use, clock=self._clock, executor=Inline())


def run(setting: Setting) -> Sequence[Figure]:
    """The offender with others, several times over."""
    from fiso.testing.memory import InMemoryTenantUse

    rates = {OFFENDER: TIMES_OVER * PER_S} | dict.fromkeys(HONEST, PART_USED * PER_S)
    tallies = []
    for number in range(setting.sized(full=10, quick=3)):
        use = InMemoryTenantUse()
        load = Load(seconds=setting.sized(full=300, quick=150), rates=rates)
        tally = tally_of(load, use, Random(setting.seed + number))  # nosec B311: a repeatable draw
        tallies.append(tally)
        setting.say(
            f"{tally.environments} environments: the offender got {tally.rate(OFFENDER):.2f} of {PER_S:g} a second"
        )
    rows = [{"seconds": t.seconds, "passed": t.passed, "refused": t.refused, "writes": t.writes} for t in tallies]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (setting.folder / "noisy_tenant.jsonl").write_text(lines, encoding="utf-8")
    return figures(tallies)


def tally_of(load: Load, use: "TenantUse | None", rng: Random) -> Tally:
    """Play a load against a fleet. `use` None: the table is gone."""
    fleet, passed, refused = Fleet(use, rng), Counter[str](), Counter[str]()
    for at_s, tenant in load.arrivals(rng):
        (passed if fleet.serve(at_s, tenant) else refused)[tenant] += 1
    writes = getattr(use, "writes", 0)
    return Tally(seconds=load.seconds, passed=passed, refused=refused, environments=fleet.made, writes=writes)


def figures(tallies: Sequence[Tally]) -> list[Figure]:
    """What the tallies say: the offender's worst distance from its quota, and what others lost."""
    off = max(abs(tally.rate(OFFENDER) / PER_S - 1) for tally in tallies)
    sent = sum(tally.passed.total() for tally in tallies)
    honest = sum(tally.passed[name] + tally.refused[name] for tally in tallies for name in HONEST)
    lost = sum(tally.refused[name] for tally in tallies for name in HONEST)
    offers = sum(tally.passed[OFFENDER] + tally.refused[OFFENDER] for tally in tallies)
    writes = sum(tally.writes for tally in tallies) / sent
    return [
        Figure(
            name="offender's distance from its quota", value=off, op=Op.AT_MOST, target=0.05, unit="share", n=offers
        ),
        count_of_none("requests of others refused", lost, honest, "requests"),
        Figure(name="table writes per request passed", value=writes, op=Op.AT_MOST, target=1.0, unit="writes", n=sent),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=24,
        name="noisy-tenant",
        question="Is a tenant that sends ten times its quota held to it, and does nobody else notice?",
        run=run,
    ),
)
