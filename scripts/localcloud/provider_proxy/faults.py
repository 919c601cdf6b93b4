"""Faults: what is wrong with a provider now, as a value, and what it does to a call's time. Pure.

A killed provider is handled where its sockets are (`listener`); everything that shapes a call is here.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    KILL = "kill"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `factor` is how many times longer a slow provider takes."""

    kind: FaultKind
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError("factor must be a number from 1 up")

    @property
    def refuses_connections(self) -> bool:
        return self.kind is FaultKind.KILL

    def extra_ms(self, taken_ms: float) -> float:
        """What to wait beyond the time that the call has taken, emulated delay and upstream together."""
        return taken_ms * (self.factor - 1) if self.kind is FaultKind.SLOW else 0.0
