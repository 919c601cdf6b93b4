"""The router of another commit in adversarial worlds, one of each family, beside this tree's (`bench --against`)."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean
from tempfile import TemporaryDirectory

from fiso.billing import tariff
from fiso_cli.worlds.contest import FISO
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import Trace
from tests.adversarial import FAMILIES, ratios, world
from tests.lab.bench.adversarial import SEEDS
from tests.lab.bench.against import checked_out, environ_of
from tests.lab.bench.rows import Row, at_most_of_rival, row

WORKER = Path(__file__).with_name("against_replays.py")


def rows(commit: str, folder: Path, say: Callable[[str], None]) -> Sequence[Row]:
    """Per objective: the geometric mean and the worst beside those of the commit's router in the same worlds."""
    tree, prices, seed = checked_out(commit, folder), tariff.current(), SEEDS[0]
    worlds, found = [world(family, seed, prices) for family in FAMILIES], []
    for objective in (Objective.LATENCY, Objective.COST):
        ours = []
        for trace in worlds:
            say(f"{objective}: {trace.name}")
            ours.append(ratios(trace, objective, prices, seed=seed)[FISO])
        theirs = []
        for trace, charged in zip(worlds, _replayed(tree, objective, worlds), strict=True):
            say(f"{objective}, commit {commit}: {trace.name}")
            theirs.append(charged)
        for name, of_all in ((f"vs_{commit}", geometric_mean), (f"worst_vs_{commit}", max)):
            found.append(
                row(
                    f"adversarial_{objective}_{name}",
                    of_all(ours),
                    "of best single",
                    rival=f"commit {commit}",
                    rival_value=of_all(theirs),
                    n=len(worlds),
                    gate=at_most_of_rival(1.0),
                )
            )
    return found


def _replayed(tree: Path, objective: Objective, worlds: Sequence[Trace]) -> Iterator[float]:
    with TemporaryDirectory() as folder:
        files = [_written(trace, Path(folder) / f"{number}.csv") for number, trace in enumerate(worlds)]
        command = [sys.executable, "-P", str(WORKER), objective.value, *map(str, files)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=tree, env=environ_of(tree), stdout=pipe, text=True) as process:
            yield from map(json.loads, process.stdout or ())


def _written(trace: Trace, path: Path) -> Path:
    """A world as a file that `fiso replay` reads."""
    lines = ["round,t,function,in_flight,provider,region,memory_mb,cold,latency_ms,cost_usd,ok"]
    for played in trace.rounds:
        for id, call in played.calls.items():
            arm = trace.arms[id]
            lines.append(
                f"{played.number},{played.t!r},{played.function},{played.in_flight:g},{arm.provider},{arm.region},"
                f"{arm.memory_mb},{call.cold},{call.latency_ms!r},{call.cost_usd!r},{call.ok}"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
