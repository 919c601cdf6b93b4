import pytest

from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.state import EndpointState
from fiso.routing import levels, starts


@pytest.mark.parametrize("provider", Provider)
def test_the_published_chance_never_falls_with_idle_time(provider: Provider) -> None:
    curve = [starts.cold_after_idle(provider, idle_s, None) for idle_s in (0, 200, 400, 900, 1500, 3000, 90_000)]
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == (0, 1)
    assert len(starts.COLD_AFTER_IDLE[provider]) == len(levels.IDLE_BINS) + 1


def test_an_endpoints_own_calls_outweigh_the_curve() -> None:
    kept_warm = EndpointState(
        function=FunctionName("f"),
        endpoint=EndpointId("aws"),
        idle_calls=(0, 0, 0, 27, 0, 0, 0),
        idle_colds=(0, 0, 0, 0, 0, 0, 0),
    )
    # 3 published cold starts among 30 calls
    assert starts.cold_after_idle(Provider.AWS, 900, kept_warm) == pytest.approx(0.1)
    assert starts.cold_after_idle(Provider.AWS, 5_000, kept_warm) == 1
