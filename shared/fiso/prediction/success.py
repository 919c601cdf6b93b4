"""Success: the chance that a call is answered, from the model's word or the clouds' own promise, and what was counted.

Standard library only.
"""

from collections.abc import Sequence

from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.routing.fold import WEIGHT
from fiso.routing.levels import decay

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


def chance(state: EndpointState | None, row: Sequence[float], *, prior: float, prior_calls: float) -> float:
    """The chance of success: `prior`, counted as `prior_calls` calls, blended with the recent error rate.

    k failures in a row divide it by 1 + k / 2 (so one costs a third), less so the longer ago the last one was.
    """
    if state is None or not state.attempts:
        return prior
    seen = min(float(state.attempts), REMEMBERED_CALLS)
    if state.error_rate <= 0 and not state.consecutive_failures:
        return (prior * prior_calls + seen) / (prior_calls + seen)
    idle_s = row[IDLE_AT]
    rate = min(1.0, max(0.0, state.error_rate)) * decay(idle_s, FORGIVEN_S)
    likely = (prior * prior_calls + (1 - rate) * seen) / (prior_calls + seen)
    run = state.consecutive_failures * decay(idle_s, RUN_FORGIVEN_S)
    return likely / (1 + run / 2)
