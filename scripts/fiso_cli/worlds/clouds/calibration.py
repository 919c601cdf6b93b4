"""Calibration: a world fitted to half of the measured calls of a paired trace, and how far it is off on the other half.

A trace may draw the same measurement many times; all its draws belong to one half: nothing is both fitted and judged.

Error, per function, arm and load: simulated over measured, less 1, of mean latency, p95 and cost. Each measured call of
the other half is simulated DRAWS times at its stated load, cold exactly where it was cold: what makes a call cold in
such a trace is the measurement's design, so the share of cold calls is taken from it and is no part of the error.
Calls that were not ok are left out on both sides. Cells with fewer than LEAST_ROWS calls do not count in the summary.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso_cli.worlds.clouds.common_random_numbers import luck
from fiso_cli.worlds.clouds.fit import ONE_INSTANCE, Fitted, fit
from fiso_cli.worlds.clouds.service import Service, crowding
from fiso_cli.worlds.figures import percentile, ratio
from fiso_cli.worlds.trace import Call, Round, Trace
from fiso_cli.worlds.trace_catalog import endpoint_of

DRAWS = 5
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What calls come to: ms, ms, and USD a call."""

    mean_ms: float
    p95_ms: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellError:
    """One function on one arm at one load."""

    function: str
    arm: EndpointId
    load: float
    rows: int
    cold_share: float
    measured: Level
    simulated: Level

    @property
    def errors(self) -> Mapping[str, float | None]:
        """Relative, signed; None over nothing."""
        pairs = {
            "mean": (self.simulated.mean_ms, self.measured.mean_ms),
            "p95": (self.simulated.p95_ms, self.measured.p95_ms),
            "cost": (self.simulated.cost_usd, self.measured.cost_usd),
        }
        return {name: ratio(found - known, known) for name, (found, known) in pairs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Absolute relative errors over the cells that count."""

    median: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted and how well it fits."""

    trace: str
    fitted: Fitted
    cells: tuple[CellError, ...]

    @property
    def counted(self) -> Sequence[CellError]:
        """The cells with enough calls."""
        return [cell for cell in self.cells if cell.rows >= LEAST_ROWS]

    def summary(self, name: str) -> Summary | None:
        """Of `mean`, `p95` or `cost`; None when no cell counts."""
        errors = [abs(error) for cell in self.counted if (error := cell.errors[name]) is not None]
        return Summary(median=median(errors), worst=max(errors)) if errors else None


def calibrated(trace: Trace, tariff: Tariff) -> Calibration:
    """Fit and compare. `fit.TooFewCalls` when nothing can be fitted."""
    to_fit, to_judge = halves(trace.rounds)
    fitted = fit(to_fit, trace.arms, tariff)
    measured: defaultdict[tuple[str, EndpointId, float], list[tuple[int, Call]]] = defaultdict(list)
    for played in to_judge:
        for arm, call in played.calls.items():
            if call.ok and arm in fitted.arms and played.function in fitted.services:
                measured[played.function, arm, played.in_flight].append((played.number, call))
    cells = [_cell(key, calls, fitted, tariff) for key, calls in measured.items()]
    return Calibration(
        trace=trace.name,
        fitted=fitted,
        cells=tuple(sorted(cells, key=lambda cell: (cell.function, cell.arm, cell.load))),
    )


def halves(rounds: Sequence[Round]) -> tuple[list[Round], list[Round]]:
    """The calls to fit and those to judge by, in the rounds they stand in.

    Per function, arm, load and kind of call the measurements take turns, in the order in which they first appear.
    """
    halves_of: dict[tuple[object, ...], int] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for played in rounds:
        for arm, call in played.calls.items():
            cell, measurement = _cell_and_measurement(played, arm, call)
            if measurement not in halves_of:
                halves_of[measurement] = seen[cell] % 2
                seen[cell] += 1

    def part(played: Round, half: int) -> Round:
        calls = played.calls.items()
        mine = {arm: call for arm, call in calls if halves_of[_cell_and_measurement(played, arm, call)[1]] == half}
        return replace(played, calls=mine)

    return [part(played, 0) for played in rounds], [part(played, 1) for played in rounds]


def _cell_and_measurement(played: Round, arm: EndpointId, call: Call) -> tuple[tuple[object, ...], tuple[object, ...]]:
    cell = (played.function, arm, played.in_flight, call.cold, call.ok)
    return cell, (*cell, call.latency_ms, call.cost_usd)


def _cell(
    key: tuple[str, EndpointId, float], calls: Sequence[tuple[int, Call]], fitted: Fitted, tariff: Tariff
) -> CellError:
    function, arm, load = key
    service, endpoint = fitted.services[function][arm], endpoint_of(fitted.arms[arm])
    again = [
        _simulated(service, endpoint, load, tariff, (number, draw, bool(call.cold)))
        for number, call in calls
        for draw in range(DRAWS)
    ]
    return CellError(
        function=function,
        arm=arm,
        load=load,
        rows=len(calls),
        cold_share=fmean(bool(call.cold) for _, call in calls),
        measured=_level((call.latency_ms, call.cost_usd) for _, call in calls),
        simulated=_level(again),
    )


def _simulated(
    service: Service, endpoint: Endpoint, load: float, tariff: Tariff, which: tuple[int, int, bool]
) -> tuple[float, float]:
    """Latency and cost of one call: `which` is its round, its draw, and whether it is cold."""
    number, draw, is_cold = which
    chance = luck(draw, number, endpoint.id)
    start_ms = service.start.at(chance.start) if is_cold else 0.0
    latency_ms = service.latency_ms(chance, crowded=crowding(load, ONE_INSTANCE), wait_ms=start_ms)
    return latency_ms, tariff.cost_usd(endpoint, service.billed_ms(chance, start_ms=start_ms)) or 0.0


def _level(calls: Iterable[tuple[float, float]]) -> Level:
    found = list(calls)
    latencies = sorted(latency_ms for latency_ms, _ in found)
    return Level(
        mean_ms=fmean(latencies),
        p95_ms=percentile(latencies, 0.95),
        cost_usd=fmean(cost_usd for _, cost_usd in found),
    )
