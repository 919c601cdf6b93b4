from dataclasses import replace

import pytest

from fiso.domain.endpoint import Plan, Provider
from fiso.prediction.facts import SAME_PLACE_MS, cpu_share, round_trip_ms, slowdown, smallness
from fiso.prediction.features import PLACES
from tests.builders import an_endpoint


@pytest.mark.parametrize(
    ("provider", "memory_mb", "share"),
    [
        (Provider.AWS, 1769, 1.0),
        (Provider.AWS, 3008, 1.0),
        (Provider.AWS, 128, 128 / 1769),
        (Provider.GCP, 512, 0.333),
        (Provider.GCP, 8192, 1.0),
        (Provider.AZURE, 512, 1.0),
    ],
)
def test_the_share_of_a_processor_is_the_published_one(provider: Provider, memory_mb: int, share: float) -> None:
    assert cpu_share(an_endpoint(provider, memory_mb=memory_mb)) == pytest.approx(share)


def test_a_copy_with_a_whole_processor_is_not_small() -> None:
    assert smallness(an_endpoint(Provider.AWS, memory_mb=2048)) == 0.0
    assert smallness(an_endpoint(Provider.AWS, memory_mb=128)) == pytest.approx(2.626, abs=1e-3)


def test_load_slows_only_the_plan_that_adds_an_instance_a_second() -> None:
    azure = an_endpoint(Provider.AZURE)
    legacy = replace(azure, plan=Plan.CONSUMPTION)
    assert slowdown(legacy, 40) == pytest.approx(8.0)
    assert slowdown(legacy, 1) == slowdown(legacy, 0) == 1.0
    for other in (azure, an_endpoint(Provider.AWS), an_endpoint(Provider.GCP)):
        assert slowdown(other, 1_000) == 1.0


def test_known_ways() -> None:
    assert round_trip_ms("us-east-1", "westeurope") == 92
    assert round_trip_ms("westeurope", "us-east-1") == 92
    assert round_trip_ms("us-east-1", "us-east4") == SAME_PLACE_MS


@pytest.mark.parametrize(("router", "region"), [(None, "us-east-1"), ("us-east-1", "mars-1"), ("mars-1", "us-east-1")])
def test_an_unknown_way_takes_nothing_off(router: str | None, region: str) -> None:
    assert round_trip_ms(router, region) == 0.0


def test_every_pair_of_places_has_a_way() -> None:
    regions = [regions[0] for regions in PLACES]
    for one in regions:
        for other in regions:
            assert round_trip_ms(one, other) == round_trip_ms(other, one)
            assert (round_trip_ms(one, other) > 10) == (one != other)
