"""The emulation profile: the distances and cold starts that the provider proxy adds, and how one delay is drawn.

Pure but for `load`. The figures and their sources are in `profile.yaml`.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from pydantic import TypeAdapter

PROFILE_FILE = Path(__file__).with_name("profile.yaml")


class Provider(StrEnum):
    """The clouds that are emulated."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"


Curve = tuple[tuple[float, float], ...]
"""Points (x, y) with rising x; straight lines between them, level outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionProfile:
    """A region and its median round trip from the router."""

    name: str
    round_trip_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How likely a call after an idle time is cold, and how long a cold one takes more."""

    probability_by_idle_minutes: Curve
    init_ms_by_quantile: Curve

    def probability(self, idle_minutes: float | None) -> float:
        """P(cold) after an idle time; None for a function that was never called."""
        return interpolate(self.probability_by_idle_minutes, math.inf if idle_minutes is None else idle_minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProfile:
    """One cloud: its regions in order, each with a listener of its own unless `one_listener` serves them all."""

    name: Provider
    regions: tuple[RegionProfile, ...]
    cold_start: ColdStart
    one_listener: bool = False

    @property
    def listeners(self) -> tuple[tuple[RegionProfile, ...], ...]:
        """The regions behind each listener."""
        return (self.regions,) if self.one_listener else tuple((region,) for region in self.regions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that is emulated."""

    router_region: str
    distance_sigma: float
    providers: tuple[ProviderProfile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """What is added to one call."""

    distance_ms: float = 0.0
    cold_ms: float = 0.0


def draw_delay(
    profile: Profile, provider: ProviderProfile, region: RegionProfile, idle_minutes: float | None, rng: Random
) -> Delay:
    """A round trip, log-normal about the region's median, and perhaps a cold start.

    Three numbers are drawn whatever the outcome, so that runs with one seed stay comparable call by call.
    """
    jitter, chance, quantile = rng.gauss(0, 1), rng.random(), rng.random()
    is_cold = chance < provider.cold_start.probability(idle_minutes)
    return Delay(
        distance_ms=region.round_trip_ms * math.exp(profile.distance_sigma * jitter),
        cold_ms=interpolate(provider.cold_start.init_ms_by_quantile, quantile) if is_cold else 0.0,
    )


def interpolate(points: Curve, x: float) -> float:
    """The curve's y at x."""
    at = bisect_left([point[0] for point in points], x)
    if at == 0:
        return points[0][1]
    if at == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[at - 1], points[at]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def load(path: Path = PROFILE_FILE) -> Profile:
    """The profile in a YAML file. `ValueError` or `OSError` for one that cannot be used."""
    import yaml  # not for the help of `fiso local`

    return TypeAdapter(Profile).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
