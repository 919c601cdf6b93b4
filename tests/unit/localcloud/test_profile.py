"""The emulation profile: what is in it, and how a delay is drawn from it."""

import math
import statistics
from random import Random

import pytest

from localcloud import profile
from localcloud.profile import ColdStart, Delay, Profile, Provider, ProviderProfile, RegionProfile

NEVER = ColdStart(probability_by_idle_minutes=((0, 0),), init_ms_by_quantile=((0.5, 100),))
ALWAYS = ColdStart(probability_by_idle_minutes=((0, 1),), init_ms_by_quantile=((0, 100), (1, 300)))


def provider(cold_start: ColdStart, round_trip_ms: float = 80) -> ProviderProfile:
    return ProviderProfile(
        name=Provider.GCP,
        regions=(RegionProfile(name="europe-west1", round_trip_ms=round_trip_ms),),
        cold_start=cold_start,
    )


def drawn(cold_start: ColdStart, idle_minutes: float | None, *, sigma: float = 0.1, seed: int = 7) -> Delay:
    clouds = provider(cold_start)
    made = Profile(router_region="us-east-1", distance_sigma=sigma, providers=(clouds,))
    return profile.draw_delay(made, clouds, clouds.regions[0], idle_minutes, Random(seed))


def test_the_packaged_profile_lists_listeners_in_the_order_of_their_ports() -> None:
    packaged = profile.load()
    assert [
        (cloud.name.value, [region.name for region in regions])
        for cloud in packaged.providers
        for regions in cloud.listeners
    ] == [
        ("aws", ["us-east-1", "eu-west-1"]),
        ("azure", ["eastus"]),
        ("azure", ["westeurope"]),
        ("gcp", ["us-east4"]),
        ("gcp", ["europe-west1"]),
    ]


@pytest.mark.parametrize("cloud", profile.load().providers, ids=lambda cloud: str(cloud.name))
def test_in_the_packaged_profile_a_first_call_is_nearly_always_cold_and_a_prompt_one_never(
    cloud: ProviderProfile,
) -> None:
    assert cloud.cold_start.probability(None) >= 0.97
    assert cloud.cold_start.probability(0.5) == 0


@pytest.mark.parametrize(
    ("idle_minutes", "expected"),
    [(0, 0), (4, 0), (5.5, 0.205), (6, 0.41), (6.5, 0.705), (7, 1), (600, 1), (None, 1)],
)
def test_the_chance_of_a_cold_start_grows_with_the_idle_time(idle_minutes: float | None, expected: float) -> None:
    curve = ColdStart(probability_by_idle_minutes=((0, 0), (5, 0), (6, 0.41), (7, 1)), init_ms_by_quantile=((0.5, 1),))
    assert curve.probability(idle_minutes) == pytest.approx(expected)


@pytest.mark.parametrize(("x", "y"), [(-1, 10), (0, 10), (5, 15), (10, 20), (11, 20)])
def test_a_curve_is_straight_between_its_points_and_level_outside(x: float, y: float) -> None:
    assert profile.interpolate(((0, 10), (10, 20)), x) == y


def test_the_median_distance_is_the_published_round_trip() -> None:
    distances = [drawn(NEVER, 0, seed=seed).distance_ms for seed in range(2000)]
    assert statistics.median(distances) == pytest.approx(80, rel=0.02)
    assert statistics.stdev(math.log(d) for d in distances) == pytest.approx(0.1, rel=0.1)


def test_without_spread_every_call_takes_the_median() -> None:
    assert drawn(NEVER, 0, sigma=0) == Delay(distance_ms=80, cold_ms=0)


def test_cold_times_follow_the_quantiles() -> None:
    colds = [drawn(ALWAYS, 0, seed=seed).cold_ms for seed in range(2000)]
    assert (min(colds) >= 100, max(colds) <= 300) == (True, True)
    assert statistics.median(colds) == pytest.approx(200, rel=0.05)
