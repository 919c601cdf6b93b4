"""`fiso replay` and `fiso simulate`: the orchestrator's own code in a measured trace or in simulated clouds, beside the
rules that it must beat."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.errors import BadInput
from fiso_cli.local_stage import MODELS
from fiso_cli.rendering import Output, Part, progress, write_json
from fiso_cli.worlds.objective import Objective

if TYPE_CHECKING:
    from fiso_cli.worlds.clouds.preparation import Prepared
    from fiso_cli.worlds.contest import Contest
    from fiso_cli.worlds.figures import Figures
    from fiso_cli.worlds.world import Worlds

MOST_FUNCTIONS, MOST_SEEDS, MOST_REQUESTS = 1_000, 100, 1_000_000

Wish = Annotated[Objective, typer.Option("--objective", help="What the policy wants.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="Runs with draws of their own.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the figures to this file, as JSON.")]
PictureFile = Annotated[
    Path | None, typer.Option("--plot", help="Draw regret and the latency-cost frontier: .png, .svg or .pdf.")
]
Functions = Annotated[
    int | None,
    typer.Option("--functions", min=1, max=MOST_FUNCTIONS, help="How many; 12, or all that are measured."),
]
Requests = Annotated[
    int | None,
    typer.Option("--requests", min=1, max=MOST_REQUESTS, help="How many; 3,000 where no minutes are set."),
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
Repeatable = Annotated[bool, typer.Option("--idempotent", help="Calls that may have run may be repeated elsewhere.")]


def replay(
    trace: Annotated[Path, typer.Option("--trace", help="A paired trace: CSV, plain or gzip.")],
    objective: Wish = Objective.LATENCY,
    seeds: Seeds = 5,
    out: Out = None,
    picture_file: PictureFile = None,
) -> Output:
    """Replay measured rounds through the router; it sees only what it picks. Exits 2 when a file cannot be used.

    \b
    fiso replay --trace sebs2020.csv.gz --objective cost --seeds 3
    fiso replay --trace sebs2020.csv.gz --plot sebs2020.png --out figures.json
    """
    from fiso.billing import tariff
    from fiso_cli.worlds.trace import read
    from fiso_cli.worlds.trace_worlds import TraceWorlds

    _check(picture_file)
    with progress(f"reading {trace.name}", trace.stat().st_size if trace.exists() else None) as bar:
        worlds = TraceWorlds(read(trace, on_bytes=bar.at), tariff.current())
    others = [other for other in Objective if other not in (objective, Objective.P95)] if picture_file else []
    held, frontier = _held(worlds, objective, seeds, others=others)
    return _output(held, out, picture_file, frontier=frontier)


def simulate(  # noqa: PLR0913 - a command's options
    functions: Functions = None,
    requests: Requests = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Simulated time instead.")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.0001, help="Requests a second over all functions; 1, or as counted.")
    ] = None,
    objective: Wish = Objective.LATENCY,
    seeds: Seeds = 3,
    outage: Outages = None,
    arrivals: Annotated[
        Path | None, typer.Option("--arrivals", help="Calls per minute: CSV, a row a function.")
    ] = None,
    coldstarts: Annotated[
        Path | None, typer.Option("--coldstarts", help="P(cold | idle) curves: CSV, as mikhail.io's idle_pcold.csv.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", help="A paired trace to fit the clouds to; its error is printed.")
    ] = None,
    idempotent: Repeatable = False,
    out: Out = None,
    picture_file: PictureFile = None,
) -> Output:
    """Simulate clouds that react to the router: arrivals, cold starts, load, outages. Exits 2 on bad input.

    \b
    fiso simulate --outage gcp-2025-06-12
    fiso simulate --minutes 60 --rate 0.5 --objective cost
    fiso simulate --outage aws:600:900:time_out --idempotent --out figures.json
    """
    from fiso_cli.worlds.clouds.preparation import Wanted, prepare

    _check(picture_file)
    prepared = prepare(
        Wanted(
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
    )
    held, _ = _held(prepared.clouds, objective, seeds, is_idempotent=idempotent)
    return _output(held, out, picture_file, prepared=prepared)


def _check(picture_file: Path | None) -> None:
    from fiso_cli.worlds import plot

    if picture_file is not None and (problem := plot.problem_with(picture_file)):
        raise BadInput(problem)


def _held(
    worlds: "Worlds", objective: Objective, seeds: int, *, others: Iterable[Objective] = (), is_idempotent: bool = False
) -> "tuple[Contest, Mapping[Objective, Figures]]":
    """The contest, and the router's figures under other objectives."""
    from fiso_cli.worlds import contest  # scikit-learn takes a second to import

    plan = contest.Plan(worlds=worlds, objective=objective, seeds=seeds, model_dir=MODELS, is_idempotent=is_idempotent)
    requests = sum(len(worlds.arrivals(seed)) for seed in (*range(seeds), *(0 for _ in others)))
    with progress("requests", requests) as bar:
        return contest.hold(plan, on_request=bar.advance), contest.under(plan, others, on_request=bar.advance)


def _output(
    held: "Contest",
    out: Path | None,
    picture_file: Path | None,
    *,
    frontier: "Mapping[Objective, Figures] | None" = None,
    prepared: "Prepared | None" = None,
) -> Output:
    """The verdict, in the files that were asked for, too; of a simulation its calibration and outages."""
    from fiso_cli.worlds import contest, plot, report
    from fiso_cli.worlds.clouds import calibration

    plan, verdict, notes = held.plan, held.verdict, list(contest.notes(held))
    table = report.verdict_table(verdict, name=plan.worlds.name, objective=plan.objective, seeds=plan.seeds)
    shown: list[Part] = [table, *report.summary(verdict, objective=plan.objective), *notes]
    document = report.document(verdict, name=plan.worlds.name, objective=plan.objective, seeds=plan.seeds)
    if prepared is not None:
        fitted, hits = prepared.calibration, prepared.clouds.outages
        if fitted is not None:
            shown = [calibration.error_table(fitted), *calibration.summary(fitted), *shown]
        results = {name: [run.results for run in runs] for name, runs in {"fiso": held.fiso, **held.rivals}.items()}
        for hit in hits:
            shown += [report.outage_table(hit, results), f"outage: {hit.source}"]
        document = {
            **document,
            "notes": notes,
            "calibration": None if fitted is None else calibration.document(fitted),
            "outages": [report.outage_document(hit, results) for hit in hits],
        }
    if out is not None:
        write_json(out, document)
    if picture_file is not None:
        plot.draw(plot.picture(held, frontier or {}), picture_file)
    return Output(document=document, shown=shown)
