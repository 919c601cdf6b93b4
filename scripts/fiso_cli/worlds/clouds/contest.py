"""Contests: one setting, one objective, several seeds; the router and its rivals, each in a world of its own.

A seed sets arrivals and luck. Single endpoints run first: what they come to measures failures for everybody.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from fiso.domain.endpoint import EndpointId
from fiso.domain.model import RetrainingRun
from fiso_cli.worlds.clouds import rivals, router
from fiso_cli.worlds.clouds.arrivals import Arrival
from fiso_cli.worlds.clouds.results import NOTHING, Measures, Served, charge, measured, measures
from fiso_cli.worlds.clouds.world import Setting
from fiso_cli.worlds.figures import Figures
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.rules import RULES, Market, NamedRule, unpriced
from fiso_cli.worlds.trace_router import RETRAIN_EVERY, packaged_model
from fiso_cli.worlds.verdict import Verdict, verdict

FISO = "fiso"
Runs = Sequence[Sequence[Served]]
"""One contender's requests, per seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. `arrivals`: one list per seed."""

    setting: Setting
    arrivals: Sequence[Sequence[Arrival]]
    objective: Objective
    is_idempotent: bool
    model_dir: Path

    @property
    def contenders(self) -> int:
        """How many run per seed."""
        return 1 + len(self.setting.arms) + len(RULES) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict, every contender's requests and what each was charged, and what a reader must know beside it."""

    verdict: Verdict
    runs: Mapping[str, Runs]
    charges: Mapping[str, Sequence[Sequence[float]]]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Held:
    """Runs as they come."""

    runs: dict[str, list[Sequence[Served]]] = field(default_factory=dict)
    charges: dict[str, list[Sequence[float]]] = field(default_factory=dict)
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    retrainings: list[RetrainingRun] = field(default_factory=list)
    environments: list[int] = field(default_factory=list)

    def add(self, name: str, served: Sequence[Served], measured_by: Measures, objective: Objective) -> None:
        self.runs.setdefault(name, []).append(served)
        charged = [charge(request, measured_by.get(request.function, NOTHING), objective) for request in served]
        self.charges.setdefault(name, []).append(charged)
        self.figures.setdefault(name, []).append(measured(served, measured_by, objective))


def hold(plan: Plan, *, on_requests: Callable[[int], None] = lambda _: None) -> Result:
    """Run everything. `on_requests` hears how many more requests were simulated."""
    packaged = packaged_model(plan.model_dir)
    policy = router.policy_of(plan.objective, is_idempotent=plan.is_idempotent)
    held = _Held()
    for seed, arrivals in enumerate(plan.arrivals):
        measured_by = _rivals(plan, arrivals, held, seed=seed, on_requests=on_requests)
        simulated = router.run(plan.setting, arrivals, policy, packaged, seed=seed, on_request=lambda: on_requests(1))
        held.add(FISO, simulated.served, measured_by, plan.objective)
        held.retrainings.extend(simulated.retrainings)
        held.environments.append(simulated.environments)
    best = min(plan.setting.arms, key=lambda arm: fmean(run.objective_mean for run in held.figures[arm]))
    return _judged(plan, held, best)


def _rivals(
    plan: Plan, arrivals: Sequence[Arrival], held: _Held, *, seed: int, on_requests: Callable[[int], None]
) -> Measures:
    singles: dict[EndpointId, list[Served]] = {}
    for arm in plan.setting.arms:
        singles[arm] = rivals.by_arm(plan.setting, arrivals, arm, seed=seed)
        on_requests(len(arrivals))
    measured_by = measures(singles.values())
    for arm, served in singles.items():
        held.add(arm, served, measured_by, plan.objective)
    for named in RULES:
        served = _by_rule(plan.setting, arrivals, named, seed)
        held.add(named.name, served, measured_by, plan.objective)
        on_requests(len(arrivals))
    oracle = rivals.by_oracle(plan.setting, arrivals, measured_by, plan.objective, seed=seed)
    held.add("context_oracle", oracle, measured_by, plan.objective)
    on_requests(len(arrivals))
    return measured_by


def _by_rule(setting: Setting, arrivals: Sequence[Arrival], named: NamedRule, seed: int) -> list[Served]:
    market = Market(arms=setting.arms, endpoints=setting.endpoints, tariff=setting.tariff)
    rng = random.Random(f"{named.name}/{seed}")  # nosec B311 # draws of a simulation, no secrets
    return rivals.by_rule(setting, arrivals, named.make(market, rng), seed=seed)


def _judged(plan: Plan, held: _Held, best: EndpointId) -> Result:
    others = {name: runs for name, runs in held.figures.items() if name != FISO}
    judged = verdict(
        held.figures[FISO],
        {"best_single": held.figures[best], **others},
        rounds=round(fmean(len(arrivals) for arrivals in plan.arrivals)),
        best=best,
    )
    return Result(
        verdict=judged,
        runs={FISO: held.runs[FISO], "best_single": held.runs[best], **held.runs},
        charges={"best_single": held.charges[best], **held.charges},
        notes=_notes(plan, held),
    )


def _notes(plan: Plan, held: _Held) -> tuple[str, ...]:
    served = [request for run in held.runs[FISO] for request in run]
    again = fmean(request.attempts > 1 for request in served)
    promoted = sum(run.promoted for run in held.retrainings)
    repeat = "may" if plan.is_idempotent else "must not"
    notes = [
        f"world: {plan.setting.name}; a rival makes one call per request, FISO tried another endpoint for {again:.2%}",
        f"calls that may have run {repeat} be repeated; after {rivals.TIMEOUT_MS / 1000:.0f} s a caller gives up",
        f"started cold: {_cold(held.runs[FISO])} of FISO's requests, {_cold(held.runs['random'])} of random's",
        f"retraining every {RETRAIN_EVERY} records on a run's own log: {promoted} of {len(held.retrainings)} promoted",
        f"FISO used up to {max(held.environments)} execution environments; its own time and cost are not in the table",
        "the context oracle knows means and present state, but plans no further than a start: no strict bound",
    ]
    missing = unpriced(plan.setting.endpoints.values(), plan.setting.tariff)
    notes += [f"the tariff has no price for {provider} {region}: counted as 0 there" for provider, region in missing]
    return tuple(notes)


def _cold(runs: Runs) -> str:
    return f"{fmean(request.cold for run in runs for request in run):.1%}"
