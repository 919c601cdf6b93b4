"""Calibration: clouds fitted to half of the measured calls of a paired trace, and how far they are off on the other.

A trace may draw the same measurement many times; all its draws belong to one half: nothing is both fitted and judged.

Error, per function, arm and load: simulated over measured, less 1, of mean latency, p95 and cost. Each measured call of
the other half is simulated DRAWS times at its stated load, cold exactly where it was cold: what makes a call cold in
such a trace is the measurement's design, so the share of cold calls is taken from it and is no part of the error.
Calls that were not ok are left out on both sides. Cells with fewer than LEAST_ROWS calls do not count in the summary.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso_cli.rendering import Document, Table, figure, share, text
from fiso_cli.worlds.clouds.fit import ONE_INSTANCE, Fitted, fit
from fiso_cli.worlds.clouds.service import Service, common_draws, crowding
from fiso_cli.worlds.figures import ratio
from fiso_cli.worlds.objective import quantile
from fiso_cli.worlds.trace import Measured, Round, Trace

DRAWS = 5
LEAST_ROWS = 20
NAMES = ("mean", "p95", "cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What calls come to: ms, ms, and USD a call."""

    mean_ms: float
    p95_ms: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellError:
    """One function on one arm at one load. `error` by NAMES: relative, signed; None over nothing."""

    function: str
    arm: EndpointId
    load: float
    rows: int
    cold_share: float
    measured: Level
    simulated: Level
    error: Mapping[str, float | None]


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

    def summary(self, name: str) -> Mapping[str, float] | None:
        """The `median` and `worst` absolute error over the cells that count; None when none does."""
        errors = [abs(error) for cell in self.counted if (error := cell.error[name]) is not None]
        return {"median": median(errors), "worst": max(errors)} if errors else None


def calibrated(trace: Trace, tariff: Tariff) -> Calibration:
    """Fit and compare. `BadInput` when nothing can be fitted."""
    to_fit, to_judge = halves(trace.rounds)
    fitted = fit(to_fit, trace.arms, tariff)
    measured: defaultdict[tuple[str, EndpointId, float], list[tuple[int, Measured]]] = defaultdict(list)
    for played in to_judge:
        for arm, call in played.calls.items():
            if call.ok and arm in fitted.arms and played.function in fitted.services:
                measured[played.function, arm, played.in_flight].append((played.number, call))
    cells = [_cell(key, calls, fitted, tariff) for key, calls in measured.items()]
    ordered = sorted(cells, key=lambda cell: (cell.function, cell.arm, cell.load))
    return Calibration(trace=trace.name, fitted=fitted, cells=tuple(ordered))


def halves(rounds: Sequence[Round]) -> tuple[list[Round], list[Round]]:
    """The calls to fit and those to judge by, in the rounds they stand in.

    Per function, arm, load and kind of call the measurements take turns, in the order in which they first appear.
    """
    halves_of: dict[tuple[object, ...], int] = {}
    count: Counter[tuple[object, ...]] = Counter()
    for played in rounds:
        for arm, call in played.calls.items():
            cell, measurement = _cell_and_measurement(played, arm, call)
            if measurement not in halves_of:
                halves_of[measurement] = count[cell] % 2
                count[cell] += 1

    def part(played: Round, half: int) -> Round:
        calls = played.calls.items()
        mine = {arm: call for arm, call in calls if halves_of[_cell_and_measurement(played, arm, call)[1]] == half}
        return replace(played, calls=mine)

    return [part(played, 0) for played in rounds], [part(played, 1) for played in rounds]


def _cell_and_measurement(
    played: Round, arm: EndpointId, call: Measured
) -> tuple[tuple[object, ...], tuple[object, ...]]:
    cell = (played.function, arm, played.in_flight, call.cold, call.ok)
    return cell, (*cell, call.latency_ms, call.cost_usd)


def _cell(
    key: tuple[str, EndpointId, float], calls: Sequence[tuple[int, Measured]], fitted: Fitted, tariff: Tariff
) -> CellError:
    function, arm, load = key
    service, endpoint = fitted.services[function][arm], fitted.arms[arm].endpoint()
    again = [
        _simulated(service, endpoint, load, tariff, (number, draw, bool(call.cold)))
        for number, call in calls
        for draw in range(DRAWS)
    ]
    measured, simulated = _level((call.latency_ms, call.cost_usd) for _, call in calls), _level(again)
    pairs = zip(NAMES, asdict(measured).values(), asdict(simulated).values(), strict=True)
    return CellError(
        function=function,
        arm=arm,
        load=load,
        rows=len(calls),
        cold_share=fmean(bool(call.cold) for _, call in calls),
        measured=measured,
        simulated=simulated,
        error={name: ratio(found - known, known) for name, known, found in pairs},
    )


def _simulated(
    service: Service, endpoint: Endpoint, load: float, tariff: Tariff, which: tuple[int, int, bool]
) -> tuple[float, float]:
    """Latency and cost of one call: `which` is its round, its draw, and whether it is cold."""
    number, draw, is_cold = which
    draws = common_draws(draw, number, endpoint.id)
    start_ms = service.start.at(draws.start) if is_cold else 0.0
    latency_ms = service.latency_ms(draws, crowded=crowding(load, ONE_INSTANCE), wait_ms=start_ms)
    return latency_ms, tariff.cost_usd(endpoint, service.billed_ms(draws, start_ms=start_ms)) or 0.0


def _level(calls: Iterable[tuple[float, float]]) -> Level:
    latencies, costs = zip(*calls, strict=True)
    return Level(mean_ms=fmean(latencies), p95_ms=quantile(latencies, 0.95), cost_usd=fmean(costs))


def document(calibration: Calibration) -> Document:
    """For machines. Errors are relative and signed; the summary's are absolute, over cells of LEAST_ROWS calls."""
    under_load = calibration.fitted.under_load.items()
    return {
        "trace": calibration.trace,
        "fitted_on": "half of the measurements",
        "compared_on": "the other half",
        "draws": DRAWS,
        "least_rows": LEAST_ROWS,
        "under_load": {provider.value: asdict(found) for provider, found in under_load},
        "dropped_arms": list(calibration.fitted.dropped),
        "summary": {name: calibration.summary(name) for name in NAMES},
        "cells": [asdict(cell) for cell in calibration.cells],
    }


def error_table(calibration: Calibration) -> Table:
    """For people: measured and simulated means, and the errors."""
    return Table(
        title=f"calibration on {calibration.trace}: fitted on half of the measurements, compared on the others",
        columns=[
            text("function"),
            text("arm"),
            figure("load", spare=2),
            figure("rows", spare=4),
            figure("cold", "cold_share", share, spare=3),
            figure("mean ms", "measured.mean_ms"),
            figure("simulated", "simulated.mean_ms", spare=1),
            *(figure("error" if name == "mean" else f"{name} error", f"error.{name}", _signed) for name in NAMES),
        ],
        rows=calibration.cells,
    )


def _signed(value: object) -> str:
    return f"{value:+.1%}" if isinstance(value, float) else "-"


def summary(calibration: Calibration) -> Iterable[str]:
    """The lines under the table."""
    for name in NAMES:
        found = calibration.summary(name)
        told = "median {median:.1%}, worst {worst:.1%}".format_map(found) if found else "no cell has enough rows"
        yield f"error of {name}: {told} over {len(calibration.counted)} cells of at least {LEAST_ROWS} rows"
    yield "cold calls are simulated cold where they were measured cold: the cold share is the trace's, not the model's"
    for provider, grown in calibration.fitted.under_load.items():
        yield f"under load, {provider}: latency x crowding ^ {grown.exponent:.2f}, spread {grown.spread:.2f}"
    if calibration.fitted.dropped:
        yield f"too few calls, left out: {', '.join(calibration.fitted.dropped)}"
