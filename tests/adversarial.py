"""Adversarial worlds: paired traces in which published facts about clouds are true, absent, reversed or far too strong.

A family is what the facts are worth, how the world moves, and whether it is small (few copies, few rounds) or large.
Everything is drawn from a seed. Costs are the bill's: the processing part by the tariff.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso.prediction import facts
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import router
from fiso_cli.worlds.contest import FISO
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.recent_means import RecentMeans
from fiso_cli.worlds.rules import LowestRecentLatency, PeakEwmaOfTwo, by_arm, by_rule
from fiso_cli.worlds.trace import Measured, Round, Trace
from fiso_cli.worlds.trace_worlds import TraceWorlds
from fiso_cli.worlds.world import Arm

REGIONS = {
    Provider.AWS: ("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1"),
    Provider.AZURE: ("eastus", "westus2", "westeurope", "southeastasia"),
    Provider.GCP: ("us-east1", "us-west1", "europe-west1", "asia-southeast1"),
}
SIZES_MB = (128, 256, 512, 1024, 2048, 4096)
ROUTER_REGION = "us-east-1"
LOADED = 50.0


class Facts(StrEnum):
    """How far what is published of sizes, distances and load is true here."""

    TRUE = "true"
    ABSENT = "absent"
    REVERSED = "reversed"
    TOO_STRONG = "ten_times_too_strong"

    @property
    def worth(self) -> float:
        """What the logarithm of a published ratio is multiplied by."""
        return {Facts.TRUE: 1.0, Facts.ABSENT: 0.0, Facts.REVERSED: -1.0, Facts.TOO_STRONG: 0.1}[self]


class Motion(StrEnum):
    """How the world moves."""

    STEADY = "steady"
    DRIFTING = "drifting"
    JUMP = "jump"
    HEAVY_TAILS = "heavy_tails"
    LOADED = "correlated_load"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of world."""

    facts: Facts
    motion: Motion
    is_large: bool

    @property
    def name(self) -> str:
        """In one word."""
        return f"{self.facts}/{self.motion}/{'large' if self.is_large else 'small'}"


FAMILIES: Sequence[Family] = [
    Family(facts, motion, is_large) for facts in Facts for motion in Motion for is_large in (False, True)
]


@dataclass(slots=True)
class _Copy:
    arm: Arm
    fixed_ms: float
    processing_ms: float
    load_slope: float
    variation: float
    drift: float = 0.0


def world(family: Family, seed: int, tariff: Tariff, *, rounds: int | None = None) -> Trace:
    """One world as a trace; `rounds` cuts it short."""
    rng = random.Random(f"{family.name} {seed}")  # nosec B311 # repeatable, no secrets
    copies = _copies(family, rng)
    count = rng.randint(1000, 5000) if family.is_large else rng.randint(200, 999)
    played = tuple(_rounds(family, copies, min(count, rounds or count), rng, tariff))
    return Trace(name=f"{family.name} {seed}", rounds=played, arms={copy.arm.id: copy.arm for copy in copies})


def _copies(family: Family, rng: random.Random) -> list[_Copy]:
    count = rng.randint(4, 13) if family.is_large else rng.randint(2, 5)
    base_ms, share = exp(rng.uniform(log(20), log(3000))), rng.choice((0.05, 0.5, 0.9))
    platform_ms = {provider: base_ms * (1 - share) * exp(rng.gauss(0, 0.3)) for provider in Provider}
    worth, variation, found = family.facts.worth, exp(rng.uniform(log(0.05), log(0.5))), dict[EndpointId, _Copy]()
    while len(found) < count:
        provider = rng.choice(list(Provider))
        arm = Arm(provider=provider, region=rng.choice(REGIONS[provider]), memory_mb=rng.choice(SIZES_MB))
        small = facts.smallness(arm.endpoint())
        way_ms = facts.round_trip_ms(ROUTER_REGION, arm.region)
        load_slope = rng.gauss(0, 0.05) + (0.6 * worth if provider is Provider.AZURE else 0.0)
        found[arm.id] = _Copy(
            arm=arm,
            fixed_ms=platform_ms[provider] + (way_ms if worth else rng.uniform(0, 200)) * abs(worth or 1),
            processing_ms=base_ms * share * exp(worth * small + rng.gauss(0, 0.25)),
            load_slope=load_slope,
            variation=variation,
        )
    return list(found.values())


def _rounds(family: Family, copies: list[_Copy], count: int, rng: random.Random, tariff: Tariff) -> Iterator[Round]:
    every_s, at_s, in_flight, burst = exp(rng.uniform(log(1), log(600))), 0.0, 1.0, 0.0
    jump_at, jumper = int(count * rng.uniform(0.3, 0.7)), rng.choice(copies)
    if rng.random() < 0.5:
        jumper = min(copies, key=lambda copy: copy.fixed_ms + copy.processing_ms)
        factor = 3.0
    else:
        factor = rng.choice((1 / 3, 3.0))
    total_drift = rng.uniform(0.2, 0.6)
    for number in range(count):
        if family.motion is Motion.JUMP and number == jump_at:
            jumper.drift += log(factor)
        if family.motion is Motion.LOADED and rng.random() < 0.02:
            in_flight = LOADED if in_flight == 1.0 else 1.0
        if family.motion is Motion.HEAVY_TAILS:
            burst = burst * 0.9 if burst > 0.05 else (rng.paretovariate(1.5) if rng.random() < 0.01 else 0.0)
        calls = {}
        for copy in copies:
            if family.motion is Motion.DRIFTING:
                copy.drift += rng.gauss(0, total_drift / count**0.5)
            calls[copy.arm.id] = _measured(family, copy, in_flight, burst, rng, tariff)
        yield Round(number=number, t=at_s, function="adversary", in_flight=in_flight, calls=calls)
        at_s += rng.expovariate(1 / every_s)


def _measured(
    family: Family, copy: _Copy, in_flight: float, burst: float, rng: random.Random, tariff: Tariff
) -> Measured:
    noise = exp(rng.gauss(0, copy.variation) - copy.variation**2 / 2)
    if family.motion is Motion.HEAVY_TAILS:
        noise *= 0.7 * rng.paretovariate(2.2) * (1 + burst * rng.random())
    moved = exp(copy.drift + copy.load_slope * log(in_flight))
    processing_ms = copy.processing_ms * moved * noise
    latency_ms = copy.fixed_ms * (moved if family.motion is Motion.JUMP else 1.0) + processing_ms
    cost_usd = tariff.cost_usd(copy.arm.endpoint(), processing_ms) or 0.0
    return Measured(latency_ms=max(0.1, latency_ms), cost_usd=cost_usd, cold=False, ok=True)


def ratios(trace: Trace, objective: Objective, tariff: Tariff, *, seed: int) -> Mapping[str, float]:
    """What the router and its rivals are charged, each over the best single endpoint in hindsight."""
    worlds = TraceWorlds(trace, tariff)
    judge = worlds.judge(objective)
    best = min(sum(judge.charge(result) for result in by_arm(worlds, arm, seed=seed)) for arm in worlds.always_present)
    routed = router.run(worlds, router.policy_of(objective), router.packaged_model(MODELS), seed=seed)
    found = {FISO: sum(judge.charge(result) for result in routed.results) / best}
    for rule in (LowestRecentLatency, PeakEwmaOfTwo, RecentMeans):
        results = by_rule(worlds, rule, seed=seed, objective=objective)
        found[rule.name] = sum(judge.charge(result) for result in results) / best
    return found


def limit(trace: Trace) -> float:
    """What the router is to stay within: a short life pays more for its first tries."""
    return 1.10 if len(trace.rounds) < 300 else 1.05
