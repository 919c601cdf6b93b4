"""Regions: FISO's front doors, of which the first that can be reached is asked. Each has its own keys and its own log,
so a lease is reported where it came from.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fiso_client.api import FisoApi, FisoAway

RETURN_S = 30.0
"""After how long a region that was away is asked first again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A lease as FISO gave it, and which region did."""

    document: dict[str, Any]
    region: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The regions in the order of preference. `stopwatch` counts seconds."""

    apis: tuple[FisoApi, ...]
    stopwatch: Callable[[], float]
    away_until: dict[int, float] = field(default_factory=dict)

    def order(self) -> Iterator[int]:
        """Those that answered when they were last asked, then the others."""
        now = self.stopwatch()
        return iter(sorted(range(len(self.apis)), key=lambda region: self.away_until.get(region, 0.0) > now))

    def is_away(self, region: int) -> None:
        """It could not be reached just now."""
        self.away_until[region] = self.stopwatch() + RETURN_S

    def decide(self, function: str, request_size_bytes: int) -> Given:
        """A lease of the first region that can be reached: to ask runs nothing, so it may be asked of each. What a
        region says counts, also when it refuses. `FisoAway` when none can be reached."""
        problems = []
        for region in self.order():
            try:
                return Given(document=self.apis[region].decide(function, request_size_bytes), region=region)
            except FisoAway as error:
                self.is_away(region)
                problems.append(f"{self.apis[region].url}: {error}")
        raise FisoAway("; ".join(problems))
