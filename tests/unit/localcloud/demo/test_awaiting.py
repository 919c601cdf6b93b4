from dataclasses import dataclass, field

from localcloud.demo.awaiting import Patience


@dataclass
class FakeTime:
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def patience(time: FakeTime, *, seconds: float) -> Patience:
    return Patience(seconds=seconds, every_s=2.0, clock=time.clock, sleep=time.sleep)


def test_what_is_enough_at_once_is_not_waited_for() -> None:
    time = FakeTime()
    assert patience(time, seconds=10).wait_for(lambda: 3, lambda seen: seen == 3) == 3
    assert time.slept == []


def test_a_wait_ends_when_it_is_enough_and_says_what_is_left() -> None:
    time, said = FakeTime(), list[float]()
    seen = patience(time, seconds=10).telling(said.append).wait_for(lambda: int(time.now), lambda now: now >= 4)
    assert (seen, time.slept, said) == (4, [2.0, 2.0], [10.0, 8.0])


def test_a_wait_ends_when_time_is_up_with_the_last_thing_seen() -> None:
    time = FakeTime()
    assert patience(time, seconds=5).wait_for(lambda: time.now, lambda _: False) == 5.0
    assert time.slept == [2.0, 2.0, 1.0]
