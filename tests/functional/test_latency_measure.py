"""A policy says which latency it minimises: each finds the copy that is the better one by it."""

import random
from collections import Counter
from math import exp
from pathlib import Path

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import contest, router
from fiso_cli.worlds.contest import Plan
from fiso_cli.worlds.objective import Objective, of_run
from fiso_cli.worlds.trace import Measured, Round, Trace
from fiso_cli.worlds.trace_worlds import TraceWorlds
from fiso_cli.worlds.world import Arm

USUALLY_QUICK = Arm(provider=Provider.AWS, region="us-east-1", memory_mb=512)
EVEN = Arm(provider=Provider.GCP, region="us-east1", memory_mb=512)
ROUNDS = 900


def a_world(long_ms: float, share: float, *, seed: int) -> Trace:
    """One copy is usually quick and rarely takes very long, the other one is even: worse by p95, better by the mean."""
    rng = random.Random(f"tails {seed}")

    def measured(latency_ms: float) -> Measured:
        return Measured(latency_ms=latency_ms, cost_usd=1e-6, cold=False, ok=True)

    def quick_ms() -> float:
        return long_ms * rng.uniform(0.5, 1.5) if rng.random() < share else 100 * exp(rng.gauss(0, 0.1))

    played = tuple(
        Round(
            number=number,
            t=2.0 * number,
            function="f",
            in_flight=1.0,
            calls={USUALLY_QUICK.id: measured(quick_ms()), EVEN.id: measured(200 * exp(rng.gauss(0, 0.1)))},
        )
        for number in range(ROUNDS)
    )
    return Trace(name="tails", rounds=played, arms={arm.id: arm for arm in (USUALLY_QUICK, EVEN)})


def shares(objective: Objective, trace: Trace, *, seed: int) -> Counter[EndpointId]:
    """Of the second half of the rounds."""
    worlds = TraceWorlds(trace, tariff.current())
    done = router.run(worlds, router.policy_of(objective), router.packaged_model(MODELS), seed=seed)
    return Counter(result.arm for result in done.results[ROUNDS // 2 :])


@pytest.mark.parametrize(("long_ms", "share"), [(15_000.0, 0.02), (60_000.0, 0.01)], ids=["seconds", "minutes"])
def test_each_policy_finds_its_own_copy(long_ms: float, share: float) -> None:
    half, seeds = ROUNDS - ROUNDS // 2, range(4)
    for objective, own in ((Objective.LATENCY, EVEN), (Objective.P95, USUALLY_QUICK)):
        found = [shares(objective, a_world(long_ms, share, seed=seed), seed=seed)[own.id] / half for seed in seeds]
        assert sum(found) / len(found) > 0.7, (objective, found)


def test_a_replay_charges_what_the_policy_says() -> None:
    assert of_run(Objective.LATENCY, [1.0] * 90 + [100.0] * 10) == pytest.approx(10.9)
    assert of_run(Objective.P95, [1.0] * 90 + [100.0] * 10) == 100.0
    worlds = TraceWorlds(a_world(10_000.0, 0.025, seed=1), tariff.current())
    for objective, best in ((Objective.LATENCY, EVEN), (Objective.P95, USUALLY_QUICK)):
        held = contest.hold(Plan(worlds=worlds, objective=objective, seeds=1, model_dir=Path(MODELS)))
        assert held.verdict.best_single == best.id
        assert held.verdict.fiso.worst_case is not None
