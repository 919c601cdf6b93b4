"""Luck: what chance brings one call. It depends on the seed, the request and the arm alone, never on who calls or when.

Two policies that pick the same arm for the same request therefore meet the same luck (common random numbers: Law,
"Simulation Modeling and Analysis", ch. 11), and their difference is their own doing.
"""

import random
from dataclasses import dataclass

from fiso.domain.endpoint import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """Standard normal draws for service time, its spread under load, and a start; uniform ones for the rest."""

    service: float
    crowd: float
    start: float
    instance_start: float
    failure: float
    survival: float


STEADY = Luck(service=0.0, crowd=0.0, start=0.0, instance_start=0.0, failure=1.0, survival=0.5)
"""Nothing out of the ordinary: every draw at its median, and no failure."""


def luck(seed: int, request: int, arm: EndpointId) -> Luck:
    """The draws of one call."""
    draws = random.Random(f"{seed}/{request}/{arm}")  # nosec B311 # draws of a simulation, no secrets
    return Luck(
        service=draws.gauss(0, 1),
        crowd=draws.gauss(0, 1),
        start=draws.gauss(0, 1),
        instance_start=draws.gauss(0, 1),
        failure=draws.random(),
        survival=draws.random(),
    )
