"""Lateness: how long an endpoint is waited for before another one is tried beside it and before all is given up. Pure.

The least times are for functions that are fast as a rule; a slow one gets multiples of what is predicted of it.
"""

from collections.abc import Sequence

from fiso.domain.decision import Prediction, RankedCandidate
from fiso.prediction import features

LEAST_SLOW_MS = 1_000.0
TIMES_P99 = 3.0
"""A call is late after this many times its predicted 99th percentile, of a warm call."""
LEAST_HEDGE_MS = 100.0
LEAST_GIVE_UP_MS = 2_300.0
GIVE_UP_TIMES_P99 = 4.0
"""A request whose every copy is late is given up after this many times the 99th percentile, and no sooner than
LEAST_GIVE_UP_MS: three clouds that stay silent are down, and the caller is told while it still waits."""
IDLE_S = 300.0
COLD_ALLOWANCE_MS = 5_000.0
"""What an endpoint that was not called for IDLE_S gets on top: it may have to start, and a start is no failure. The
slow tail of Azure's starts (mikhail.io, 2021) ends near 5 s; clouds keep environments for 5 to 20 minutes."""
_IDLE = features.NAMES.index("idle_seconds")


def slow_call_ms(candidate: RankedCandidate) -> float:
    """When a call is late, so that another endpoint is tried beside it if the request may run twice."""
    return max(LEAST_SLOW_MS, TIMES_P99 * p99_ms(candidate.prediction))


def attempt_timeout_ms(candidate: RankedCandidate) -> float:
    """When a call is cut off to try another endpoint, where calls cannot run beside each other."""
    return slow_call_ms(candidate) + _cold_allowance_ms(candidate.prediction)


def give_up_ms(candidates: Sequence[RankedCandidate]) -> float:
    """When a request is given up whose copies are all late, for the candidates that may be tried, the first one first.

    Starts are allowed for only where every one of them may have to start.
    """
    start_ms = min(_cold_allowance_ms(candidate.prediction) for candidate in candidates)
    return max(LEAST_GIVE_UP_MS, GIVE_UP_TIMES_P99 * p99_ms(candidates[0].prediction)) + start_ms


def hedge_ms(candidate: RankedCandidate) -> float | None:
    """When a hedge begins: after the predicted 95th percentile of a warm call. None while nobody knows that.

    A start that is likely is no reason to wait for it: the budget says how often that may be hedged.
    """
    spread = candidate.prediction.spread
    return max(LEAST_HEDGE_MS, spread._replace(cold=0.0).quantile(0.95)) if spread else None


def p99_ms(prediction: Prediction) -> float:
    """The predicted 99th percentile of a warm call; without a spread, a multiple of the mean that few calls pass."""
    spread = prediction.spread
    return spread._replace(cold=0.0).quantile(0.99) if spread else 2 * prediction.latency_ms


def _cold_allowance_ms(prediction: Prediction) -> float:
    return COLD_ALLOWANCE_MS if prediction.features[_IDLE] > IDLE_S else 0.0
