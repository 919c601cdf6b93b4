"""Arms: how the requests of one arm of a comparison went against the other's, by what was recorded of both. Pure.

An answer is charged for its time and its bill at once, by the weights of the policy that decided it: the geometric mean
latency ** w * cost ** (1 - w), so that neither unit matters. Like is compared with like: charges and failures are asked
function by function, and the evidence of all functions is one product.

Whether an arm does harm is asked by the sequential tests of decision 18, which may be looked at after every request:
the chance that they call an arm harmful that is worse by less than MARGIN is at most ALPHA, however often one looks.
Where tenants were drawn, each counts once: its requests all went to one arm, and say little more than the first ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import exp, log
from typing import NamedTuple

from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName
from fiso.domain.record import SHORTEST_MS, InvocationRecord, RecordStatus
from fiso_client.core.failures import CALLERS_FAULT
from fiso_client.core.sequential import ALPHA, Proportions, Ranks, log_mean

MARGIN = 1.05
"""So many times the other's charges and failures are as good as the same; as for canaries."""
MOST_OF_BLOCK = 20
REQUESTS_OF_TENANT = 20
LEAST_USD = 1e-12
_NOT_BY_THE_ARM = frozenset({None, Reason.POLICY, Reason.CONTROL, Reason.AFFINITY, Reason.CANARY})
"""What chose the copy instead of a score: the same in both arms."""


class Outcome(NamedTuple):
    """How one request of an arm went. `charge` is None where no answer was had."""

    at: datetime
    function: FunctionName
    tenant: str
    arm: str
    failed: bool
    latency_ms: float
    cost_usd: float | None
    charge: float | None


def outcomes(records: Iterable[InvocationRecord], run: str) -> Iterator[Outcome]:
    """Those that were drawn in a run and that its arm decided."""
    for record in records:
        draw = record.decision.arm
        if draw is None or draw.run != run or record.status is not RecordStatus.FINAL or not record.attempts:
            continue
        if record.decision.reason in _NOT_BY_THE_ARM or record.attempts[-1].failure in CALLERS_FAULT:
            continue
        failed, usd = record.result.error_occurred, record.result.cost_usd
        ms = max(SHORTEST_MS, sum(attempt.latency_ms for attempt in record.attempts))
        weight = draw.latency_weight if usd is not None else 1.0
        yield Outcome(
            at=record.timestamp,
            function=record.request.function_name,
            tenant=record.request.tenant,
            arm=draw.arm,
            failed=failed,
            latency_ms=ms,
            cost_usd=usd,
            charge=None if failed else exp(weight * log(ms) + (1 - weight) * log(max(LEAST_USD, usd or 0.0))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """What an arm's requests came to. Means are of answers; None where there were none."""

    requests: int = 0
    failures: int = 0
    latency_ms: float | None = None
    cost_usd: float | None = None


def figures(found: Iterable[Outcome], arm: str) -> ArmFigures:
    own = [outcome for outcome in found if outcome.arm == arm]
    answered = [outcome for outcome in own if not outcome.failed]
    bills = [outcome.cost_usd for outcome in answered if outcome.cost_usd is not None]
    return ArmFigures(
        requests=len(own),
        failures=sum(outcome.failed for outcome in own),
        latency_ms=sum(outcome.latency_ms for outcome in answered) / len(answered) if answered else None,
        cost_usd=sum(bills) / len(bills) if bills else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """The evidence, so far, that arm `a` does worse than `b`. `at` is set once it was enough."""

    failures: float = 0.0
    charge: float = 0.0
    blocks: int = 0
    at: datetime | None = None
    why: str = ""

    @property
    def log_e(self) -> float:
        return log_mean(self.failures, self.charge)


def harm(found: Iterable[Outcome], a: str, b: str, *, by_tenant: bool = False, alpha: float = ALPHA) -> Harm:
    """Asked after every block in the order of time, and not asked on once it is shown."""
    units = sorted(found, key=lambda outcome: outcome.at)
    open_blocks: defaultdict[FunctionName, _Block] = defaultdict(_Block)
    tests: dict[FunctionName, _Tests] = {}
    seen = Harm()
    for outcome in _one_of_each_tenant(units) if by_tenant else units:
        if outcome.arm not in (a, b):
            continue
        block = open_blocks[outcome.function]
        block.add(outcome, is_a=outcome.arm == a)
        if not (block.n_a and block.n_b):
            continue
        open_blocks[outcome.function] = _Block()
        tests[outcome.function] = tests.get(outcome.function, _Tests()).after(block)
        seen = Harm(
            failures=sum(test.failures.log_e for test in tests.values()),
            charge=sum(test.charge.log_e for test in tests.values()),
            blocks=seen.blocks + 1,
        )
        if seen.log_e >= -log(alpha):
            return replace(seen, at=outcome.at, why=_why(seen, tests))
    return seen


@dataclass(slots=True)
class _Block:
    """Requests next to each other in time, ended by the first one of whichever arm was missing."""

    n_a: int = 0
    failed_a: int = 0
    charges_a: list[float] = field(default_factory=list)
    n_b: int = 0
    failed_b: int = 0
    charges_b: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, *, is_a: bool) -> None:
        charge = [] if outcome.charge is None else [outcome.charge]
        if is_a:
            self.n_a, self.failed_a = self.n_a + 1, self.failed_a + outcome.failed
            self.charges_a = (self.charges_a + charge)[-MOST_OF_BLOCK:]
        else:
            self.n_b, self.failed_b = self.n_b + 1, self.failed_b + outcome.failed
            self.charges_b = (self.charges_b + charge)[-MOST_OF_BLOCK:]


class _Tests(NamedTuple):
    failures: Proportions = Proportions()
    charge: Ranks = Ranks()

    def after(self, block: _Block) -> "_Tests":
        return _Tests(
            self.failures.with_block(block.failed_a, block.n_a, block.failed_b, block.n_b, ratio=MARGIN),
            self.charge.with_block(block.charges_a, block.charges_b, ratio=MARGIN),
        )


def _why(seen: Harm, tests: Mapping[FunctionName, _Tests]) -> str:
    if seen.failures >= seen.charge:
        worst = max(tests, key=lambda name: tests[name].failures.log_e)
        known = tests[worst].failures
        return f"more failures: of {worst} {known.odd_a} of {known.n_a} against {known.odd_b} of {known.n_b}"
    worst = max(tests, key=lambda name: tests[name].charge.log_e)
    ranks = tests[worst].charge
    above = 50 * (1 + ranks.total / ranks.blocks)
    dearer = f"dearer or slower by more than {MARGIN - 1:.0%}"
    return f"{dearer}: of {worst} in {above:.0f} % of {ranks.blocks} comparisons"


def _one_of_each_tenant(units: Sequence[Outcome]) -> Iterator[Outcome]:
    """One for each tenant, of the function that it called first: the mean charge of its first requests, and whether one
    of them failed; told at the last of these."""
    first: dict[str, list[Outcome]] = {}
    for outcome in units:
        own = first.setdefault(outcome.tenant, [])
        if len(own) == REQUESTS_OF_TENANT or (own and own[0].function != outcome.function):
            continue
        own.append(outcome)
        if len(own) == REQUESTS_OF_TENANT:
            charges = [each.charge for each in own if each.charge is not None]
            mean = exp(sum(map(log, charges)) / len(charges)) if charges else None
            yield outcome._replace(charge=mean, failed=any(each.failed for each in own))
