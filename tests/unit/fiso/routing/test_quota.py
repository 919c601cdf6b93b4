from datetime import timedelta

import pytest

from fiso.routing import quota
from fiso.routing.quota import Quota, Seen, Share, Use
from tests.builders import NOW

TEN = Quota(per_s=10, burst=20)


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (-1, 1), (1, 0.5), (float("nan"), 1), (1, float("inf"))])
def test_a_quota_that_lets_nothing_or_everything_pass_is_refused(per_s: float, burst: float) -> None:
    with pytest.raises(ValueError, match="quota"):
        Quota(per_s=per_s, burst=burst)


def test_what_is_not_known_yet_lets_one_request_pass() -> None:
    share = quota.fresh(NOW)
    assert quota.wait_s(share, TEN, NOW) == 0
    assert quota.wait_s(quota.spend(share), TEN, NOW) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("balance", "spent", "part", "seconds", "expected"),
    [
        (20, 0, 1, 0, 0),
        (20, 0, 0.02, 0, 0),  # a full bucket is everybody's
        (20, 19, 1, 0, 0),
        (20, 20, 1, 0, 0.1),
        (-9, 0, 1, 0, 1.0),  # a debt of 9 and one more: 10 at 10 a second
        (-9, 0, 1, 1, 0),
        (-1e9, 0, 1, 0, quota.LONGEST_WAIT_S),
        # 2 tokens left of 20, of which a tenth was ours: .045 b^2 + .1 b = 1 at b = (sqrt(.19) - .1) / .09 = 3.7321099
        (2, 0, 0.1, 0, 0.17321099),
    ],
)
def test_how_long_to_wait(balance: float, spent: float, part: float, seconds: float, expected: float) -> None:
    share = Share(balance=balance, at=NOW, spent=spent, total=5, part=part)
    assert quota.wait_s(share, TEN, NOW + after(seconds)) == pytest.approx(expected)


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    share = Share(balance=5, at=NOW, total=5)
    assert quota.wait_s(share, TEN, NOW - after(60)) == 0
    assert quota.exchanged(share, TEN, Use(total=5), reported=0, now=NOW - after(60)).balance == 5


def test_the_first_of_all_finds_a_full_bucket() -> None:
    share = quota.exchanged(quota.spend(quota.fresh(NOW)), TEN, Use(total=1), reported=1, now=NOW)
    assert (share.balance, share.spent, share.total) == (19, 0, 1)


def test_a_newcomer_starts_from_what_others_saw_and_what_passed_since() -> None:
    use = Use(total=112, seen=Seen(balance=4, at=NOW, total=100))
    share = quota.exchanged(quota.spend(quota.fresh(NOW)), TEN, use, reported=1, now=NOW + after(1))
    assert share.balance == 4 + 10 - 12


def test_what_others_spent_is_taken_off_and_makes_the_part_small() -> None:
    share = Share(balance=10, at=NOW, spent=5, total=100)
    share = quota.exchanged(share, TEN, Use(total=140), reported=4, now=NOW + after(1))
    assert (share.balance, share.spent, share.total, share.part) == (10 + 10 - 40, 1, 140, 0.1)


def test_a_count_that_was_lost_leaves_what_is_known_here() -> None:
    share = Share(balance=10, at=NOW, spent=4, total=100, part=0.5)
    share = quota.exchanged(share, TEN, Use(total=4), reported=4, now=NOW)
    assert (share.balance, share.total, share.part) == (6, 4, 0.5)


def test_alone_an_environment_keeps_to_its_part() -> None:
    share = quota.alone(Share(balance=2, at=NOW, spent=1, total=9, part=0.5), TEN, NOW + after(1))
    assert (share.balance, share.spent) == (2 + 5 - 1, 0)


def test_even_a_quota_of_one_a_minute_lets_its_requests_pass() -> None:
    rare = Quota(per_s=1 / 60, burst=1)
    assert quota.wait_s(Share(balance=1, at=NOW, total=1, part=quota.LEAST_PART), rare, NOW) == 0
