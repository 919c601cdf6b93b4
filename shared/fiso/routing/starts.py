"""Starts: how likely an idle endpoint is to start cold, from published curves and what its own calls have shown. Pure.

The curves: mikhail.io/serverless/coldstarts, "When does a cold start happen", snapshot of 2021-01-07, read off at the
middle of each class of idle time (`levels.IDLE_BINS`). Providers change this without notice, so a curve only counts as
CURVE_CALLS calls of an endpoint's own.
"""

from fiso.domain.endpoint import Provider
from fiso.domain.state import EndpointState
from fiso.routing.levels import idle_bin

COLD_AFTER_IDLE = {
    Provider.AWS: (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    Provider.AZURE: (0.0, 0.08, 0.1, 0.2, 0.5, 0.95, 1.0),
    Provider.GCP: (0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0),
}
"""The chance of a cold start by class of idle time."""
CURVE_CALLS = 3.0
START_MS = {Provider.AWS: 650.0, Provider.AZURE: 2140.0, Provider.GCP: 1450.0}
"""What a cold start adds: medians over languages and package sizes of the same snapshot (11,642, 6,191 and 848 starts).
"""


def cold_after_idle(provider: Provider, idle_s: float, state: EndpointState | None) -> float:
    """P(cold | idle): the published chance, blended with how often this endpoint was cold after as long a silence."""
    index = idle_bin(idle_s)
    published = COLD_AFTER_IDLE[provider][index]
    calls = state.idle_calls[index] if state and state.idle_calls else 0
    colds = state.idle_colds[index] if state and state.idle_colds else 0
    return (published * CURVE_CALLS + colds) / (CURVE_CALLS + calls)
