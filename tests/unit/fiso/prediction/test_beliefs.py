from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Plan, Provider
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction.beliefs import Belief, beliefs
from tests.builders import NOW, a_state, an_endpoint, three_endpoints

SMALL = an_endpoint(Provider.AWS, id=EndpointId("small"), memory_mb=256)
LARGE = an_endpoint(Provider.AWS, id=EndpointId("large"), memory_mb=1769)
OTHER = an_endpoint(Provider.AWS, id=EndpointId("other"), memory_mb=1769)


def level(latency_ms: float, warm: int = 100, **changes: object) -> LoadLevel:
    fields: dict[str, object] = {
        "answers": warm,
        "warm": warm,
        "latency_ms": latency_ms,
        "latency_square": latency_ms**2 * 1.01,
        "recent_ms": latency_ms,
        "last_at": NOW,
    }
    return LoadLevel(**(fields | changes))  # type: ignore[arg-type]


def state(endpoint: Endpoint, levels: Mapping[int, LoadLevel], **changes: object) -> EndpointState:
    return a_state(endpoint.id, levels=levels, last_called_at=NOW, **changes)


def believed(
    *endpoints: Endpoint,
    states: tuple[EndpointState, ...] = (),
    load: float = 1.0,
    now: datetime = NOW,
    router_region: str | None = None,
    prices: tariff.Tariff | None = None,
) -> list[Belief]:
    known = {item.endpoint: item for item in states}
    loads = [load] * len(endpoints)
    return beliefs(
        endpoints, known, loads=loads, tariff=prices or tariff.current(), now=now, router_region=router_region
    )


def test_a_level_seen_a_hundred_times_is_believed() -> None:
    (belief,) = believed(LARGE, states=(state(LARGE, {0: level(80.0)}),))
    assert belief.warm_ms == pytest.approx(80.0, rel=0.01)
    assert belief.answers == 100
    assert belief.warm_variance < 0.001


@pytest.mark.parametrize("region", ["us-east-1", "af-south-1", "of-another-cloud"])
def test_what_was_seen_often_is_believed_as_surely_wherever_it_is(region: str) -> None:
    here = replace(LARGE, region=region)
    belief, sibling = believed(here, replace(OTHER, region=region), states=(state(here, {0: level(120.0)}),))
    assert belief.warm_variance < 0.001
    assert sibling.warm_variance < 0.3, "and says as much of a sibling there"


def test_a_copy_never_called_is_expected_like_its_siblings_by_their_processors() -> None:
    small, large, other = believed(SMALL, LARGE, OTHER, states=(state(LARGE, {0: level(80.0)}),))
    assert other.warm_ms == pytest.approx(80.0, rel=0.1)
    assert 1.5 < small.warm_ms / large.warm_ms < 1769 / 256
    assert small.warm_variance > other.warm_variance > large.warm_variance
    assert (small.is_new, other.is_new, large.is_new) == (True, True, False)


def test_two_sizes_that_are_equally_fast_say_that_the_processor_does_not_matter() -> None:
    middle = an_endpoint(Provider.AWS, id=EndpointId("middle"), memory_mb=512)
    alone, *_ = believed(SMALL, LARGE, states=(state(LARGE, {0: level(80.0)}),))
    told, *_ = believed(SMALL, LARGE, middle, states=(state(LARGE, {0: level(80.0)}), state(middle, {0: level(80.0)})))
    assert told.warm_ms < 0.75 * alone.warm_ms


def test_a_load_never_seen_is_expected_by_what_is_published_of_the_cloud() -> None:
    aws, azure, _ = three_endpoints()
    azure = replace(azure, plan=Plan.CONSUMPTION)
    states = (state(aws, {0: level(100.0)}), state(azure, {0: level(100.0, cost_usd=1e-6)}))
    quiet = believed(aws, azure, states=states)
    busy = believed(aws, azure, states=states, load=40)
    assert busy[0].warm_ms / quiet[0].warm_ms == pytest.approx(1, abs=0.2)
    assert busy[1].warm_ms / quiet[1].warm_ms > 1.5
    assert busy[1].warm_variance > busy[0].warm_variance  # no one knows whether it is true
    assert busy[1].warm_usd == pytest.approx(quiet[1].warm_usd, rel=0.1)  # waiting is not billed


def test_a_bill_seen_corrects_the_tariff() -> None:
    half_priced = 0.5 * (tariff.current().cost_usd(LARGE, 80.0) or 0)
    plain, *_ = believed(LARGE, OTHER, states=(state(LARGE, {0: level(80.0)}),))
    billed, sibling = believed(
        LARGE, OTHER, states=(state(LARGE, {0: level(80.0, cost_usd=half_priced, billed_ms=40.0)}),)
    )
    assert plain.warm_usd == pytest.approx(2 * half_priced, rel=0.05)
    assert billed.warm_usd == pytest.approx(half_priced, rel=0.1)
    assert sibling.warm_usd is not None
    assert sibling.warm_usd < 0.8 * 2 * half_priced


def test_an_endpoint_without_a_price_has_no_bill() -> None:
    prices = tariff.current()
    unpriced = replace(prices, lists={Provider.AWS: replace(prices.lists[Provider.AWS], meters={})})
    states = (state(LARGE, {0: level(80.0, cost_usd=1e-6)}),)
    (belief,) = believed(LARGE, states=states, prices=unpriced)
    assert (belief.warm_usd, belief.start_usd) == (None, None)


def test_a_start_seen_on_one_copy_is_expected_of_all() -> None:
    cold = state(LARGE, {0: level(100.0)}, cold_starts=10, cold_known=10, cold_latency_ms=9_100.0)
    before = believed(LARGE, OTHER, states=(state(LARGE, {0: level(100.0)}),))
    after = believed(LARGE, OTHER, states=(cold,))
    assert before[0].start_ms == pytest.approx(650, rel=0.01)
    assert after[0].start_ms == pytest.approx(9_000, rel=0.15)
    assert after[1].start_ms > 4_000


def test_a_burst_that_starts_instances_does_so_on_every_copy() -> None:
    often = state(LARGE, {3: level(100.0, cold_share=0.4)})
    busy = believed(LARGE, OTHER, states=(often,), load=10)
    quiet = believed(LARGE, OTHER, states=(often,), load=1)
    assert busy[0].busy_cold > 0.3
    assert busy[1].busy_cold > 0.3
    assert quiet[0].busy_cold == quiet[1].busy_cold == 0.0


def test_what_was_seen_long_ago_is_believed_less_surely_and_after_a_sudden_change_soon() -> None:
    slow = level(4_000.0, warm=12)
    broken_down = replace(slow, changed_at=NOW - timedelta(seconds=5))
    later = NOW + timedelta(minutes=20)
    steady = state(LARGE, {0: level(100.0)})
    kept = believed(LARGE, OTHER, states=(steady, state(OTHER, {0: slow})), now=later)
    doubted = believed(LARGE, OTHER, states=(steady, state(OTHER, {0: broken_down})), now=later)
    assert kept[1].warm_ms == doubted[1].warm_ms > 3_000
    assert kept[1].warm_variance < 0.02
    assert doubted[1].warm_variance > 0.9


def test_a_copy_that_turned_slow_says_nothing_of_one_that_was_not_called_since() -> None:
    before = believed(LARGE, OTHER, states=(state(LARGE, {0: level(100.0)}), state(OTHER, {0: level(120.0)})))
    after = believed(
        LARGE,
        OTHER,
        states=(state(LARGE, {0: level(300.0)}), state(OTHER, {0: level(120.0)})),
        now=NOW + timedelta(hours=1),
    )
    assert after[1].warm_ms == pytest.approx(before[1].warm_ms, rel=0.02)


def test_only_what_is_billed_can_depend_on_a_processor() -> None:
    # 3 of 150 ms are billed: a fourteenth of a processor can make that 42 more at the very most
    waiting = state(LARGE, {0: level(150.0, billed_ms=3.0)})
    processing = state(LARGE, {0: level(150.0, billed_ms=150.0)})
    assert believed(SMALL, LARGE, states=(waiting,))[0].warm_ms < 170
    assert believed(SMALL, LARGE, states=(processing,))[0].warm_ms > 250


def test_a_smaller_size_that_is_faster_is_believed() -> None:
    middle = an_endpoint(Provider.AWS, id=EndpointId("middle"), memory_mb=512)
    smaller = an_endpoint(Provider.AWS, id=EndpointId("smaller"), memory_mb=128)
    states = (state(LARGE, {0: level(300.0)}), state(middle, {0: level(90.0)}), state(SMALL, {0: level(50.0)}))
    *_, told = believed(LARGE, middle, SMALL, smaller, states=states)
    assert told.warm_ms < 90


def test_a_copy_that_has_only_started_so_far_is_no_new_one() -> None:
    cold = state(LARGE, {0: LoadLevel(answers=9, cold_share=1.0)}, cold_starts=9, cold_known=9, cold_latency_ms=700.0)
    belief, other = believed(LARGE, OTHER, states=(cold,))
    assert (belief.is_new, belief.answers, other.is_new) == (False, 9.0, True)
    assert belief.warm_ms + belief.start_ms == pytest.approx(700, rel=0.35)


def test_a_far_copy_that_has_only_started_so_far_is_believed_too() -> None:
    far = an_endpoint(Provider.AWS, id=EndpointId("far"), memory_mb=1769, region="eu-west-1")
    cold = state(far, {0: LoadLevel(answers=1, cold_share=1.0)}, cold_starts=1, cold_known=1, cold_latency_ms=300.0)
    (belief,) = believed(far, states=(cold,), router_region="us-east-1")
    assert 79 < belief.warm_ms < 300


def test_a_copy_that_was_hardly_called_at_another_load_is_a_new_one_at_this() -> None:
    once, often = state(LARGE, {0: level(18_000.0, warm=1)}), state(OTHER, {0: level(80.0, warm=3)})
    busy = believed(LARGE, OTHER, states=(once, often), load=50)
    quiet = believed(LARGE, OTHER, states=(once, often))
    assert [belief.is_new for belief in busy] == [True, False]
    assert [belief.is_new for belief in quiet] == [False, False]


def test_tries_and_what_they_lost_are_told_of_the_load_asked_for() -> None:
    (belief,) = believed(LARGE, states=(state(LARGE, {0: level(80.0, tries=3, tried_loss=0.7)}),))
    assert (belief.tries, belief.tried_loss) == (3, 0.7)


def test_the_way_to_a_far_copy_is_not_held_against_a_near_one() -> None:
    far = an_endpoint(Provider.AWS, id=EndpointId("far"), memory_mb=1769, region="eu-west-1")
    states = (state(far, {0: level(89.0)}),)
    blind = believed(far, LARGE, states=states)
    told = believed(far, LARGE, states=states, router_region="us-east-1")
    assert blind[1].warm_ms == pytest.approx(89, rel=0.1)
    assert told[0].warm_ms == pytest.approx(89, rel=0.05)
    assert told[1].warm_ms < 30  # the 10 ms beyond a way of 79, up to a fifth of the whole, and the 5 within a place
    assert told[1].warm_usd is not None
    assert blind[1].warm_usd is not None
    assert told[1].warm_usd < blind[1].warm_usd


STEPPED = replace(an_endpoint(Provider.GCP, id=EndpointId("stepped"), memory_mb=2048), plan=Plan.FIRST_GENERATION)
ALSO_STEPPED = replace(STEPPED, id=EndpointId("also"), region="europe-west1")


@pytest.mark.parametrize("seen", [(STEPPED,), (STEPPED, ALSO_STEPPED)])
def test_a_bill_at_the_smallest_unit_says_no_more_than_at_most(seen: tuple[Endpoint, ...]) -> None:
    at_unit = tuple(state(copy, {0: level(1_000.0, billed_ms=100.0, cost_usd=1e-5)}) for copy in seen)
    exact = tuple(state(copy, {0: level(1_000.0, billed_ms=170.0, cost_usd=1e-5)}) for copy in seen)
    (*_, told), (*_, sure) = believed(*seen, LARGE, states=at_unit), believed(*seen, LARGE, states=exact)
    as_a_whole_unit = tariff.current().cost_usd(LARGE, 100.0) or 0
    assert told.warm_usd is not None
    assert told.warm_usd < 0.5 * as_a_whole_unit, "anything below it is as likely"
    assert told.usd_variance > 1.8, "several bills at the unit are no surer than one"
    assert sure.usd_variance < 1.0
    assert sure.warm_usd is not None
    assert sure.warm_usd > as_a_whole_unit


def test_a_bill_by_the_millisecond_decides_what_bills_at_the_smallest_unit_leave_open() -> None:
    stepped = state(STEPPED, {0: level(1_000.0, billed_ms=100.0)})
    by_ms = state(LARGE, {0: level(1_000.0, billed_ms=80.0)})
    _, _, other = believed(STEPPED, LARGE, OTHER, states=(stepped, by_ms))
    assert other.warm_usd == pytest.approx(tariff.current().cost_usd(OTHER, 80.0), rel=0.2)


def test_what_a_function_says_itself_of_less_than_a_unit_is_believed() -> None:
    (*_, told) = believed(STEPPED, LARGE, states=(state(STEPPED, {0: level(1_000.0, billed_ms=60.0)}),))
    assert told.warm_usd == pytest.approx(tariff.current().cost_usd(LARGE, 60.0), rel=0.2)
