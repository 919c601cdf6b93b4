"""Worlds in which the winner changes at a random moment, and how many requests the router takes to find the new one."""

import random
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import router
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import Measured, Round, Trace
from fiso_cli.worlds.trace_worlds import TraceWorlds
from fiso_cli.worlds.world import Arm

PLACES = (
    (Provider.AWS, "us-east-1"),
    (Provider.GCP, "us-east1"),
    (Provider.AZURE, "eastus"),
    (Provider.AWS, "us-west-2"),
    (Provider.GCP, "us-west1"),
    (Provider.AZURE, "westus2"),
)
FOLLOWED, MOSTLY = 20, 15
"""A new winner is found with the first request of so many of which so many go to it, or to one as good."""
AS_GOOD = 1.2
MOST_AFTER = 4_000
"""Requests that are played after a change at most."""
EXPLORATION = 0.05
"""The policy's, where it says nothing."""


class Change(StrEnum):
    """What changes."""

    WINNER_SLOWS = "winner_slows"
    ANOTHER_WINS = "another_wins"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedWorld:
    """A trace, the round of the change, who is as good as the best from then on, and within how many requests it is to
    be found (docs/routing.md)."""

    trace: Trace
    changes_at: int
    winners: frozenset[EndpointId]
    stated: int


def stated(change: Change, *, copies: int, gap: float, exploration: float = EXPLORATION) -> int:
    """Requests after which a new winner is found in 95 of 100 worlds: one that is called tells by itself, one that is
    not is looked at by undirected exploration, the more rarely the further it was behind (`gap`, a share)."""
    if change is Change.WINNER_SLOWS:
        return 60
    return round(100 + 40 * (copies - 1) * gap * (1 + gap) ** 2 / exploration)


def world(change: Change, seed: int, *, is_small: bool = False) -> ChangedWorld:
    """Two to six copies (two or three). The winner turns three times slower, or a copy that was worse becomes twice as
    fast as it."""
    rng = random.Random(f"{change} {seed}")  # nosec B311 # repeatable, no secrets
    count = rng.randint(2, 3 if is_small else 6)
    arms = [Arm(provider=provider, region=region, memory_mb=1024) for provider, region in PLACES[:count]]
    rng.shuffle(arms)
    best_ms, variation = exp(rng.uniform(log(30), log(2_000))), exp(rng.uniform(log(0.05), log(0.4)))
    means = {arms[0].id: best_ms} | {arm.id: best_ms * rng.uniform(1.15, 1.3 if is_small else 2.5) for arm in arms[1:]}
    changed, changes_at = dict(means), rng.randint(60, 200 if is_small else 800)
    if change is Change.WINNER_SLOWS:
        changed[arms[0].id] = 3 * best_ms
    else:
        changed[arms[1].id] = best_ms / 2
    least = min(changed.values())
    within = stated(change, copies=count, gap=means[arms[1].id] / best_ms - 1)
    played = tuple(
        Round(
            number=number,
            t=2.0 * number,
            function="f",
            in_flight=1.0,
            calls={
                arm: Measured(
                    latency_ms=mean * exp(rng.gauss(0, variation) - variation**2 / 2),
                    cost_usd=1e-6,
                    cold=False,
                    ok=True,
                )
                for arm, mean in (means if number < changes_at else changed).items()
            },
        )
        for number in range(changes_at + min(MOST_AFTER, within + FOLLOWED))
    )
    return ChangedWorld(
        trace=Trace(name=f"{change} {seed}", rounds=played, arms={arm.id: arm for arm in arms}),
        changes_at=changes_at,
        winners=frozenset(arm for arm, mean in changed.items() if mean <= AS_GOOD * least),
        stated=within,
    )


def found_after(changed: ChangedWorld, *, seed: int) -> float:
    """Requests from the change until the router calls the new winner; without end where it does not while it plays."""
    worlds = TraceWorlds(changed.trace, tariff.current())
    done = router.run(worlds, router.policy_of(Objective.LATENCY), router.packaged_model(MODELS), seed=seed)
    good = [result.arm in changed.winners for result in done.results[changed.changes_at :]]
    windows = range(len(good) - FOLLOWED)
    return next((number for number in windows if good[number] and sum(good[number:][:FOLLOWED]) >= MOSTLY), inf)
