from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_client.core.stopwatch import JUMP_S, Stopwatch


@dataclass
class Machine:
    """Two clocks, moved by hand."""

    ticks_s: float = 1000.0
    wall_s: float = 1_800_000_000.0

    def clock(self) -> Stopwatch:
        return Stopwatch(ticks=lambda: self.ticks_s, wall=lambda: self.wall_s)

    def run(self, seconds: float) -> None:
        self.ticks_s += seconds
        self.wall_s += seconds


def started() -> tuple[Machine, Stopwatch, float]:
    machine = Machine()
    clock = machine.clock()
    return machine, clock, clock()


@pytest.mark.parametrize("frozen_s", [1, 60, 6 * 3600])
def test_the_time_of_a_freeze_is_counted(frozen_s: float) -> None:
    machine, clock, began = started()
    machine.run(2)
    machine.wall_s += frozen_s
    machine.run(3)
    assert clock() - began == pytest.approx(5 + frozen_s)


def test_many_short_freezes_add_up() -> None:
    machine, clock, began = started()
    for _ in range(100):
        machine.run(0.1)
        machine.wall_s += 0.3
        clock()
    assert clock() - began == pytest.approx(40, abs=JUMP_S)


def test_a_time_of_day_that_is_set_back_changes_nothing() -> None:
    machine, clock, began = started()
    machine.wall_s -= 3600
    machine.run(5)
    assert clock() - began == pytest.approx(5)


def test_two_clocks_that_drift_apart_slowly_do_not_race() -> None:
    machine, clock, began = started()
    for step in range(10_000):
        machine.run(0.01)
        machine.wall_s += 0.001 if step % 2 else -0.001
        clock()
    assert clock() - began == pytest.approx(100, abs=0.01)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e5, 1e5))))
def test_it_never_goes_back_and_never_lags_behind_the_monotonic_clock(moves: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    began, began_ticks = clock(), machine.ticks_s
    before = began
    for seconds, step in moves:
        machine.run(seconds)
        machine.wall_s += step
        now = clock()
        assert now >= before
        assert now - began >= machine.ticks_s - began_ticks - 1e-3
        before = now
