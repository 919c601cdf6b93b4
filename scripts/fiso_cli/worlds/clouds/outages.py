"""Outages: when which endpoints do not work, and how. Pure.

refuse    connections are refused at once; the function did not run.
time_out  connections are taken and never answered; the function does not run, but nobody can know.
slow      everything takes 20 times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fiso.domain.endpoint import Provider
from fiso_cli.worlds.trace import Arm

SLOWER = 20.0


class Kind(StrEnum):
    """How an endpoint fails."""

    REFUSE = "refuse"
    TIME_OUT = "time_out"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One window, in seconds of the simulation. `region` None: everywhere. `source`: whose incident it replays."""

    provider: Provider
    start_s: float
    end_s: float
    kind: Kind = Kind.REFUSE
    region: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(
                f"an outage must begin at 0 or later and end after it begins: {self.start_s}, {self.end_s}"
            )

    def hits(self, arm: Arm) -> bool:
        """Whether the arm is within it, at any time."""
        return arm.provider is self.provider and self.region in (None, arm.region)


def kind_at(outages: Sequence[Outage], arm: Arm, now: float) -> Kind | None:
    """What is wrong with the arm now; of several outages the first."""
    return next((o.kind for o in outages if o.hits(arm) and o.start_s <= now < o.end_s), None)
