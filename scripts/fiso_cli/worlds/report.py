"""Reports: a verdict as a table and as JSON."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table

from fiso_cli.worlds.figures import EARLY_ROUNDS, Figures, Interval
from fiso_cli.worlds.objective import UNITS, Objective
from fiso_cli.worlds.verdict import Standing, Verdict

Document = dict[str, object]


def document(verdict: Verdict, *, trace: str, objective: Objective, seeds: int) -> Document:
    """The verdict for machines. Latencies in ms, costs in USD per million calls, regret in the objective's unit."""
    fiso = _standing(verdict.fiso) | {
        "captured": verdict.captured,
        "captured_ci95": _interval(verdict.captured_ci95),
        "worst_case_ci95": _interval(verdict.worst_case_ci95),
    }
    return {
        "trace": trace,
        "objective": objective.value,
        "seeds": seeds,
        "rounds": verdict.rounds,
        "best_single": verdict.best_single,
        "oracle_gain": verdict.oracle_gain,
        "fiso": fiso,
        "rivals": {name: _standing(standing) for name, standing in verdict.rivals.items()},
    }


def table(verdict: Verdict, *, trace: str, objective: Objective, seeds: int) -> RenderableType:
    """The verdict for people, best first under the router itself."""
    shown = Table(
        title=f"{trace}: {verdict.rounds:,} rounds, objective {objective.value}, {seeds} seeds",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("router", no_wrap=True)
    for name in ("mean ms", "p50", "p95", "p99", "$/million", "success", "/ best", "regret"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_row("fiso", *_cells(verdict.fiso), style="bold")
    ordered = sorted(verdict.rivals.items(), key=lambda item: item[1].figures.objective_mean)
    for name, standing in ordered:
        shown.add_row(name, *_cells(standing))
    return shown


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
    yield f"regret in rounds 1 to {EARLY_ROUNDS}: {shown} of the best single endpoint's total"
    yield f"regret is in {UNITS[objective]}, over all rounds, against the best single endpoint"
    yield f"charged {verdict.fiso.figures.objective_mean:.6g} {UNITS[objective]} a call {_span(verdict.fiso.ci95)}"


def _cells(standing: Standing) -> list[str]:
    figures = standing.figures
    latencies = [f"{value:,.0f}" for value in (figures.mean, figures.p50, figures.p95, figures.p99)]
    regret = "-" if standing.regret is None else f"{standing.regret:.3g}"
    return [
        *latencies,
        f"{figures.cost_per_million:,.2f}",
        f"{figures.success:.1%}",
        _ratio(standing.worst_case),
        regret,
    ]


def _standing(standing: Standing) -> Document:
    return _figures(standing.figures) | {
        "worst_case": standing.worst_case,
        "regret": standing.regret,
        "early_regret": standing.early_regret,
        "ci95": _interval(standing.ci95),
    }


def _figures(figures: Figures) -> Document:
    names = ("mean", "p50", "p95", "p99", "cost_per_million", "success", "objective_mean")
    return {name: getattr(figures, name) for name in names}


def _interval(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.low, found.high]


def _span(found: Interval | None) -> str:
    return "(one seed: no interval)" if found is None else f"(95 %: {found.low:.4g} to {found.high:.4g})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
