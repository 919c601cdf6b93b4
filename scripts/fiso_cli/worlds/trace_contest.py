"""Contests: one trace, one objective, several seeds; the router and all its rivals over the same rounds."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds import trace_router as router
from fiso_cli.worlds.figures import Figures, Judge
from fiso_cli.worlds.objective import Objective, charged_latencies, losses
from fiso_cli.worlds.trace import Trace
from fiso_cli.worlds.trace_catalog import Catalog
from fiso_cli.worlds.trace_rivals import RIVALS, Contest, best_single, unpriced
from fiso_cli.worlds.verdict import Verdict, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a contender: its figures, and what each round was charged in the objective's unit."""

    figures: Figures
    charges: Sequence[float]


Runs = Sequence[Run]
"""The runs of one contender, one per seed; a single one where nothing is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict, what a reader must know beside it, and the runs that it rests on.

    `rivals` has the verdict's keys: the rules, `best_single` where there is one, and every endpoint always present.
    """

    verdict: Verdict
    notes: tuple[str, ...]
    fiso: Runs
    rivals: Mapping[str, Runs]
    replayed: Sequence[router.Replayed]


def hold(
    trace: Trace, objective: Objective, *, seeds: int, model_dir: Path, on_round: Callable[[], None] = lambda: None
) -> Result:
    """Run everything. `on_round` hears of every round the router plays, over all seeds."""
    catalog = Catalog(trace, objective)
    contest = Contest(
        trace=trace,
        losses=losses(trace, objective),
        endpoints={endpoint.id: endpoint for endpoint in catalog.endpoints()},
        tariff=tariff.current(),
    )
    judge = Judge(trace=trace, latencies=charged_latencies(trace), losses=contest.losses)
    packaged = router.packaged_model(model_dir)
    replayed = [router.run(trace, catalog, packaged, seed=seed, on_round=on_round) for seed in range(seeds)]
    best = best_single(contest)
    runs = [_judged(judge, replay.picks) for replay in replayed]
    rivals = _rivals(contest, judge, best, seeds)
    judged = verdict(
        [run.figures for run in runs],
        {name: [run.figures for run in found] for name, found in rivals.items()},
        rounds=len(trace.rounds),
        best=best,
    )
    return Result(verdict=judged, notes=_notes(contest, replayed), fiso=runs, rivals=rivals, replayed=replayed)


def under(
    trace: Trace, objectives: Iterable[Objective], *, model_dir: Path, on_round: Callable[[], None] = lambda: None
) -> Mapping[Objective, Figures]:
    """The router alone under each objective, one seed each: points of its latency-cost frontier."""
    packaged = router.packaged_model(model_dir)
    found = {}
    for objective in objectives:
        replayed = router.run(trace, Catalog(trace, objective), packaged, seed=0, on_round=on_round)
        judge = Judge(trace=trace, latencies=charged_latencies(trace), losses=losses(trace, objective))
        found[objective] = judge.figures(replayed.picks)
    return found


def _judged(judge: Judge, picks: Sequence[EndpointId]) -> Run:
    return Run(figures=judge.figures(picks), charges=judge.charged(picks))


def _rivals(contest: Contest, judge: Judge, best: EndpointId | None, seeds: int) -> dict[str, Runs]:
    found: dict[str, Runs] = {}
    rounds = len(contest.trace.rounds)
    if best is not None:
        found["best_single"] = [_judged(judge, [best] * rounds)]
    for rival in RIVALS:
        draws = range(seeds if rival.is_drawn else 1)
        picked = (rival.rule(contest, random.Random(seed)) for seed in draws)  # nosec B311 # repeatable, no secrets
        found[rival.name] = [_judged(judge, picks) for picks in picked]
    for arm in contest.trace.always_present:
        found[arm] = [_judged(judge, [arm] * rounds)]
    return found


def _notes(contest: Contest, runs: Sequence[router.Replayed]) -> tuple[str, ...]:
    promoted = sum(run.promoted for replayed in runs for run in replayed.retrainings)
    tried = sum(len(replayed.retrainings) for replayed in runs)
    notes = [
        f"retraining every {router.RETRAIN_EVERY} rounds on the run's own log: {promoted} of {tried} promoted",
        "a decision's cost is predicted by the tariff and judged by the trace's cost_usd",
    ]
    notes += [
        f"the tariff has no price for {provider} {region}: unpriced there" for provider, region in unpriced(contest)
    ]
    missing = len(contest.trace.arms) - len(contest.trace.always_present)
    if missing:
        notes.append(
            f"{missing} of {len(contest.trace.arms)} arms are not present in every round, so no single endpoint"
        )
    return tuple(notes)
