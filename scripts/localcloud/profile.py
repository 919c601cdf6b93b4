"""The emulation profile: the distances and cold starts that the provider proxy adds, and how one delay is drawn.

Pure but for `load`. The figures and their sources are in `profile.yaml`.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

PROFILE_FILE = Path(__file__).with_name("profile.yaml")


class Provider(StrEnum):
    """The clouds that are emulated."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"


class ProfileError(ValueError):
    """A profile that cannot be used. The message is one line."""


Curve = tuple[tuple[float, float], ...]
"""Points (x, y) with rising x; straight lines between them, level outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionProfile:
    """A region and its median round trip from the router."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    round_trip_ms: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.round_trip_ms) and self.round_trip_ms >= 0):
            raise ValueError(f"round_trip_ms of {self.name} must be a number from 0 up")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How likely a call after an idle time is cold, and how long a cold one takes more."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    probability_by_idle_minutes: Curve
    init_ms_by_quantile: Curve

    def __post_init__(self) -> None:
        for name in ("probability_by_idle_minutes", "init_ms_by_quantile"):
            points: Curve = getattr(self, name)
            if not points or any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(points)):
                raise ValueError(f"{name} needs points whose first numbers rise and whose second never fall")
        if not all(0 <= y <= 1 for _, y in self.probability_by_idle_minutes):
            raise ValueError("probability_by_idle_minutes holds a probability outside 0..1")
        if not all(0 <= x <= 1 and y >= 0 for x, y in self.init_ms_by_quantile):
            raise ValueError("init_ms_by_quantile holds a quantile outside 0..1 or a negative time")

    def probability(self, idle_minutes: float | None) -> float:
        """P(cold) after an idle time; None for a function that was never called."""
        return interpolate(self.probability_by_idle_minutes, math.inf if idle_minutes is None else idle_minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProfile:
    """One cloud: its regions in order, each with a listener of its own unless `one_listener` serves them all."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Provider
    regions: tuple[RegionProfile, ...]
    cold_start: ColdStart
    one_listener: bool = False

    def __post_init__(self) -> None:
        if not self.regions or len({region.name for region in self.regions}) < len(self.regions):
            raise ValueError(f"{self.name} needs regions with different names")

    @property
    def listeners(self) -> tuple[tuple[RegionProfile, ...], ...]:
        """The regions behind each listener."""
        return (self.regions,) if self.one_listener else tuple((region,) for region in self.regions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that is emulated."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    router_region: str
    distance_sigma: float
    providers: tuple[ProviderProfile, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.distance_sigma <= 1:
            raise ValueError("distance_sigma must be within 0..1")
        if len({provider.name for provider in self.providers}) < len(self.providers):
            raise ValueError("each provider may be listed once")


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
    """The profile in a YAML file. Raises `ProfileError` with one line."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"profile {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"profile {path}: not YAML ({' '.join(str(error).split())})") from error
    try:
        return TypeAdapter(Profile).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProfileError(
            f"profile {path}: {place}: {first['msg']}" if place else f"profile {path}: {first['msg']}"
        ) from error
