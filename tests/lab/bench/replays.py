"""Replays as figures: how much of what could be gained over the best single endpoint is, and what learning costs.

Each measured file is replayed with five seeds under two objectives; where none is at hand one line says so.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from fiso.billing import tariff
from fiso_cli.worlds import contest
from fiso_cli.worlds.figures import EARLY, Verdict
from fiso_cli.worlds.inputs import VARIABLE, paired_files, paired_folder
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.router import Run
from fiso_cli.worlds.trace import read
from fiso_cli.worlds.trace_worlds import TraceWorlds
from tests.lab.bench.rows import Row, at_least, at_most, row

SEEDS = 5
OBJECTIVES = (Objective.LATENCY, Objective.COST)
LONG = 1_000
"""From so many rounds on a trace is long enough to learn from."""
WORST_CASE_LONG, WORST_CASE_SHORT = 1.02, 1.05
LEAST_GAIN = 0.05
"""What the oracle must gain over the best single endpoint for a share of it to mean something."""
CAPTURED_GATE, EARLY_GATE = 0.8, 0.10
HITS_OF = "sebs2020"
"""The trace whose requests come often enough to say how many contexts return."""


def measure(model_dir: Path, say: Callable[[str], None], *, folder: Path | None = None) -> list[Row]:
    """The rows of every paired file in the folder, else where they usually lie. `say` hears the line when none is."""
    folder = paired_folder() if folder is None else folder
    files = paired_files(folder)
    if not files:
        say(f"the replays are left out: no paired file in {folder}; set {VARIABLE} to what holds paired/")
    return [found for path in files for objective in OBJECTIVES for found in of_file(path, objective, model_dir)]


def of_file(path: Path, objective: Objective, model_dir: Path) -> list[Row]:
    """The rows of one file under one objective."""
    name, worlds = path.name.partition(".")[0], TraceWorlds(read(path), tariff.current())
    held = contest.hold(contest.Plan(worlds=worlds, objective=objective, seeds=SEEDS, model_dir=model_dir))
    found = of_verdict(held.verdict, f"{name}_{objective.value}")
    if (name, objective) == (HITS_OF, Objective.LATENCY):
        found.append(hit_rate(held.routed))
    return found


def of_verdict(verdict: Verdict, name: str) -> list[Row]:
    """The rows of one replay; none where no endpoint was present throughout, since there is nothing to compare with."""
    if verdict.fiso.worst_case is None or verdict.fiso.early_regret is None:
        return []
    worst_case = at_most(WORST_CASE_LONG if verdict.rounds >= LONG else WORST_CASE_SHORT)
    best = "best single endpoint in hindsight"
    rows = [
        row(
            f"replay_{name}",
            verdict.fiso.worst_case,
            "of the best",
            rival=best,
            rival_value=1.0,
            n=verdict.rounds * SEEDS,
            gate=worst_case,
        ),
        row(
            f"early_regret_{name}",
            verdict.fiso.early_regret,
            "share",
            rival=best,
            rival_value=0.0,
            n=min(EARLY, verdict.rounds) * SEEDS,
            gate=at_most(EARLY_GATE),
        ),
    ]
    return rows + _captured(verdict, name)


def hit_rate(runs: Sequence[Run]) -> Row:
    """The share of decisions in a context seen before."""
    decisions = sum(len(run.results) for run in runs)
    hits = sum(run.hits for run in runs)
    return row("cache_hit_rate", hits / decisions, "share", rival="no cache", rival_value=None, n=decisions)


def _captured(verdict: Verdict, name: str) -> list[Row]:
    if verdict.captured is None or verdict.oracle_gain is None or verdict.oracle_gain < LEAST_GAIN:
        return []
    found = row(
        f"captured_{name}",
        verdict.captured,
        "of the gain",
        rival="context oracle",
        rival_value=1.0,
        n=verdict.rounds * SEEDS,
        gate=at_least(CAPTURED_GATE),
        more_is_better=True,
    )
    return [found]
