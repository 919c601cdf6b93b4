from dataclasses import replace

import numpy as np
import pytest

from fiso.learning import evaluate
from fiso.learning.dataset import Halves
from fiso.learning.intervals import Estimate
from tests.models import generated_halves

RULES = {"minimum_rows": 600, "minimum_new_rows": 50}


@pytest.mark.parametrize(
    ("rows", "new_rows", "refusal"),
    [
        (600, 50, None),
        (599, 599, "too few rows: 599 of the 600 that are needed"),
        (600, 49, "too few new rows since the champion: 49 of the 50 that are needed"),
    ],
)
def test_too_few_rows_are_not_trained_on(rows: int, new_rows: int, refusal: str | None) -> None:
    assert evaluate.refusal_before_training(rows, new_rows=new_rows, **RULES) == refusal


@pytest.mark.parametrize("half", ["train", "held_out"])
def test_a_latency_that_never_changes_is_refused(half: str) -> None:
    halves = generated_halves()
    assert evaluate.refusal_of_split(halves) is None
    rows = getattr(halves, half)
    constant = replace(rows, latency_ms=np.full(len(rows), 100.0))
    assert "constant" in str(evaluate.refusal_of_split(replace(halves, **{half: constant})))


def test_halves_of_failures_alone_are_refused() -> None:
    halves = generated_halves()
    failed = replace(halves.held_out, latency_ms=np.full(len(halves.held_out), np.nan))
    refusal = evaluate.refusal_of_split(Halves(train=halves.train, held_out=failed))
    assert refusal == "too few answered rows held out: 0 of the 20 that are needed"


@pytest.mark.parametrize(
    ("champion", "challenger", "promoted"),
    [
        (1.5, 1.4, True),
        (1.5, 1.5, False),
        (1.4, 1.5, False),
        (None, 1.5, True),
        (None, 1.6, False),
        (1.4, None, False),
        (float("nan"), 1.5, True),
    ],
)
def test_only_a_smaller_error_is_promoted(champion: float | None, challenger: float | None, promoted: bool) -> None:
    gain = Estimate(value=0.07, low=0.01, high=0.13)
    verdict = evaluate.judge(champion_error=champion, challenger_error=challenger, constant_error=1.6, gain=gain)
    assert verdict.promoted is promoted
    assert verdict.reason


@pytest.mark.parametrize("champion", [1.5, None])
@pytest.mark.parametrize("gain", [None, Estimate(value=0.07, low=0.0, high=0.14), Estimate(value=0.1, low=-1, high=2)])
def test_a_smaller_error_that_may_be_chance_is_not_promoted(gain: Estimate | None, champion: float | None) -> None:
    verdict = evaluate.judge(champion_error=champion, challenger_error=1.4, constant_error=1.5, gain=gain)
    assert (verdict.promoted, "beyond chance" in verdict.reason) == (False, True)


def test_without_a_champion_and_a_constant_there_is_nothing_to_be_better_than() -> None:
    gain = Estimate(value=0.07, low=0.01, high=0.13)
    assert not evaluate.judge(champion_error=None, challenger_error=1.4, gain=gain).promoted


@pytest.mark.parametrize(
    ("own", "rest", "promoted"), [(0.5, -0.2, False), (0.5, 0.1, True), (0.1, 0.5, True), (0.5, None, True)]
)
def test_what_is_better_for_one_tenant_alone_is_not_promoted(own: float, rest: float | None, promoted: bool) -> None:
    draw = np.random.default_rng(1)
    rows = [draw.normal(own, 0.1, 300), draw.normal(rest or 0.0, 0.1, 60 if rest is not None else 5)]
    gains, tenant = np.concatenate(rows), np.repeat([0.0, 1.0], [len(part) for part in rows])
    verdict = evaluate.judge(
        champion_error=1.5,
        challenger_error=1.4,
        gain=evaluate.gain(gains),
        gain_of_the_rest=evaluate.gain_of_the_rest(gains, tenant),
    )
    assert verdict.promoted is promoted


def test_a_gain_is_the_mean_difference_of_errors_with_its_interval() -> None:
    actual = np.full(200, 100.0)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.2, 200))
    found = evaluate.gain(evaluate.gains(actual * 1.1, actual * 1.5 * noise, actual))
    assert found is not None
    assert 0.2 < found.low < found.value < found.high < 0.4
    same = evaluate.gain(evaluate.gains(actual * noise, actual / noise, actual))
    assert same is not None
    assert same.low <= 0
    assert evaluate.gain(evaluate.gains(actual[:1], actual[:1], actual[:1])) is None
