from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Mode
from fiso.routing.constraints import Limited, Tiered, eligible, is_control, limited, tiered
from tests.builders import a_policy, a_prediction, a_spread, an_entry


@pytest.mark.parametrize(
    ("policy", "candidates", "codes"),
    [
        ({}, ["aws", "azure", "gcp"], []),
        ({"denied_providers": frozenset({Provider.AWS})}, ["azure", "gcp"], ["provider_denied"]),
        ({"allowed_providers": frozenset({Provider.GCP})}, ["gcp"], ["provider_not_allowed"] * 2),
        ({"denied_regions": frozenset({"eastus"})}, ["aws", "gcp"], ["region_denied"]),
        ({"allowed_regions": frozenset({"eastus"})}, ["azure"], ["region_not_allowed"] * 2),
        ({"residency": frozenset({"europe-west1"})}, [], ["residency"] * 3),
        ({"mode": Mode.PIN, "pinned": EndpointId("azure")}, ["azure"], ["not_pinned"] * 2),
    ],
)
def test_each_rule_leaves_out_what_it_names(policy: dict[str, Any], candidates: list[str], codes: list[str]) -> None:
    found = eligible(an_entry(**policy))
    assert [endpoint.id for endpoint in found.candidates] == candidates
    assert [exclusion.code for exclusion in found.exclusions] == codes


def test_a_pin_does_not_overrule_a_denial() -> None:
    found = eligible(an_entry(mode=Mode.PIN, pinned=EndpointId("aws"), denied_providers=frozenset({Provider.AWS})))
    assert found.candidates == ()
    assert {e.endpoint: e.code for e in found.exclusions}[EndpointId("aws")] == "provider_denied"


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


A, B, C = (EndpointId(name) for name in "abc")
SCORES = [Score(endpoint=endpoint, value=value, terms={}) for endpoint, value in ((C, 0.9), (B, 0.8), (A, 0.5))]
TIERS = (frozenset({A}), frozenset({B}))


@pytest.mark.parametrize(
    ("deprioritised", "first", "behind"),
    [
        (set(), "a", "bc"),
        ({A}, "b", "ca"),
        ({A, B}, "c", "ab"),
        ({A, B, C}, "a", "bc"),
    ],
)
def test_a_later_tier_stands_behind_and_the_deprioritised_last_by_tier(
    deprioritised: set[EndpointId], first: str, behind: str
) -> None:
    found = tiered(SCORES, TIERS, deprioritised=deprioritised)
    assert ("".join(s.endpoint for s in found.first), "".join(s.endpoint for s in found.behind)) == (first, behind)


def test_no_scores_give_nobody() -> None:
    assert tiered([], TIERS) == Tiered(first=(), behind=())


DAY = datetime(2026, 11, 23, tzinfo=UTC)


def test_the_same_blocks_are_drawn_in_every_environment() -> None:
    """Written down from a run: if they change, environments of two versions disagree while one replaces the other."""
    hours = [hour for hour in range(48) if is_control("bfs", DAY + timedelta(hours=hour), share=0.2, block_s=3600)]
    assert hours == [6, 9, 10, 13, 15, 16, 21, 28, 34, 35, 40, 43, 46]


def test_functions_are_drawn_independently() -> None:
    moments = [DAY + timedelta(hours=hour) for hour in range(1000)]
    both = sum(
        is_control("bfs", at, share=0.5, block_s=3600) and is_control("text", at, share=0.5, block_s=3600)
        for at in moments
    )
    assert 180 <= both <= 320  # 250 expected, five standard deviations of 13.7


def test_without_a_share_there_is_no_control() -> None:
    assert not any(is_control("bfs", DAY + timedelta(hours=n), share=0.0, block_s=60) for n in range(1000))
