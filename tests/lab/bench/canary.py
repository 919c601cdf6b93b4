"""Canaries by simulation: how many requests a worse copy is stopped within, and how often an equal one is.

The canary's own code runs (`routing.canaries`), through all steps of a canary until it is stopped or has passed, looked
at after every request. Latencies are log-normal with a deviation of SIGMA, the scatter of a warm function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, inf
from random import Random

from fiso.domain.endpoint import EndpointId
from fiso.domain.steering import Canary, CanaryState
from fiso.routing.canaries import Observation, observed, standing
from fiso.testing.clock import START
from fiso_client.core.sequential import ALPHA
from tests.lab.bench.rows import Row, at_most, row

SIGMA = 0.5
ENDPOINT = EndpointId("new")
EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What tells a canary (`a`) from the others (`b`)."""

    errors_a: float
    errors_b: float
    slower: float = 1.0


EQUAL = Copies(errors_a=0.01, errors_b=0.01)
SLOWER_BY_20_PERCENT = Copies(errors_a=0.01, errors_b=0.01, slower=1.2)
ERRORS_20_POINTS_MORE = Copies(errors_a=0.21, errors_b=0.01)
ERRORS_20_PERCENT_MORE = Copies(errors_a=0.24, errors_b=0.20)


BY_DEFAULT = Canary(endpoint=ENDPOINT, step_minutes=0)
QUICK = Canary(endpoint=ENDPOINT, step_minutes=0, step_requests=100)
HALF_AND_HALF = Canary(endpoint=ENDPOINT, step_minutes=0, step_requests=1_000_000, shares=(0.5,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """After how many requests of the function each trial's canary was stopped; inf where it was not."""

    requests: Sequence[float]

    @property
    def share(self) -> float:
        return sum(each < inf for each in self.requests) / len(self.requests)

    def within(self, share: float) -> float:
        """So many requests stop this share of the trials."""
        return sorted(self.requests)[ceil(share * len(self.requests)) - 1]


def trials(copies: Copies, canary: Canary, count: int, *, seed: int = 1) -> Stopped:
    """Run it `count` times."""
    rng = Random(seed)  # nosec B311 # draws of a simulation
    return Stopped(requests=[stopped_after(copies, canary, rng) for _ in range(count)])


def stopped_after(copies: Copies, canary: Canary, rng: Random) -> float:
    """The request at which a canary was stopped; inf when it passed."""
    now = START
    known = CanaryState(run=canary.run, policy_version=1, step=0, since=now)
    requests = 0
    while known.stopped_at is None and (stands := standing(canary, known, now)):
        requests += 1
        now += timedelta(seconds=EVERY_S)
        seen = _request(copies, rng, is_canary=rng.random() < stands.share)
        known = observed(known, seen, step=stands.draw.step, at=now)
    return inf if known.stopped_at is None else requests


def _request(copies: Copies, rng: Random, *, is_canary: bool) -> Observation:
    if rng.random() < (copies.errors_a if is_canary else copies.errors_b):
        return Observation(is_canary=is_canary, is_error=True)
    latency_ms = 100 * rng.lognormvariate(0, SIGMA) * (copies.slower if is_canary else 1.0)
    return Observation(is_canary=is_canary, latency_ms=latency_ms)


def rows() -> list[Row]:
    """How often an equal copy is stopped, and within how many requests a worse one is."""
    equal = trials(EQUAL, QUICK, 500)
    rival = f"alpha, {ALPHA:.0%}"
    found = [
        row(
            "canary_equal_stopped", equal.share, "of trials", rival=rival, rival_value=ALPHA, n=500, gate=at_most(ALPHA)
        )
    ]
    for name, copies, canary, count, limit in (
        ("slower_20_percent", SLOWER_BY_20_PERCENT, BY_DEFAULT, 200, 12_000),
        ("errors_1_to_21_percent", ERRORS_20_POINTS_MORE, BY_DEFAULT, 200, 1_200),
        ("errors_20_to_24_percent", ERRORS_20_PERCENT_MORE, HALF_AND_HALF, 60, 25_000),
    ):
        stopped = trials(copies, canary, count)
        for word, share, gate in (("median", 0.5, None), ("p95", 0.95, at_most(limit))):
            found.append(
                row(
                    f"canary_{name}_{word}",
                    stopped.within(share),
                    "requests",
                    rival="none",
                    rival_value=None,
                    n=count,
                    gate=gate,
                )
            )
    return found
