import pytest

from fiso.prediction.facts import SAME_PLACE_MS, round_trip_ms
from fiso.prediction.features import PLACES


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
