"""Reports: a contest as a table and as JSON, and how requests fared before, during and after an outage."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from statistics import fmean

from fiso_cli.rendering import Document, Table, at, decimals, figure, share, text
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.figures import EARLY, Interval, Standing, Verdict
from fiso_cli.worlds.objective import UNITS, Objective, quantile
from fiso_cli.worlds.world import Result, Results

Runs = Mapping[str, Sequence[Results]]
"""Of every contender, per seed; the router itself first."""


def document(verdict: Verdict, *, name: str, objective: Objective, seeds: int) -> Document:
    """The verdict for machines. Latencies in ms, costs in USD per million calls, regret in the objective's unit."""
    fiso = _standing(verdict.fiso) | {
        "captured": verdict.captured,
        "captured_ci95": _interval(verdict.captured_ci95),
        "worst_case_ci95": _interval(verdict.worst_case_ci95),
    }
    return {
        "trace": name,
        "objective": objective.value,
        "seeds": seeds,
        "rounds": verdict.rounds,
        "best_single": verdict.best_single,
        "oracle_gain": verdict.oracle_gain,
        "fiso": fiso,
        "rivals": {rival: _standing(standing) for rival, standing in verdict.rivals.items()},
    }


def verdict_table(verdict: Verdict, *, name: str, objective: Objective, seeds: int) -> Table:
    """The verdict for people, best first under the router itself."""
    ordered = sorted(verdict.rivals.items(), key=lambda item: item[1].figures.objective_mean)
    return Table(
        title=f"{name}: {verdict.rounds:,} rounds, objective {objective.value}, {seeds} seeds",
        columns=[
            text("router", lambda row: row[0]),
            *(figure(title, _at(f"figures.{key}"), spare=spare) for title, key, spare in _LATENCIES),
            figure("$/million", _at("figures.cost_per_million"), decimals(2)),
            figure("success", _at("figures.success"), share),
            figure("/ best", _at("worst_case"), decimals(3), spare=2),
            figure("regret", _at("regret"), lambda value: f"{value:.3g}" if isinstance(value, float) else "-"),
        ],
        rows=[("fiso", verdict.fiso), *ordered],
        style=_bold_fiso,
    )


_LATENCIES = (("mean ms", "mean", 0), ("p50", "p50", 3), ("p95", "p95", 1), ("p99", "p99", 4))


def _at(path: str) -> Callable[[Sequence[object]], object]:
    return lambda row: at(row[1], path)


def _bold_fiso(row: Sequence[object]) -> str:
    return "bold" if row[0] == "fiso" else ""


def summary(verdict: Verdict, *, objective: Objective) -> Iterable[str]:
    """The lines under the table."""
    if verdict.best_single is None:
        yield "No endpoint is present in every round: there is no best single endpoint to compare with."
        return
    gain = verdict.oracle_gain or 0.0
    yield f"best single endpoint: {verdict.best_single}; the per-context oracle gains {gain:.1%} over it"
    yield f"worst_case {_ratio(verdict.fiso.worst_case)} {_span(verdict.worst_case_ci95)}"
    if verdict.captured is None:
        yield "captured -: there is nothing to gain over the best single endpoint"
    else:
        yield f"captured {verdict.captured:.3f} {_span(verdict.captured_ci95)}"
    early = verdict.fiso.early_regret
    shown = "-" if early is None else f"{early:.1%}"
    yield f"regret in rounds 1 to {EARLY}: {shown} of the best single endpoint's total"
    yield f"regret is in {UNITS[objective]}, over all rounds, against the best single endpoint"
    yield f"charged {verdict.fiso.figures.objective_mean:.6g} {UNITS[objective]} a call {_span(verdict.fiso.ci95)}"


def _standing(standing: Standing) -> dict[str, object]:
    figures = asdict(standing.figures)
    del figures["early_total"]
    return figures | {
        "worst_case": standing.worst_case,
        "regret": standing.regret,
        "early_regret": standing.early_regret,
        "ci95": _interval(standing.ci95),
    }


def _interval(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.low, found.high]


def _span(found: Interval | None) -> str:
    return "(one seed: no interval)" if found is None else f"(95 %: {found.low:.4g} to {found.high:.4g})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


class Phase(StrEnum):
    """When, beside an outage, by when a request arrived."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


Fared = Mapping[str, float | None]
"""`requests`, `success`, `mean` and `p95` of a phase: latencies in ms as they were, None where there were none."""


def fared(runs: Iterable[Results], outage: Outage) -> Mapping[Phase, Fared]:
    """One contender's runs, one per seed, taken together."""
    found: dict[Phase, list[Result]] = {phase: [] for phase in Phase}
    for result in (result for run in runs for result in run):
        is_after = Phase.AFTER if result.at_s >= outage.end_s else Phase.DURING
        found[Phase.BEFORE if result.at_s < outage.start_s else is_after].append(result)
    return {phase: _fared(results) for phase, results in found.items()}


def _fared(results: Results) -> Fared:
    latencies = [result.latency_ms for result in results]
    return {
        "requests": len(results),
        "success": fmean(result.ok for result in results) if results else None,
        "mean": fmean(latencies) if results else None,
        "p95": quantile(latencies, 0.95) if results else None,
    }


def outage_table(outage: Outage, runs: Runs) -> Table:
    """How everybody fared; those that the outage hurt least on top, under the router itself."""
    where = outage.provider if outage.region is None else f"{outage.provider} {outage.region}"
    first, *others = ((name, fared(results, outage)) for name, results in runs.items())
    others.sort(key=lambda item: -(item[1][Phase.DURING]["success"] or 0))
    columns = [text("router", lambda row: row[0])]
    for phase, spare in zip(Phase, (1, 0, 2), strict=True):
        columns += [
            figure(phase.value, _of(phase, "success"), share, spare=spare),
            figure("mean ms", _of(phase, "mean"), spare=spare and spare + 2),
            figure("p95", _of(phase, "p95"), spare=spare and spare + 2),
        ]
    title = f"outage of {where} ({outage.kind}), {outage.start_s:,.0f} to {outage.end_s:,.0f} s: requests answered"
    return Table(title=title, columns=columns, rows=[first, *others], style=_bold_fiso)


def _of(phase: Phase, name: str) -> Callable[[tuple[str, Mapping[Phase, Fared]]], object]:
    return lambda row: row[1][phase][name]


def outage_document(outage: Outage, runs: Runs) -> Document:
    """The same for machines."""
    return asdict(outage) | {"phases": {name: dict(fared(results, outage)) for name, results in runs.items()}}
