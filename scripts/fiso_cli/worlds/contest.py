"""Contests: one kind of world, one objective, several seeds; the router and all its rivals, each in its own world.

Single endpoints run first: what they come to measures failures for everybody in simulated clouds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fiso_cli.worlds import router
from fiso_cli.worlds.clouds.clouds import Clouds
from fiso_cli.worlds.figures import BEST_SINGLE, Figures, Judged, Verdict, judged, verdict
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.recent_means import RecentMeans
from fiso_cli.worlds.rules import (
    TIMEOUT_MS,
    AtRandom,
    CheapestListPrice,
    LowestRecentLatency,
    PeakEwmaOfTwo,
    RoundRobin,
    Rule,
    by_arm,
    by_rule,
)
from fiso_cli.worlds.world import Judge, Results, Worlds

FISO = "fiso"
RULES: Sequence[type[Rule]] = (
    AtRandom,
    RoundRobin,
    LowestRecentLatency,
    PeakEwmaOfTwo,
    RecentMeans,
    CheapestListPrice,
)
Runs = Sequence[Judged]
"""The runs of one contender, one per seed; a single one where nothing is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is contested for."""

    worlds: Worlds
    objective: Objective
    seeds: int
    model_dir: Path
    is_idempotent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The verdict and the runs that it rests on: the router's, and its rivals' by the verdict's keys: `best_single`
    where there is one, the endpoints always present, the rules, the oracles."""

    plan: Plan
    verdict: Verdict
    fiso: Runs
    rivals: Mapping[str, Runs]
    routed: Sequence[router.Run]


def hold(plan: Plan, *, on_request: Callable[[], None] = lambda: None) -> Contest:
    """Run everything. `on_request` hears of every request that the router gets, over all seeds."""
    worlds, packaged = plan.worlds, router.packaged_model(plan.model_dir)
    policy = router.policy_of(plan.objective, is_idempotent=plan.is_idempotent)
    fiso: list[Judged] = []
    routed: list[router.Run] = []
    rivals: dict[str, list[Judged]] = {}
    judge: Judge | None = None
    for seed in range(plan.seeds):
        if judge is None or worlds.varies:
            singles = {str(arm): by_arm(worlds, arm, seed=seed) for arm in worlds.always_present}
            judge = worlds.judge(plan.objective, singles.values())
            _add(rivals, singles.items(), judge)
        _add(rivals, _others(plan, judge, seed), judge)
        routed.append(router.run(worlds, policy, packaged, seed=seed, on_request=on_request))
        fiso.append(judged(routed[-1].results, judge))
    best = min(worlds.always_present, key=lambda arm: _mean_charge(rivals[arm]), default=None)
    if best is not None:
        rivals = {BEST_SINGLE: rivals[best], **rivals}
    found = verdict(
        [run.figures for run in fiso],
        {name: [run.figures for run in runs] for name, runs in rivals.items()},
        rounds=round(fmean(len(worlds.arrivals(seed)) for seed in range(plan.seeds))),
        best=best,
    )
    return Contest(plan=plan, verdict=found, fiso=fiso, rivals=rivals, routed=routed)


def under(
    plan: Plan, objectives: Iterable[Objective], *, on_request: Callable[[], None] = lambda: None
) -> Mapping[Objective, Figures]:
    """The router alone under each objective in one trace, one seed each: points of its latency-cost frontier."""
    packaged, found = router.packaged_model(plan.model_dir), {}
    for objective in objectives:
        run = router.run(plan.worlds, router.policy_of(objective), packaged, seed=0, on_request=on_request)
        found[objective] = judged(run.results, plan.worlds.judge(objective, ())).figures
    return found


def _add(runs: dict[str, list[Judged]], results: Iterable[tuple[str, Results]], judge: Judge) -> None:
    for name, found in results:
        runs.setdefault(name, []).append(judged(found, judge))


def _others(plan: Plan, judge: Judge, seed: int) -> Iterator[tuple[str, Results]]:
    """Rules and oracles; what nothing is drawn for runs once in a world that does not vary."""
    worlds, is_new = plan.worlds, seed == 0 or plan.worlds.varies
    for rule in RULES:
        if rule.is_drawn or is_new:
            yield rule.name, by_rule(worlds, rule, seed=seed, objective=plan.objective)
    if is_new:
        yield from worlds.oracles(judge, plan.objective, seed).items()


def _mean_charge(runs: Runs) -> float:
    return fmean(run.figures.objective_mean for run in runs)


def notes(contest: Contest) -> Sequence[str]:
    """What a reader must know beside the verdict."""
    worlds, missing = contest.plan.worlds, contest.plan.worlds.market.estimated()
    no_price = "the tariff has no row for {} {}: that of its neighbours is taken"
    told = _of_clouds(contest, worlds) if isinstance(worlds, Clouds) else _of_trace(contest)
    return [*told, *(no_price.format(provider, region) for provider, region in missing), *_absent(worlds)]


def _promoted(contest: Contest) -> str:
    retrainings = [retraining for run in contest.routed for retraining in run.retrainings]
    return f"{sum(retraining.promoted for retraining in retrainings)} of {len(retrainings)} promoted"


def _of_trace(contest: Contest) -> Sequence[str]:
    return [
        f"retraining every {router.RETRAIN_EVERY} rounds on the run's own log: {_promoted(contest)}",
        "a decision's cost is predicted by the tariff and judged by the trace's cost_usd",
    ]


def _absent(worlds: Worlds) -> Sequence[str]:
    arms = len(worlds.market.endpoints)
    missing = arms - len(worlds.always_present)
    return [f"{missing} of {arms} arms are not present in every round, so no single endpoint"] if missing else []


def _of_clouds(contest: Contest, clouds: Clouds) -> Sequence[str]:
    again = fmean(result.attempts > 1 for run in contest.fiso for result in run.results)
    repeat = "may" if contest.plan.is_idempotent else "must not"
    environments = max(run.environments for run in contest.routed)
    return [
        f"world: {clouds.name}; a rival makes one call per request, FISO tried another endpoint for {again:.2%}",
        f"calls that may have run {repeat} be repeated; after {TIMEOUT_MS / 1000:.0f} s a caller gives up",
        f"started cold: {_cold(contest.fiso)} of FISO's requests, {_cold(contest.rivals['random'])} of random's",
        f"retraining every {router.RETRAIN_EVERY} records on a run's own log: {_promoted(contest)}",
        f"FISO used up to {environments} execution environments; its own time and cost are not in the table",
        "the context oracle knows means and present state, but plans no further than a start: no strict bound",
    ]


def _cold(runs: Runs) -> str:
    return f"{fmean(result.cold for run in runs for result in run.results):.1%}"
