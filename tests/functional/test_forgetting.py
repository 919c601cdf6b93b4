"""What nobody asks for is let go of, what is asked for stays."""

from datetime import timedelta

from fiso.services.freshness.ttl_cache import TtlCache
from tests.builders import NOW

SPAN = timedelta(minutes=5)


def test_what_is_asked_for_stays_and_the_rest_is_gone_after_two_spans() -> None:
    held: TtlCache[str, int] = TtlCache(span=SPAN, most=100)
    assert held.get("used", NOW) is None
    held.put("used", 1, NOW)
    held.put("unused", 2, NOW)
    for number in range(1, 20):
        assert held.get("used", NOW + number * SPAN / 2) == 1
    assert len(held) == 1
    assert held.get("unused", NOW + 10 * SPAN) is None


def test_it_holds_no_more_than_twice_its_most() -> None:
    held: TtlCache[int, int] = TtlCache(span=SPAN, most=10)
    for number in range(1_000):
        assert held.get(number, NOW) is None
        held.put(number, number, NOW)
        assert len(held) <= 20
    assert held.get(999, NOW) == 999
    assert held.get(0, NOW) is None


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    held: TtlCache[str, int] = TtlCache(span=SPAN, most=100)
    held.get("a", NOW)
    held.put("a", 1, NOW)
    for number in range(1, 4):
        held.get("other", NOW - number * SPAN)
    assert len(held) == 0
