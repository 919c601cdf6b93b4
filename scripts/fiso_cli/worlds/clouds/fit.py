"""Fits: services from measured calls. Pure.

Taken from a paired trace, per function and arm unless it says otherwise:

work        log-normal, by mean and variance of warm latencies at the lowest load measured, so that means are met where
            times are not quite log-normal; the way there is in them
under load  per provider: the exponent and spread by which warm latencies grow with ln(crowding), all functions pooled,
            weighted by calls. The load that a trace states is taken for calls in flight at one instance
start       log-normal, by mean and variance of what cold latencies have over warm ones at the same load
billing     the shares of work and start at which the tariff comes to the measured cost
failure     the share of calls that were not ok
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt
from statistics import fmean, pvariance

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.routing.levels import START_MS
from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds.published import START_SIGMA
from fiso_cli.worlds.clouds.service import Billing, Lognormal, Service, UnderLoad, crowding
from fiso_cli.worlds.trace import Measured, Round
from fiso_cli.worlds.trace_worlds import billed_ms_of
from fiso_cli.worlds.world import Arm

LEAST_CALLS = 5
"""Below it nothing is fitted: a start is then the provider's, a load's growth counts for nothing."""
LEAST_START_MS = 20.0
PRICED_CALLS = 200
HALVINGS = 40
MOST_SHARE = 4.0
ONE_INSTANCE = 1.0

Pair = tuple[str, EndpointId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The answered calls of one function on one arm at one load."""

    warm: list[Measured] = field(default_factory=list)
    cold: list[Measured] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Calls:
    """All calls of one function on one arm."""

    cells: dict[float, Cell] = field(default_factory=dict)
    failed: int = 0
    count: int = 0

    def add(self, load: float, call: Measured) -> None:
        self.count += 1
        if not call.ok:
            self.failed += 1
            return
        cell = self.cells.setdefault(load, Cell())
        (cell.cold if call.cold else cell.warm).append(call)

    @property
    def quiet(self) -> list[Measured]:
        """Warm ones at the lowest load that has enough of them; none where none has."""
        loads = [load for load, cell in self.cells.items() if len(cell.warm) >= LEAST_CALLS]
        return self.cells[min(loads)].warm if loads else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Services of every function on every arm that all of them were measured on; `dropped` names the rest."""

    services: Mapping[str, Mapping[EndpointId, Service]]
    arms: Mapping[EndpointId, Arm]
    under_load: Mapping[Provider, UnderLoad]
    dropped: tuple[str, ...]


def fit(rounds: Iterable[Round], arms: Mapping[EndpointId, Arm], tariff: Tariff) -> Fitted:
    """Fit all. `BadInput` when fewer than two arms are left."""
    calls = _by_pair(rounds)
    functions = _most_called_first(calls)
    whole = [
        arm for arm in arms if all((function, arm) in calls and calls[function, arm].quiet for function in functions)
    ]
    if len(whole) < 2:
        raise BadInput(f"nothing can be fitted: fewer than two arms have {LEAST_CALLS} warm calls of every function")
    kept = {pair: found for pair, found in calls.items() if pair[1] in whole}
    under_load = {provider: _under_load(_of(kept, arms, provider)) for provider in Provider}
    pooled = {provider: _pooled_start(_of(kept, arms, provider), provider) for provider in Provider}
    services: dict[str, dict[EndpointId, Service]] = {function: {} for function in functions}
    for (function, arm), found in kept.items():
        provider = arms[arm].provider
        start = _start(found) or pooled[provider]
        services[function][arm] = _service(found, start, under_load[provider], arms[arm].endpoint(), tariff)
    return Fitted(
        services=services,
        arms={arm: arms[arm] for arm in whole},
        under_load=under_load,
        dropped=tuple(arm for arm in arms if arm not in whole),
    )


def _by_pair(rounds: Iterable[Round]) -> dict[Pair, _Calls]:
    found: defaultdict[Pair, _Calls] = defaultdict(_Calls)
    for played in rounds:
        for arm, call in played.calls.items():
            found[played.function, arm].add(played.in_flight, call)
    return dict(found)


def _most_called_first(calls: Mapping[Pair, _Calls]) -> list[str]:
    totals: Counter[str] = Counter()
    for (function, _), found in calls.items():
        totals[function] += found.count
    return [function for function, _ in totals.most_common()]


def _of(kept: Mapping[Pair, _Calls], arms: Mapping[EndpointId, Arm], provider: Provider) -> list[_Calls]:
    return [calls for (_, arm), calls in kept.items() if arms[arm].provider is provider]


def _logs(calls: Sequence[Measured]) -> list[float]:
    return [log(call.latency_ms) for call in calls if call.latency_ms > 0]


def _under_load(of_provider: Sequence[_Calls]) -> UnderLoad:
    """Least squares through nothing at no crowding: of the mean logarithm, and of the variance that comes on top."""
    growth, variance, strength = 0.0, 0.0, 0.0
    for calls in of_provider:
        quiet = _logs(calls.quiet)
        for load, cell in calls.cells.items():
            crowded = log(crowding(load, ONE_INSTANCE))
            if len(cell.warm) >= LEAST_CALLS and crowded > 0:
                busy = _logs(cell.warm)
                strength += len(busy) * crowded**2
                growth += len(busy) * crowded * (fmean(busy) - fmean(quiet))
                variance += len(busy) * max(0.0, pvariance(busy) - pvariance(quiet))
    if not strength:
        return UnderLoad()
    return UnderLoad(exponent=growth / strength, spread=sqrt(variance / strength))


def _start(calls: _Calls) -> Lognormal | None:
    """By moments; None on too few cold calls beside warm ones."""
    pairs = [cell for cell in calls.cells.values() if len(cell.warm) >= LEAST_CALLS and cell.cold]
    count = sum(len(cell.cold) for cell in pairs)
    if count < LEAST_CALLS:
        return None
    longer = sum(len(c.cold) * (_mean_ms(c.cold) - _mean_ms(c.warm)) for c in pairs) / count
    wider = sum(len(c.cold) * (_variance(c.cold) - _variance(c.warm)) for c in pairs) / count
    return _by_moments(max(LEAST_START_MS, longer), max(0.0, wider))


def _by_moments(mean_ms: float, variance: float) -> Lognormal:
    """The log-normal time with this mean and variance."""
    sigma = sqrt(log(1 + variance / mean_ms**2)) if mean_ms else 0.0
    return Lognormal(median_ms=mean_ms / exp(sigma**2 / 2), sigma=sigma)


def _pooled_start(of_provider: Sequence[_Calls], provider: Provider) -> Lognormal:
    known = [start for start in map(_start, of_provider) if start is not None]
    if not known:
        return Lognormal(median_ms=START_MS[provider], sigma=START_SIGMA)
    return Lognormal(
        median_ms=exp(fmean(log(start.median_ms) for start in known)), sigma=fmean(start.sigma for start in known)
    )


def _service(calls: _Calls, start: Lognormal, under_load: UnderLoad, endpoint: Endpoint, tariff: Tariff) -> Service:
    return Service(
        work=_by_moments(_mean_ms(calls.quiet), _variance(calls.quiet)),
        start=start,
        under_load=under_load,
        billing=Billing(
            work_share=_work_share(calls.quiet, endpoint, tariff),
            start_share=_start_share(calls, start, endpoint, tariff),
        ),
        failure=calls.failed / calls.count,
    )


def _work_share(warm: Sequence[Measured], endpoint: Endpoint, tariff: Tariff) -> float:
    """By halving: the tariff rounds up, so that it is not simply billed over measured. 1 without a price."""
    priced = warm[:: max(1, len(warm) // PRICED_CALLS)]
    paid = fmean(call.cost_usd for call in priced)
    if tariff.cost_usd(endpoint, 0.0) is None:
        return 1.0
    low, high = 0.0, MOST_SHARE
    for _ in range(HALVINGS):
        share = (low + high) / 2
        due = fmean(tariff.cost_usd(endpoint, call.latency_ms * share) or 0.0 for call in priced)
        low, high = (low, share) if due > paid else (share, high)
    return (low + high) / 2


def _start_share(calls: _Calls, start: Lognormal, endpoint: Endpoint, tariff: Tariff) -> float:
    pairs = [cell for cell in calls.cells.values() if len(cell.warm) >= LEAST_CALLS and len(cell.cold) >= LEAST_CALLS]
    billed = [
        (_billed(cell.cold, endpoint, tariff) - _billed(cell.warm, endpoint, tariff)) / start.mean_ms for cell in pairs
    ]
    return max(0.0, fmean(billed)) if billed else 1.0


def _billed(calls: Sequence[Measured], endpoint: Endpoint, tariff: Tariff) -> float:
    return billed_ms_of(fmean(call.cost_usd for call in calls), endpoint, tariff) or 0.0


def _mean_ms(calls: Sequence[Measured]) -> float:
    return fmean(call.latency_ms for call in calls)


def _variance(calls: Sequence[Measured]) -> float:
    return pvariance([call.latency_ms for call in calls])
