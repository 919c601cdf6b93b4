"""The engine over a cloud in memory: killed anywhere it goes on, what is not ours stays, one run at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from fiso_cli.clouds.lock import Conflict, Held, Holder, held
from fiso_cli.clouds.plan import (
    ABSENT,
    AS_WANTED,
    Look,
    Step,
    StepFailed,
    apply,
    different,
    going,
    is_finished,
    look_at,
    not_ours,
    refuse_foreign,
    remove,
    told,
    words_of,
)
from fiso_cli.errors import CommandError

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Killed(BaseException):
    """SIGKILL, as far as the engine can see."""


@dataclass
class Cloud:
    """Things with an owner and a form; `dies_at` counts the calls."""

    things: dict[str, tuple[str, str]] = field(default_factory=dict)
    dies_at: int = 10**9
    calls: int = 0
    shows_after: int = 0

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed

    def look(self, name: str) -> Look:
        self._called()
        if name not in self.things:
            return ABSENT
        owner, form = self.things[name]
        if owner != "prod":
            return not_ours(f"belongs to {owner}")
        if self.shows_after > 0:
            self.shows_after -= 1
            return different("not there yet")
        return AS_WANTED if form == "whole" else different("is half made")

    def make(self, name: str) -> None:
        self._called()
        self.things[name] = ("prod", "half")
        self._called()
        self.things[name] = ("prod", "whole")
        self._called()

    def undo(self, name: str) -> None:
        self._called()
        self.things.pop(name, None)
        self._called()

    def steps(self, names: str = "abcde") -> list[Step]:
        def step(name: str) -> Step:
            return Step(
                name=name,
                makes=f"the thing {name}",
                look=lambda: self.look(name),
                make=lambda say: self.make(name),
                undo=lambda say: self.undo(name),
            )

        return [step(name) for name in names]


def run(cloud: Cloud, act: Callable[[Cloud], object]) -> None:
    """Again and again, each time killed one call later, until it gets through."""
    for dies_at in range(1, 100):
        cloud.calls, cloud.dies_at = 0, dies_at
        try:
            act(cloud)
            cloud.dies_at = 10**9
            return
        except Killed:
            continue
    raise AssertionError("never got through")


def applied(cloud: Cloud) -> object:
    return apply(cloud.steps(), lambda _: None, sleep=lambda _: None)


def removed(cloud: Cloud) -> object:
    return remove(cloud.steps(), lambda _: None)


@pytest.mark.parametrize("dies_at", range(1, 26))
def test_killed_at_any_call_and_run_again_it_comes_to_the_same_end(dies_at: int) -> None:
    cloud = Cloud(dies_at=dies_at)
    with pytest.raises(Killed):
        applied(cloud)
    applied(cloud)
    assert cloud.things == dict.fromkeys("abcde", ("prod", "whole"))
    cloud.calls, cloud.dies_at = 0, dies_at % 15 + 1
    with pytest.raises(Killed):
        removed(cloud)
    removed(cloud)
    assert cloud.things == {}


def test_killed_again_and_again_it_still_gets_there() -> None:
    cloud = Cloud()
    run(cloud, applied)
    assert is_finished(look_at(cloud.steps()))
    run(cloud, removed)
    assert cloud.things == {}


def test_a_second_run_makes_nothing_and_a_change_by_hand_is_mended() -> None:
    cloud = Cloud()
    applied(cloud)
    cloud.things["c"] = ("prod", "half")
    planned = look_at(cloud.steps())
    assert [each.does for each in planned] == ["keep", "keep", "change", "keep", "keep"]
    done = apply(cloud.steps(), lambda _: None, sleep=lambda _: None)
    assert (done.made, done.changed, done.kept) == ([], ["c"], ["a", "b", "d", "e"])


def test_what_is_not_ours_stops_a_plan_and_survives_removal() -> None:
    cloud = Cloud(things={"b": ("test", "whole"), "d": ("nobody", "whole")})
    with pytest.raises(CommandError, match="b: belongs to test\nd: belongs to nobody\nnot made by this stage"):
        refuse_foreign(look_at(cloud.steps()))
    with pytest.raises(StepFailed, match="belongs to test"):
        applied(cloud)
    done = remove(cloud.steps(), lambda _: None)
    assert (done.removed, done.left) == (["a"], ["d", "b"])
    assert set(cloud.things) == {"b", "d"}


def test_a_cloud_that_shows_late_what_it_accepted_is_waited_for_and_not_forever() -> None:
    waited: list[float] = []
    apply(Cloud(shows_after=3).steps("a"), lambda _: None, sleep=waited.append)
    assert waited == [0.25, 0.5, 1.0]
    with pytest.raises(StepFailed, match="a: made, but 2 s later still not there yet"):
        apply(Cloud(shows_after=999).steps("a"), lambda _: None, settle_s=2, sleep=waited.append)


def test_a_failure_names_the_step_how_far_it_came_and_the_way_on() -> None:
    def broken(say: object) -> None:
        raise CommandError("403: needs Microsoft.Web/sites/write")

    steps = [*Cloud().steps("ab"), replace(Cloud().steps("c")[0], make=broken)]
    with pytest.raises(StepFailed, match=r"c: 403.*\(2 of 3 steps are done; the same command goes on from there\)"):
        apply(steps, lambda _: None, sleep=lambda _: None)


def test_what_is_told_has_the_plan_and_what_was_done() -> None:
    cloud = Cloud(things={"a": ("prod", "whole")})
    planned = look_at(cloud.steps("ab"))
    output = told("stage prod", planned, apply(cloud.steps("ab"), lambda _: None), stage="prod")
    assert isinstance(output.document, dict)
    assert output.document["done"]["made"] == ["b"]
    assert output.shown is not None
    assert output.shown[-1] == "1 made, 1 kept"


@dataclass
class Store:
    """A lock by versions, as a generation or an ETag has them."""

    now: Held | None = None
    count: int = 0

    def read(self) -> Held | None:
        return self.now

    def write(self, holder: Holder, over: str | None) -> str:
        if (self.now.version if self.now else None) != over:
            raise Conflict
        self.count += 1
        self.now = Held(holder, str(self.count))
        return str(self.count)

    def delete(self, version: str) -> None:
        if self.now is None or self.now.version != version:
            raise Conflict
        self.now = None


def asked_until_it_says_no(still: Callable[[], None]) -> None:
    while True:
        still()


THIS = Holder.this_run(NOW)


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [
        (THIS, False),
        (replace(THIS, until=NOW), True),
        (replace(THIS, began="1"), True),  # the process's id belongs to another one by now
        (replace(THIS, process=2**22 + 1), True),
        (replace(THIS, host="another", process=2**22 + 1), False),
        (replace(THIS, host="another", until=NOW - timedelta(seconds=1)), True),
        (None, False),
    ],
)
def test_a_lock_is_taken_over_from_whoever_is_gone_and_from_nobody_else(holder: Holder | None, is_free: bool) -> None:
    store = Store(now=Held(holder, "0"))
    if is_free:
        with held(store, now=lambda: NOW) as still:
            still()
            assert store.now is not None
            assert store.now.holder == THIS
        assert store.now is None
    else:
        with pytest.raises(CommandError, match="holds" if holder is None else "is at this stage, its lock holds until"):
            held(store, now=lambda: NOW).__enter__()
        assert store.now == Held(holder, "0")


def test_a_lock_is_renewed_meanwhile_and_a_lost_one_is_said() -> None:
    store = Store()
    with held(store, now=lambda: NOW, renew_s=0.001) as still:
        while store.count < 4:
            still()
        store.now = Held(replace(THIS, host="another"), "theirs")
        with pytest.raises(CommandError, match="took this stage's lock over"):
            asked_until_it_says_no(still)
    assert store.now.version == "theirs"


def test_a_removal_is_shown_as_it_will_be_and_says_what_it_left() -> None:
    cloud = Cloud(things={"a": ("prod", "whole"), "b": ("prod", "half"), "c": ("another", "whole"), "e": ("prod", "")})
    steps = [replace(step, undo=None) if step.name == "e" else step for step in cloud.steps()]
    gone = going(look_at(steps))
    does = [(each.step.name, each.does) for each in gone]
    assert does == [("e", "leave"), ("c", "leave"), ("b", "remove"), ("a", "remove")]
    done = remove(steps, lambda _: None)
    assert (done.removed, done.left) == (["b", "a"], ["e", "c"])
    counted, left = words_of(told("stage prod", gone, done))
    assert (counted, "e, c" in left) == ("2 removed, 2 left", True)


def test_a_holder_is_one_line_of_ascii_and_reads_back() -> None:
    odd = replace(THIS, who="Zoë van Dyk", host="höst")
    assert odd.written().isascii()
    assert Holder.read(THIS.written()) == THIS
    assert Holder.read("no holder") is None
    assert Holder.read("a b c d 2026-01-01") is None
