from datetime import timedelta
from math import inf, isfinite

from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction.beliefs import beliefs
from tests.builders import NOW, a_state, an_endpoint

COPIES = [
    an_endpoint(Provider.AWS, id=EndpointId("near"), region="us-east-1", memory_mb=128),
    an_endpoint(Provider.AWS, id=EndpointId("far"), region="ap-southeast-1", memory_mb=4096),
    an_endpoint(Provider.AZURE, id=EndpointId("azure"), region="westeurope"),
    an_endpoint(Provider.GCP, id=EndpointId("gcp"), region="nowhere-1"),
]
ms = st.floats(1e-3, 9e5)


@st.composite
def a_level(draw: st.DrawFn) -> LoadLevel:
    warm, mean_ms = draw(st.integers(0, 10**6)), draw(ms)
    return LoadLevel(
        answers=draw(st.integers(warm, 2 * 10**6)),
        tries=draw(st.integers(0, 100)),
        tried_loss=draw(st.floats(0, 1e4)),
        cold_share=draw(st.floats(0, 1)),
        warm=warm,
        latency_ms=mean_ms if warm else 0.0,
        latency_square=mean_ms**2 * draw(st.floats(0, 10)) if warm else 0.0,
        recent_ms=mean_ms if warm else 0.0,
        billed_ms=draw(st.none() | st.floats(0, 9e5)),
        cost_usd=draw(st.none() | st.floats(0, 1)),
        last_at=NOW,
        changed_at=draw(st.none() | st.just(NOW)),
    )


@st.composite
def some_states(draw: st.DrawFn) -> dict[EndpointId, EndpointState]:
    seen = draw(st.lists(st.sampled_from(COPIES), unique_by=lambda copy: copy.id))
    return {
        copy.id: a_state(
            copy.id,
            levels=draw(st.dictionaries(st.integers(0, 12), a_level(), max_size=4)),
            cold_starts=1,
            cold_latency_ms=draw(st.none() | ms),
            cold_cost_usd=draw(st.none() | st.floats(0, 1)),
            last_called_at=NOW,
        )
        for copy in seen
    }


@given(some_states(), st.floats(0, 1e4), st.floats(0, 1e6), st.sampled_from([None, "us-east-1", "eu-west-1"]))
def test_whatever_the_states_say_something_finite_is_expected_of_every_copy(
    states: dict[EndpointId, EndpointState], load: float, later_s: float, router_region: str | None
) -> None:
    found = beliefs(
        COPIES,
        states,
        loads=[load] * len(COPIES),
        tariff=tariff.current(),
        now=NOW + timedelta(seconds=later_s),
        router_region=router_region,
    )
    for belief in found:
        assert 0 < belief.warm_ms < inf
        assert 0 <= belief.warm_variance < 1e3
        assert 0 < belief.start_ms < inf
        assert belief.warm_usd is None or isfinite(belief.warm_usd)
        assert belief.start_usd is None or isfinite(belief.start_usd)
