"""Common random numbers: what chance brings one call. It depends on the seed, the request and the arm alone, never on
who calls or when.

Two policies that pick the same arm for the same request therefore meet the same draws (Law, "Simulation Modeling and
Analysis", ch. 11), and their difference is their own doing.
"""

import random
from dataclasses import dataclass

from fiso.domain.endpoint import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Standard normal draws for service time, its spread under load, and a start; uniform ones for the rest."""

    service: float
    crowd: float
    start: float
    instance_start: float
    failure: float
    survival: float


def common_draws(seed: int, request: int, arm: EndpointId) -> Draws:
    """The draws of one call."""
    draws = random.Random(f"{seed}/{request}/{arm}")  # nosec B311 # draws of a simulation, no secrets
    return Draws(
        service=draws.gauss(0, 1),
        crowd=draws.gauss(0, 1),
        start=draws.gauss(0, 1),
        instance_start=draws.gauss(0, 1),
        failure=draws.random(),
        survival=draws.random(),
    )
