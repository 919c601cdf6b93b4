"""`fiso replay` and `fiso simulate`: the orchestrator's own code in a measured trace or in simulated clouds, beside the
rules that it must beat."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso.billing import tariff
from fiso_cli import rendering
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import plot, report
from fiso_cli.worlds.clouds import calibration
from fiso_cli.worlds.clouds.preparation import MOST_REQUESTS, Prepared, Wanted, prepare
from fiso_cli.worlds.figures import Figures
from fiso_cli.worlds.inputs import BadInput
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import Trace, read
from fiso_cli.worlds.trace_worlds import TraceWorlds
from fiso_cli.worlds.world import Worlds

if TYPE_CHECKING:
    from fiso_cli.worlds.contest import Contest

BAD_INPUT = 2
MOST_FUNCTIONS, MOST_SEEDS = 1_000, 100

replay_app = typer.Typer(add_completion=False)
simulate_app = typer.Typer(add_completion=False)

Wish = Annotated[Objective, typer.Option("--objective", help="What the policy wants.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="Runs with draws of their own.")]
Out = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
PictureFile = Annotated[
    Path | None, typer.Option("--plot", help="Draw regret and the latency-cost frontier: .png, .svg or .pdf.")
]
Functions = Annotated[
    int | None, typer.Option("--functions", min=1, max=MOST_FUNCTIONS, help="How many; 12, or all that are measured.")
]
Requests = Annotated[
    int | None, typer.Option("--requests", min=1, max=MOST_REQUESTS, help="How many; 3,000 where no minutes are set.")
]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Simulated time instead.")]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.0001, help="Requests a second over all functions; 1, or as counted.")
]
Outages = Annotated[
    list[str] | None,
    typer.Option(
        "--outage",
        help="aws-2023-06-13, azure-2023-07-05, gcp-2025-06-12; or a row of a file of incidents, FILE#ROW; or "
        "provider:start_s:end_s or provider/region:start_s:end_s. To it may be added :refuse, :time_out or :slow. "
        "May be given several times.",
    ),
]
Arrivals = Annotated[Path | None, typer.Option("--arrivals", help="Calls per minute: CSV, a row a function.")]
Coldstarts = Annotated[
    Path | None, typer.Option("--coldstarts", help="P(cold | idle) curves: CSV, as mikhail.io's idle_pcold.csv.")
]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="A paired trace to fit the clouds to; its error is printed.")
]
Repeatable = Annotated[bool, typer.Option("--idempotent", help="Calls that may have run may be repeated elsewhere.")]


@replay_app.command("replay")
def replay_command(
    trace: Annotated[Path, typer.Option("--trace", help="A paired trace: CSV, plain or gzip.")],
    objective: Wish = Objective.LATENCY,
    seeds: Seeds = 5,
    out: Out = None,
    picture_file: PictureFile = None,
) -> None:
    """Replay measured rounds through the router; it sees only what it picks. Exits 2 when a file cannot be used.

    For example: fiso replay --trace sebs2020.csv.gz --objective cost --seeds 3 --plot sebs2020.png
    """
    try:
        _check(picture_file)
        worlds = TraceWorlds(_read(trace), tariff.current())
    except BadInput as error:
        raise _refused(error) from error
    others = [other for other in Objective if other is not objective] if picture_file else []
    held, frontier = _held(worlds, objective, seeds, others=others)
    _show(held)
    if out is not None:
        rendering.write_json(out, _document(held))
    if picture_file is not None:
        plot.draw(plot.picture(held, frontier), picture_file)


@simulate_app.command("simulate")
def simulate_command(  # noqa: PLR0913 - a command's options
    functions: Functions = None,
    requests: Requests = None,
    minutes: Minutes = None,
    rate: Rate = None,
    objective: Wish = Objective.LATENCY,
    seeds: Seeds = 3,
    outage: Outages = None,
    arrivals: Arrivals = None,
    coldstarts: Coldstarts = None,
    calibrate: Calibrate = None,
    idempotent: Repeatable = False,
    out: Out = None,
    picture_file: PictureFile = None,
) -> None:
    """Simulate clouds that react to the router: arrivals, cold starts, load, outages. Exits 2 on bad input.

    Examples: fiso simulate --outage gcp-2025-06-12; fiso simulate --minutes 60 --rate 0.5 --objective cost;
    fiso simulate --outage aws:600:900:time_out --idempotent --json figures.json
    """
    wanted = Wanted(
        functions=functions,
        requests=requests,
        minutes=minutes,
        rate=rate,
        seeds=seeds,
        outages=tuple(outage or ()),
        arrivals=arrivals,
        coldstarts=coldstarts,
        trace=calibrate,
    )
    try:
        _check(picture_file)
        prepared = prepare(wanted)
    except BadInput as error:
        raise _refused(error) from error
    if prepared.calibration is not None:
        rendering.show(calibration.error_table(prepared.calibration), calibration.summary(prepared.calibration))
    held, _ = _held(prepared.clouds, objective, seeds, is_idempotent=idempotent)
    _show(held)
    for hit in prepared.clouds.outages:
        rendering.show(report.outage_table(hit, _results(held)), [f"outage: {hit.source}"])
    if out is not None:
        rendering.write_json(out, {**_document(held), **_more(held, prepared)})
    if picture_file is not None:
        plot.draw(plot.picture(held, {}), picture_file)


def _check(picture_file: Path | None) -> None:
    if picture_file is not None and (problem := plot.problem_with(picture_file)):
        raise BadInput(problem)


def _refused(error: BadInput) -> typer.Exit:
    typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
    return typer.Exit(BAD_INPUT)


def _read(path: Path) -> Trace:
    with rendering.progress() as progress:
        task = progress.add_task(f"reading {path.name}", total=path.stat().st_size if path.exists() else None)
        return read(path, on_bytes=lambda done: progress.update(task, completed=done))


def _held(
    worlds: Worlds, objective: Objective, seeds: int, *, others: Iterable[Objective] = (), is_idempotent: bool = False
) -> "tuple[Contest, Mapping[Objective, Figures]]":
    """The contest, and the router's figures under other objectives."""
    from fiso_cli.worlds import contest  # scikit-learn takes a second to import

    plan = contest.Plan(worlds=worlds, objective=objective, seeds=seeds, model_dir=MODELS, is_idempotent=is_idempotent)
    requests = sum(len(worlds.arrivals(seed)) for seed in (*range(seeds), *(0 for _ in others)))
    with rendering.progress() as progress:
        task = progress.add_task("requests", total=requests)

        def advance() -> None:
            progress.advance(task)

        return contest.hold(plan, on_request=advance), contest.under(plan, others, on_request=advance)


def _show(held: "Contest") -> None:
    from fiso_cli.worlds import contest

    plan, verdict = held.plan, held.verdict
    rendering.show(
        report.verdict_table(verdict, name=plan.worlds.name, objective=plan.objective, seeds=plan.seeds),
        report.summary(verdict, objective=plan.objective),
        contest.notes(held),
    )


def _document(held: "Contest") -> rendering.Document:
    plan = held.plan
    return report.document(held.verdict, name=plan.worlds.name, objective=plan.objective, seeds=plan.seeds)


def _results(held: "Contest") -> report.Runs:
    return {name: [run.results for run in runs] for name, runs in {"fiso": held.fiso, **held.rivals}.items()}


def _more(held: "Contest", prepared: Prepared) -> rendering.Document:
    """What a simulation has beside a replay's figures."""
    from fiso_cli.worlds import contest

    fitted = prepared.calibration
    return {
        "notes": list(contest.notes(held)),
        "calibration": None if fitted is None else calibration.document(fitted),
        "outages": [report.outage_document(hit, _results(held)) for hit in prepared.clouds.outages],
    }
