"""Decisions: `decide` among twelve candidates that have been called before, against the naive design's three forests.

A seen context is a look-up and a draw. A new one is predicted and scored; what was worked out of the states alone
may have been kept. With new states as well nothing is.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from fiso.prediction.artifact import Model
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso_cli.errors import CommandError
from fiso_cli.worlds.router import packaged_model
from tests.lab.bench import candidates, naive
from tests.lab.bench.rows import Gate, Row, row, times_better
from tests.lab.bench.timing import Timer, in_turn, timer

SEEN_GATE, NEW_GATE = 500.0, 40.0
TURNS = 20
SEEN_EACH, NEW_EACH, RIVALS_EACH = 120, 20, 3
SIZES = 4_096
"""Request sizes looked through for those that the model tells apart, in bytes."""


class SeenDecisions:
    """Decisions in one context, made once before the first is timed. Call it for one more."""

    def __init__(self, model: Model) -> None:
        self._inputs = candidates.known_world(model)
        self._now = candidates.answered_at(candidates.ANSWERS_EACH - 1)
        self._request = candidates.request_of(at=self._now)
        self._cache: RankingCache = DecisionCache()
        self._draw = random.Random(0).random  # nosec B311 # draws of a benchmark, no secrets
        self._made = 0
        self()

    def __call__(self) -> None:
        """One decision."""
        self._made += 1
        decide(self._request, self._inputs, now=self._now, draw=self._draw(), cache=self._cache)

    @property
    def are_seen(self) -> bool:
        """Whether all but the first were look-ups."""
        return (self._cache.misses, self._cache.hits) == (1, self._made - 1)


class NewDecisions:
    """Decisions that are each in a context of their own: another step of request size, hour or, where given, states."""

    def __init__(self, model: Model, worlds: Iterable[tuple[DecisionInputs, datetime]], count: int) -> None:
        self._cache: RankingCache = DecisionCache()
        self._made = 0
        bodies = _bodies(model)
        self._cases = iter(
            [
                (candidates.request_of(bodies[number % len(bodies)], at=at), inputs, at)
                for number, (inputs, now) in enumerate(islice(worlds, count))
                for at in [now + timedelta(hours=number // len(bodies))]
            ]
        )

    def __call__(self) -> None:
        """One decision."""
        request, inputs, now = next(self._cases)
        self._made += 1
        decide(request, inputs, now=now, draw=0.5, cache=self._cache)

    @property
    def are_new(self) -> bool:
        """Whether none was a look-up."""
        return (self._cache.misses, self._cache.hits) == (self._made, 0)


def measure(model_dir: Path, rival_dir: Path) -> list[Row]:
    """All three rows."""
    model = model_of(model_dir)
    rival, rows = naive.load(rival_dir), naive.candidates_of({"copies": len(candidates.MEMORIES_MB)})
    ask_rival = timer(lambda: rival.decide(rows, "us-east-1"))
    seen = SeenDecisions(model)
    count = (TURNS + 1) * NEW_EACH
    same = NewDecisions(model, one_world(model), count)
    changing = NewDecisions(model, changing_worlds(model), count)
    measured = [
        _row("decide_seen_12", seen, ask_rival, each=SEEN_EACH, gate=times_better(SEEN_GATE)),
        _row("decide_new_12", same, ask_rival, each=NEW_EACH, gate=times_better(NEW_GATE)),
        _row("decide_new_states_12", changing, ask_rival, each=NEW_EACH, gate=None),
    ]
    if not (seen.are_seen and same.are_new and changing.are_new):
        raise CommandError("the decisions timed were not in the contexts they claim: fix tests.lab.bench.decisions")
    return measured


def model_of(model_dir: Path) -> Model:
    """The packaged model. `CommandError` without one."""
    model = packaged_model(model_dir)
    if model is None:
        raise CommandError(f"{model_dir} holds no champion: run `fiso train` first")
    return model


def _row(name: str, ours: Callable[[], None], rivals: Timer, *, each: int, gate: Gate | None) -> Row:
    taken = in_turn(timer(ours), rivals, turns=TURNS, ours_each=each, rivals_each=RIVALS_EACH)
    value, rival_value = taken.median_us()
    return row(
        name, value, "us", rival="naive: forest x3, 12 rows", rival_value=rival_value, n=len(taken.ours), gate=gate
    )


def _bodies(model: Model) -> list[bytes]:
    """One body for each step of size that the model knows."""
    steps = {model.size_step(size): size for size in range(SIZES)}
    return [b"x" * size for size in steps.values()]


def one_world(model: Model) -> Iterator[tuple[DecisionInputs, datetime]]:
    """The same world every time, and when to decide in it."""
    inputs, now = candidates.known_world(model), candidates.answered_at(candidates.ANSWERS_EACH - 1)
    while True:
        yield inputs, now


def changing_worlds(model: Model) -> Iterator[tuple[DecisionInputs, datetime]]:
    """The world as it goes on, every endpoint answered once more each time, and when to decide in it."""
    worlds = candidates.worlds_after(candidates.known_world(model), model)
    for number, inputs in enumerate(worlds, start=candidates.ANSWERS_EACH):
        yield inputs, candidates.answered_at(number)
