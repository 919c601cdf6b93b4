"""One hot function's fold over shards on a virtual clock, in small: the bench has it at 3,000 records a second."""

import pytest

from tests.lab.bench.fold import LONGEST_LAG_S, Load, run
from tests.lab.bench.virtual import VirtualTime


def test_shards_that_meet_fold_each_record_once_in_the_order_of_their_commits_and_in_time() -> None:
    folded = run(Load(rate_per_s=200, shards=16, seconds=6))
    assert len({record.invocation_id for record in folded.committed}) == len(folded.committed) == 1_200
    assert folded.differing == 0
    assert folded.conflicts > 0
    assert folded.redelivered == 0
    assert folded.lag_s(1.0) < LONGEST_LAG_S


def test_virtual_time_wakes_sleepers_in_their_order_and_takes_none_of_ours() -> None:
    time, woken = VirtualTime(), list[tuple[str, float]]()

    def sleeper(name: str, seconds: float) -> None:
        for _ in range(2):
            time.sleep(seconds)
            woken.append((name, time.now_s))

    time.run([lambda: sleeper("slow", 3_000.0), lambda: sleeper("quick", 2_000.0)])
    assert woken == [("quick", 2_000.0), ("slow", 3_000.0), ("quick", 4_000.0), ("slow", 6_000.0)]


def test_what_is_raised_in_virtual_time_is_raised() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        VirtualTime().run([broken])
