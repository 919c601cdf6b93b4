"""Decisions: the ranking and the choice for one request, complete before any network call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from math import exp, log, sqrt
from typing import NamedTuple

from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.policy import LatencyMeasure
from fiso.domain.steering import CanaryDraw

LONGEST_MS = 900_000.0
"""The clouds' longest timeout, 15 minutes."""
START_VARIATION = 0.7
"""The coefficient of variation of a start, of the order that mikhail.io's percentiles show for all three clouds."""


class Spread(NamedTuple):
    """A mixture: with the chance `cold` a call takes a start longer. Means in ms; `variation` of a warm call.

    `p95_ratio`: the 95th percentile of warm calls over their mean where that was seen; 0 leaves it to the variation.
    """

    warm_ms: float
    variation: float
    cold: float
    start_ms: float
    p95_ratio: float = 0.0

    @classmethod
    def through(cls, mean_ms: float, p95_ms: float) -> "Spread":
        """Warm calls with this mean and, as far as a log-normal can have it, this 95th percentile."""
        z = normal_quantile(0.95)
        steepest = max(0.0, z**2 - 2 * log(max(1.0, p95_ms / mean_ms)))
        return cls(warm_ms=mean_ms, variation=sqrt(exp((z - sqrt(steepest)) ** 2) - 1), cold=0.0, start_ms=0.0)

    def quantile(self, share: float) -> float:
        """The latency that a share of calls stays within, cold calls taken as the slowest ones; at most LONGEST_MS."""
        return _quantile(self, share)


@lru_cache(maxsize=1024)
def _quantile(spread: Spread, share: float) -> float:
    """Kept: the predictions of a context are asked for the same quantiles with every request."""
    warm = 1 - spread.cold
    if share > warm:
        cold_ms = log_normal_quantile(spread.start_ms, START_VARIATION, (share - warm) / spread.cold)
        return min(LONGEST_MS, spread.warm_ms + cold_ms)
    longest = _warm_quantile(spread, share / warm)
    if spread.cold:
        longest = min(longest, spread.warm_ms + log_normal_quantile(spread.start_ms, START_VARIATION, 0.0))
    return min(LONGEST_MS, longest)


def _warm_quantile(spread: Spread, share: float) -> float:
    """Log-normal by the variation; above the median by the percentile that was seen, where one was."""
    if share <= 0.5 or not spread.p95_ratio:
        return log_normal_quantile(spread.warm_ms, spread.variation, share)
    median = log_normal_quantile(spread.warm_ms, spread.variation, 0.5)
    steepness = log(max(1.0, spread.p95_ratio * spread.warm_ms / median))
    return median * exp(steepness * normal_quantile(share) / normal_quantile(0.95))


def log_normal_quantile(mean: float, variation: float, share: float) -> float:
    """A quantile of the log-normal distribution with this mean and coefficient of variation."""
    variance = log(1 + variation**2)
    return mean * exp(sqrt(variance) * normal_quantile(share) - variance / 2)


def normal_quantile(share: float) -> float:
    """The standard normal quantile, within 4.5e-4 (Abramowitz and Stegun, 26.2.23); beyond 1e-6 of the ends, that."""
    tail = max(1e-6, min(share, 1 - share))
    t = sqrt(-2 * log(tail))
    above = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    return above if share > 0.5 else -above


class Reason(StrEnum):
    """Why the answering endpoint was called (`x-fiso-reason`)."""

    SCORE = "score"
    EXPLORE = "explore"
    FAILOVER = "failover"
    HEDGE = "hedge"
    POLICY = "policy"
    CONTROL = "control"
    AFFINITY = "affinity"
    CANARY = "canary"


class Purpose(StrEnum):
    """What a try is for."""

    NEW_COPY = "new_copy"
    """It was never called."""
    INFORMATION_GAIN = "information_gain"
    """It may have become better than it is believed to be, and knowing is worth its price."""
    UNDIRECTED = "undirected"
    """Nothing in particular: nobody is ruled out."""


class PredictionSource(StrEnum):
    """What made a prediction. A baseline never passes for the model."""

    MODEL = "model"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Why an endpoint is not a candidate: a short code for machines, a sentence for people."""

    endpoint: EndpointId
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What else happened while deciding, about no endpoint in particular: a short code and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one candidate is expected to do with this request.

    `latency_ms` is the expected time that the orchestrator sees, `compared_ms` the same with a start for idleness
    spread over the calls it will serve, which is what candidates are compared by, or `compared_p95_ms` where the policy
    minimises that; `compared_cold` is the chance of a start that counts there. `cost_usd` is None when the endpoint
    has no price: it is then `unpriced`, never free; `transfer_usd` is what the data costs on its way beside it, and
    `price_usd` both, by which candidates are compared. `features` is the snapshot the model saw, in the order of
    `prediction.features.NAMES`.

    How sure that is: `deviation` and `cost_deviation` are the standard deviations of the logarithms of the expected
    latency and cost (0.1: within about 10 %), `spread` how a single call scatters, `observations` the calls behind it,
    `tried_loss` what tries lost; `is_new`: the copy was never called
    at this load, and hardly at others.
    """

    endpoint: EndpointId
    latency_ms: float
    cost_usd: float | None
    success_probability: float
    source: PredictionSource
    features: tuple[float, ...]
    raw_latency_ms: float
    model_cost_usd: float | None = None
    transfer_usd: float = 0.0
    compared_ms: float | None = None
    compared_cold: float = 0.0
    deviation: float = 0.0
    cost_deviation: float = 0.0
    spread: Spread | None = None
    observations: float = 0.0
    tries: int = 0
    tried_loss: float = 0.0
    is_new: bool = False

    def __post_init__(self) -> None:
        if not (self.latency_ms > 0 and 0 <= self.success_probability <= 1):
            raise ValueError(
                f"impossible prediction for {self.endpoint}: {self.latency_ms}, {self.success_probability}"
            )

    @property
    def price_usd(self) -> float | None:
        return None if self.cost_usd is None else self.cost_usd + self.transfer_usd

    @property
    def model_price_usd(self) -> float | None:
        """The same by the trained cost target."""
        return None if self.model_cost_usd is None else self.model_cost_usd + self.transfer_usd

    @property
    def p50_ms(self) -> float | None:
        return self.spread.quantile(0.50) if self.spread else None

    @property
    def p95_ms(self) -> float | None:
        return self.spread.quantile(0.95) if self.spread else None

    @property
    def compared_p95_ms(self) -> float | None:
        return self.spread._replace(cold=self.compared_cold).quantile(0.95) if self.spread else None

    @property
    def cold_probability(self) -> float:
        return self.spread.cold if self.spread else 0.0

    @property
    def variation(self) -> float:
        return self.spread.variation if self.spread else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A candidate's score and the unweighted terms it is made of, for `explain`.

    `learnable` is the standard deviation of how far one more call would move the logarithm of `value`, `doubt` that of
    the logarithm itself; `observations`, `tried_loss` and `is_new` are the prediction's.
    """

    endpoint: EndpointId
    value: float
    terms: Mapping[str, float]
    learnable: float = 0.0
    doubt: float = 0.0
    observations: float = 0.0
    tries: int = 0
    tried_loss: float = 0.0
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidate:
    """One candidate of a decision. `propensity` is the probability with which it could have been chosen.

    `tried_for` is what a call of it would teach, None for the best one.
    """

    endpoint: Endpoint
    prediction: Prediction
    score: Score
    propensity: float
    is_deprioritised: bool = False
    tried_for: Purpose | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The ranking (the order of attempts: the choice first, then best score) and how it came about.

    Propensities sum to 1 over the ranking. `is_sticky`: a session chose, not this request. `canary` is set where a draw
    chose between a canary and the others. `latency_measure` is what latencies were compared by.
    """

    function: FunctionName
    decided_at: datetime
    ranking: tuple[RankedCandidate, ...]
    exclusions: tuple[Exclusion, ...]
    reason: Reason
    policy_version: int
    snapshot_version: int
    model_version: str
    tariff_version: str
    notes: tuple[Note, ...] = ()
    is_sticky: bool = False
    canary: CanaryDraw | None = None
    latency_measure: LatencyMeasure = LatencyMeasure.MEAN

    def __post_init__(self) -> None:
        total = sum(candidate.propensity for candidate in self.ranking)
        if self.ranking and abs(total - 1) > 1e-9:
            raise ValueError(f"propensities sum to {total}, not 1")

    @property
    def chosen(self) -> RankedCandidate:
        return self.ranking[0]
