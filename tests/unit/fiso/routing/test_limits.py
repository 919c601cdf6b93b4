import pytest

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode
from fiso.routing.constraints import Limited, limited
from tests.builders import a_policy, a_prediction, a_spread

QUICK_DEAR = a_prediction("aws", spread=a_spread(200.0), cost_usd=9e-6)
SLOW_CHEAP = a_prediction("gcp", spread=a_spread(900.0), cost_usd=1e-6)
UNPRICED = a_prediction("azure", spread=a_spread(300.0), cost_usd=None)
ALL = [QUICK_DEAR, SLOW_CHEAP, UNPRICED]


def kept(found: Limited) -> list[str]:
    return [prediction.endpoint for prediction in found.kept]


def test_who_is_predicted_beyond_a_limit_is_excluded_in_words() -> None:
    found = limited(ALL, a_policy(max_p95_ms=500.0))
    assert kept(found) == ["aws", "azure"]
    (exclusion,) = found.exclusions
    assert (exclusion.endpoint, exclusion.code) == ("gcp", "max_p95_ms")
    assert exclusion.detail == "predicted p95 900 ms, beyond max_p95_ms 500"


def test_an_endpoint_without_a_price_keeps_no_cost_limit() -> None:
    found = limited(ALL, a_policy(max_cost_usd=5e-6))
    assert kept(found) == ["gcp"]
    assert [e.detail for e in found.exclusions] == [
        "predicted 9e-06 USD, beyond max_cost_usd 5e-06",
        "predicted without a price, beyond max_cost_usd 5e-06",
    ]


def test_a_limit_that_nobody_keeps_is_left_out_and_noted() -> None:
    found = limited(ALL, a_policy(max_p95_ms=100.0))
    assert (found.kept, found.exclusions) == (tuple(ALL), ())
    assert [note.code for note in found.notes] == ["max_p95_ms_left_out"]
    assert "max_p95_ms 100" in found.notes[0].detail


def test_where_not_both_can_be_kept_time_goes_before_money() -> None:
    found = limited([QUICK_DEAR, SLOW_CHEAP], a_policy(max_p95_ms=500.0, max_cost_usd=5e-6))
    assert kept(found) == ["aws"]
    assert [note.code for note in found.notes] == ["max_cost_usd_left_out"]


def test_a_limit_kept_only_behind_open_breakers_is_left_out() -> None:
    deprioritised = {EndpointId("aws"), EndpointId("azure")}
    found = limited(ALL, a_policy(max_p95_ms=500.0), deprioritised=deprioritised)
    assert kept(found) == ["aws", "gcp", "azure"]
    assert [note.code for note in found.notes] == ["max_p95_ms_left_out"]


def test_an_unknown_p95_counts_as_the_expected_latency() -> None:
    unknown = a_prediction("aws", latency_ms=600.0, spread=None)
    assert kept(limited([unknown, UNPRICED], a_policy(max_p95_ms=500.0))) == ["azure"]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PIN])
def test_modes_that_name_the_endpoint_know_no_limit(mode: Mode) -> None:
    policy = a_policy(mode=mode, home=EndpointId("gcp"), pinned=EndpointId("gcp"), max_p95_ms=500.0)
    assert limited(ALL, policy) == Limited(kept=tuple(ALL))
