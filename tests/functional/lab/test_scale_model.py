"""The scale model and the keeper's, by their published limits: what holds, and what is said to break first."""

from datetime import timedelta

import pytest

from fiso_cli.cost import measured
from tests.lab.bench.keeper import LONGEST_ROUND_S, rounds_s
from tests.lab.bench.scale import PARTS, first


@pytest.mark.parametrize("rate_per_s", [1, 10, 100])
def test_everything_holds_by_default_up_to_a_hundred_requests_a_second(rate_per_s: float) -> None:
    work = measured.work()
    assert [part.name for part in PARTS if part.share(rate_per_s, work) > 1] == []


def test_at_a_thousand_the_accounts_concurrency_breaks_first_and_no_store_does() -> None:
    work = measured.work()
    assert first(1_000, work)[0].name.startswith("Lambda, at once")
    beyond = {part.name for part in PARTS if part.share(1_000, work) > 1}
    assert not any("table" in name or "index" in name or "states" in name or "keeper" in name for name in beyond)


def test_a_keepers_round_is_short_enough_whatever_is_spilled_and_all_of_it_gets_into_the_log() -> None:
    assert max(rounds_s(5_000)) <= 1
    took = rounds_s(100, spilled_for=timedelta(seconds=30), each_s=0.02)  # 60 s of writing
    assert max(took) <= LONGEST_ROUND_S
    assert len(took) > 2
