"""What callers bring about as a rule, over generated histories: a copy that refuses alone is left, nobody else is."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fiso_client.core.attribution import Attribution, Copy
from tests.unit.fiso_client.core.test_conduct import BEGIN, EXPLORED, WELL, Odd, breaking, healthy

Refused = tuple[int, bool]


def history(copies: str, odd: Odd, *, seed: int, count: int, every_s: float) -> Refused:
    """How many of the requests are refused, and whether a copy is demoted for it at any time."""
    rng, judged, demoted, refused = random.Random(seed), Attribution(), False, 0
    for number in range(count):
        now = BEGIN + timedelta(seconds=number * every_s)
        held_back = judged.held_back("f", list(copies), {}, now)
        well = [id for id in copies if id not in held_back or not held_back[id].is_unavailable(now)] or list(copies)
        copy = Copy("f", rng.choice(well) if rng.random() < EXPLORED else well[0], "aws", "r")
        is_refused = odd(copy.id, number, rng)
        refused += is_refused
        judged.started(copy, now, 1.0)
        judged.ended(copy, copies, oddity=None, shape="json", now=now, status=422 if is_refused else 200)
        demoted |= any(breaker.cause.startswith("demoted") for breaker in held_back.values())
    return refused, demoted


@pytest.mark.parametrize("copies", ["ab", "abc", "abcd"])
@pytest.mark.parametrize(("every_s", "count"), [(1.0, 60), (0.02, 1_000), (4_320.0, 60)])
def test_a_copy_that_refuses_alone_costs_a_handful_of_requests_at_any_rate(
    copies: str, every_s: float, count: int
) -> None:
    for seed in range(5):
        refused, demoted = history(copies, breaking("a"), seed=seed, count=WELL + count, every_s=every_s)
        assert (refused <= 8, demoted) == (True, True)


def test_of_healthy_histories_with_bursts_of_callers_mistakes_none_demotes_a_copy() -> None:
    demoted = 0
    for seed in range(500):
        odd, copies, every_s = healthy(seed)
        demoted += history(copies, odd, seed=seed, count=150, every_s=every_s)[1]
    assert demoted == 0


@pytest.mark.parametrize("answer", [lambda number: 422, lambda number: 422 if number % 2 else 200])
def test_what_all_copies_refuse_demotes_nobody(answer: Callable[[int], int]) -> None:
    refused: Odd = lambda _copy, number, _rng: answer(number) == 422  # noqa: E731
    assert not history("abc", refused, seed=1, count=400, every_s=0.1)[1]


def test_a_good_answer_of_another_kind_clears_no_suspicion_and_ends_none() -> None:
    judged, copies, at = Attribution(), "ab", datetime(2026, 1, 1, tzinfo=UTC)
    a, b = Copy("f", "a", "aws", "r"), Copy("f", "b", "gcp", "r")
    judged.ended(b, copies, oddity=None, shape="json", now=at, status=200)
    judged.ended(a, copies, oddity="status 500", shape="json", now=at, status=500)
    judged.ended(a, copies, oddity=None, shape="json", now=at, status=400)
    assert judged.conduct_of("f", "a").is_suspected
    judged.ended(a, copies, oddity=None, shape="json", now=at, status=200)
    assert not judged.conduct_of("f", "a").is_suspected
