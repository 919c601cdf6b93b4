from concurrent.futures import Future

import pytest

from fiso_cli.worlds.virtual_time import Timeline


def test_events_happen_in_order_of_their_time_and_then_of_their_planning() -> None:
    timeline, seen = Timeline(), []
    for at_s, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.5, "b")):
        timeline.plan(at_s, lambda at_s=at_s, name=name: seen.append((timeline.now_s, at_s, name)))  # type: ignore[misc]
    timeline.run()
    assert seen == [(1.0, 1.0, "a"), (1.5, 1.5, "b"), (2.0, 2.0, "c"), (2.0, 2.0, "d")]


def test_an_error_in_a_strand_ends_the_run() -> None:
    timeline = Timeline()

    def fail() -> None:
        timeline.wait(1.0)
        raise LookupError("lost")

    timeline.plan(0.0, lambda: timeline.strand(fail))
    with pytest.raises(LookupError, match="lost"):
        timeline.run()


def test_only_a_strand_can_wait() -> None:
    with pytest.raises(RuntimeError, match="strand"):
        Timeline().wait(1.0)


def test_a_strand_waits_for_the_first_of_several_or_until_its_time_is_over() -> None:
    timeline, seen = Timeline(), []

    def ends(at_s: float) -> Future[None]:
        end: Future[None] = Future()
        timeline.plan(at_s, lambda: end.set_result(None))
        return end

    def waits() -> None:
        timeline.wait_for_any([ends(3.0), ends(2.0)], 10.0)
        seen.append(timeline.now_s)
        timeline.wait_for_any([ends(9.0)], 1.0)
        seen.append(timeline.now_s)

    timeline.strand(waits)
    timeline.run()
    assert seen == [2.0, 3.0]
