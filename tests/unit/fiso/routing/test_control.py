from datetime import UTC, datetime, timedelta

from fiso.routing.constraints import is_control

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
