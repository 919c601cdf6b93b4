"""Adversarial worlds: what the router is charged where published facts are true, absent, reversed or far too strong.

40 families (`tests.adversarial`), SEEDS worlds of each, beside the naive rules and the reference in the same worlds.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isinf
from statistics import geometric_mean

from fiso.billing import tariff
from fiso_cli.worlds.contest import FISO
from fiso_cli.worlds.objective import Objective, quantile
from tests import changes
from tests.adversarial import FAMILIES, limit, ratios, world
from tests.lab.bench.rows import Row, at_least, at_most, at_most_of_rival, row

SEEDS = range(200, 203)
CHANGED = range(300, 330)
OFTEN, WORST = 0.95, 1.25
MOST_SHARE = 10.0
"""What stands for a winner that was not found while it was played."""
RIVALS = ("lowest_recent_latency", "peak_ewma_p2c", "recent_means")


def rows(say: Callable[[str], None]) -> Sequence[Row]:
    """Per objective: the geometric mean beside each rival's, how many worlds stay within their limit, the worst."""
    prices, found = tariff.current(), []
    for objective in (Objective.LATENCY, Objective.COST):
        runs, within = [], 0
        for family in FAMILIES:
            for seed in SEEDS:
                trace = world(family, seed, prices)
                runs.append(ratios(trace, objective, prices, seed=seed))
                within += runs[-1][FISO] <= limit(trace)
                say(f"{objective}: {trace.name}: {runs[-1][FISO]:.3f} of {len(trace.rounds)} rounds")
        ours, count = geometric_mean(run[FISO] for run in runs), len(runs)
        for rival in RIVALS:
            theirs = geometric_mean(run[rival] for run in runs)
            is_known = rival == "recent_means"
            found.append(
                row(
                    f"adversarial_{objective}_vs_{rival}",
                    ours,
                    "of best single",
                    rival=rival,
                    rival_value=theirs,
                    n=count,
                    gate=at_most_of_rival(1.0) if is_known or objective is Objective.LATENCY else None,
                )
            )
        name = f"adversarial_{objective}"
        worst = max(run[FISO] for run in runs)
        theirs = max(run["lowest_recent_latency"] for run in runs)
        found += [
            row(
                f"{name}_within",
                within / count,
                "of worlds",
                rival="none",
                rival_value=None,
                n=count,
                gate=at_least(OFTEN),
            ),
            row(
                f"{name}_worst",
                worst,
                "of best single",
                rival=RIVALS[0],
                rival_value=theirs,
                n=count,
                gate=at_most(WORST),
            ),
        ]
    return [*found, *_changed(say)]


def _changed(say: Callable[[str], None]) -> Iterator[Row]:
    """Requests until a changed winner is found, as a share of what docs/routing.md states: the median and the 95th
    percentile over worlds."""
    for change in changes.Change:
        shares = []
        for seed in CHANGED:
            say(f"{change}: world {seed}")
            played = changes.world(change, seed)
            after = changes.found_after(played, seed=seed)
            # one that ends before the number is over is known to have lasted as long
            lasted = len(played.trace.rounds) - played.changes_at
            shares.append(
                min(MOST_SHARE, (lasted if isinf(after) and lasted < played.stated else after) / played.stated)
            )
        for name, share, gate in (("median", 0.5, None), ("p95", 0.95, at_most(1.0))):
            yield row(
                f"adversarial_{change}_{name}",
                quantile(shares, share),
                "of what is stated",
                rival="none",
                rival_value=None,
                n=len(shares),
                gate=gate,
            )
