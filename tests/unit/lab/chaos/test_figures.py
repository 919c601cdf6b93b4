"""The limits that a sample supports, against numbers known from elsewhere."""

import pytest

from tests.lab.chaos.figures import (
    Figure,
    Op,
    count_of_none,
    quantile,
    quantile_at_most,
    share_at_least,
    share_at_most,
    share_reached,
)


def test_four_nines_need_29956_requests_without_a_failure() -> None:
    assert share_at_least(29_956, 29_956) >= 0.9999 > share_at_least(29_950, 29_950)


def test_no_event_in_300_excludes_one_percent() -> None:
    assert share_at_most(0, 299) == pytest.approx(0.01, abs=1e-4)


def test_a_p99_has_a_limit_from_299_values_on() -> None:
    assert quantile_at_most([1.0] * 298, 0.99) is None
    assert quantile_at_most([1.0] * 299, 0.99) == 1.0


def test_the_quantile_is_one_of_the_values() -> None:
    assert quantile([float(value) for value in range(1, 101)], 0.99) == 99


@pytest.mark.parametrize(
    ("op", "value", "is_met"),
    [
        (Op.AT_MOST, 5, True),
        (Op.AT_MOST, 6, False),
        (Op.AT_LEAST, 5, True),
        (Op.AT_LEAST, 4, False),
        (Op.EQUALS, 5, True),
        (Op.EQUALS, 4, False),
    ],
)
def test_a_figure_knows_whether_it_keeps_its_target(op: Op, value: float, is_met: bool) -> None:
    assert Figure(name="x", value=value, op=op, target=5, unit="", n=1).is_met is is_met


def test_an_event_that_must_not_happen_is_missed_by_one() -> None:
    assert count_of_none("lost", 0, 100, "records").is_met
    assert not count_of_none("lost", 1, 100, "records").is_met


def test_a_share_carries_the_limit_its_sample_proves() -> None:
    figure = share_reached("success", 1000, 1000, 0.9999)
    assert figure.is_met
    assert figure.bound == pytest.approx(0.997, abs=1e-3)
