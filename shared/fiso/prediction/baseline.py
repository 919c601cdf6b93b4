"""The baseline: what is predicted while no model serves. It says that it is one, and invents nothing.

Latency is the folded average where there is one, else a published figure; success is counted. Standard library only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.routing.ewma import decay
from fiso.routing.fold import WEIGHT

COLD_START_MS = {Provider.AWS: 650.0, Provider.AZURE: 2140.0, Provider.GCP: 1450.0}
"""For an endpoint never called, whose first call will be cold: the median cold start over languages and package sizes
of mikhail.io/serverless/coldstarts, snapshot of 2021-01-07 (11,642, 6,191 and 848 cold starts)."""

USUAL_SUCCESS = 0.9995
"""Of an endpoint nothing is known of: the monthly uptime that all three clouds' agreements name (99.95 %)."""
USUAL_CALLS = 2.0
"""How many calls that counts for, against those that were seen (additive smoothing)."""
REMEMBERED_CALLS = 1 / WEIGHT
"""How many calls the folded error rate remembers."""
FORGIVEN_S = 300.0
"""An error rate fades with this time constant while an endpoint is not called, so that it is tried again."""
RUN_FORGIVEN_S = 60.0
"""The same for a run of failures."""
IDLE_AT = features.NAMES.index("idle_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of one candidate."""

    latency_ms: float
    success_probability: float


def expect(endpoint: Endpoint, row: Sequence[float], state: EndpointState | None) -> Expectation:
    """Expect of an endpoint what its state says. `row` is the feature snapshot."""
    known_ms = state.latency_ms if state is not None else None
    return Expectation(
        latency_ms=COLD_START_MS[endpoint.provider] if known_ms is None else known_ms,
        success_probability=success(state, row, prior=USUAL_SUCCESS, prior_calls=USUAL_CALLS),
    )


def success(state: EndpointState | None, row: Sequence[float], *, prior: float, prior_calls: float) -> float:
    """The chance of success: `prior`, counted as `prior_calls` calls, blended with the recent error rate.

    k failures in a row divide it by 1 + k / 2 (so one costs a third), less so the longer ago the last one was.
    """
    if state is None or not state.attempts:
        return prior
    idle_s = row[IDLE_AT]
    seen = min(float(state.attempts), REMEMBERED_CALLS)
    rate = min(1.0, max(0.0, state.error_rate)) * decay(idle_s, FORGIVEN_S)
    chance = (prior * prior_calls + (1 - rate) * seen) / (prior_calls + seen)
    run = state.consecutive_failures * decay(idle_s, RUN_FORGIVEN_S)
    return chance / (1 + run / 2)
