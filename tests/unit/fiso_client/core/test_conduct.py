"""Conduct over generated histories: what a broken copy may cost, and that nobody is demoted for what callers do."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fiso_client.core import conduct
from fiso_client.core.conduct import UNSEEN, Conduct

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WELL = 100
"""Requests before anything breaks."""
EXPLORED = 0.05
Odd = Callable[[str, int, random.Random], bool]


class History:
    """Requests one after the other to the first copy that is no suspect, a few of them to any."""

    def __init__(self, copies: str, odd: Odd, *, seed: int) -> None:
        self.copies, self._odd, self._rng = tuple(copies), odd, random.Random(seed)
        self.known: dict[str, Conduct] = {}
        self.failures = 0
        self.demoted: set[str] = set()

    def run(self, count: int, every_s: float) -> "History":
        for number in range(count):
            now = BEGIN + timedelta(seconds=number * every_s)
            copy = self._chosen(now)
            is_odd = self._odd(copy, number, self._rng)
            self.failures += is_odd
            oddity = "status 500" if is_odd else None
            self.known |= conduct.after_answer(self.known, copy, self.copies, oddity=oddity, shape="json", now=now)
            self.demoted |= {id for id, found in self.known.items() if found.is_convicted}
        return self

    def _chosen(self, now: datetime) -> str:
        well = [copy for copy in self.copies if not self._is_held_back(copy, now)] or list(self.copies)
        return self._rng.choice(well) if self._rng.random() < EXPLORED else well[0]

    def _is_held_back(self, copy: str, now: datetime) -> bool:
        found = self.known.get(copy, UNSEEN)
        at = found.asked_again_at()
        return at is not None and (found.answers_missing > 0 or now < at)


def breaking(which: str, share: float = 1.0) -> Odd:
    return lambda copy, number, rng: copy in which and number >= WELL and rng.random() < share


@pytest.mark.parametrize("copies", ["ab", "abc", "abcd"])
@pytest.mark.parametrize(("every_s", "count", "most"), [(1.0, 60, 5), (0.02, 1_000, 5), (4_320.0, 60, 6)])
def test_a_copy_that_breaks_fails_a_handful_of_requests_at_any_rate(
    copies: str, every_s: float, count: int, most: int
) -> None:
    for seed in range(20):
        history = History(copies, breaking("a"), seed=seed).run(WELL + count, every_s)
        assert history.failures <= most
        assert history.demoted == {"a"}


def test_two_of_three_that_break_are_both_left() -> None:
    failures = [History("abc", breaking("ab"), seed=seed).run(WELL + 60, 1.0).failures for seed in range(20)]
    assert max(failures) <= 12


def test_what_all_copies_do_demotes_nobody() -> None:
    for seed in range(20):
        assert not History("abc", breaking("abc"), seed=seed).run(WELL + 500, 1.0).demoted


def test_a_copy_that_fails_half_of_its_calls_is_demoted() -> None:
    histories = [History("abc", breaking("a", share=0.5), seed=seed).run(WELL + 3_000, 0.02) for seed in range(8)]
    assert all(history.demoted == {"a"} for history in histories)


def test_a_demoted_copy_that_is_well_again_gets_its_traffic_back() -> None:
    history = History("abc", lambda copy, number, _: copy == "a" and WELL <= number < 2 * WELL, seed=1)
    history.run(2 * WELL, 1.0)
    assert history.known["a"].is_convicted
    now = BEGIN + timedelta(hours=1)
    for _ in range(40):
        for copy in "ab":
            found = conduct.after_answer(history.known, copy, history.copies, oddity=None, shape="json", now=now)
            history.known |= found
    assert not history.known["a"].is_suspected


def healthy(seed: int) -> tuple[Odd, str, float]:
    """A history in which copies are alike: callers' errors at some rate, and bursts of them."""
    rng = random.Random(seed)
    base, begins = rng.choice([0, 0.001, 0.01, 0.03, 0.1, 0.3]), rng.choice([0, 0.001, 0.01, 0.03])
    length, share = rng.choice([5, 20, 100]), rng.choice([0.3, 0.6, 1.0])
    left = 0

    def odd(_copy: str, _number: int, draws: random.Random) -> bool:
        nonlocal left
        if left <= 0 and draws.random() < begins:
            left = int(draws.expovariate(1 / length)) + 1
        left -= 1
        return (left >= 0 and draws.random() < share) or draws.random() < base

    return odd, "abcd"[: rng.choice([2, 3, 4])], rng.choice([0.02, 1.0, 60.0])


def test_of_a_thousand_healthy_histories_with_bursts_of_callers_errors_none_demotes_a_copy() -> None:
    demoted = 0
    for seed in range(1_000):
        odd, copies, every_s = healthy(seed)
        demoted += bool(History(copies, odd, seed=seed).run(150, every_s).demoted)
    assert demoted == 0


def usually(shape: str, calls: float = 20.0) -> Conduct:
    return Conduct(shape=shape, shape_calls=calls)


@pytest.mark.parametrize(
    ("status", "shape", "own", "siblings", "oddity"),
    [
        (200, "json", UNSEEN, [], None),
        (500, "json", UNSEEN, [], "status 500"),
        (404, "text/html", UNSEEN, [], "status 404 text/html"),
        (302, "empty", UNSEEN, [], "status 302"),
        (304, "empty", usually("json"), [], None),
        (204, "empty", usually("json"), [], None),
        (400, "json", usually("json"), [], None),
        (200, "empty", UNSEEN, [usually("json"), usually("json")], "empty where json is usual"),
        (200, "text/html", usually("json"), [], "text/html where json is usual"),
        (200, "text/html", usually("text/html"), [usually("json"), usually("json")], "text/html where json is usual"),
        (200, "text/html", UNSEEN, [usually("json"), usually("text/html")], None),
        (200, "", UNSEEN, [usually("json")], None),
        (200, "json", UNSEEN, [usually("empty", calls=2)], None),
    ],
)
def test_what_stands_out(status: int, shape: str, own: Conduct, siblings: list[Conduct], oddity: str | None) -> None:
    assert conduct.oddity_of(status, shape, own, siblings) == oddity


def test_a_kind_of_body_that_changes_for_good_becomes_the_usual_one() -> None:
    known: dict[str, Conduct] = {}
    for shape in ["json"] * 100 + ["text/csv"] * 100:
        known |= conduct.after_answer(known, "a", ["a"], oddity=None, shape=shape, now=BEGIN)
    assert known["a"].shape == "text/csv"
