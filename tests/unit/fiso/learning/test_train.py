from dataclasses import replace

import numpy as np
import pytest

from fiso.learning import dataset, synthetic
from fiso.learning.train import FEWEST_ROWS, Family, train
from fiso.prediction.artifact import COST, LATENCY, SUCCESS
from tests.models import generated_halves


@pytest.mark.parametrize("family", Family)
def test_every_family_learns_what_the_generator_put_in(family: Family) -> None:
    halves = dataset.split(synthetic.generate(2_000))
    fit = train(halves.train, family=family).fit_of(LATENCY)
    actual = halves.held_out.latency_ms
    left = np.var(actual - fit.predict(halves.held_out.features)) / np.var(actual)
    assert left < 0.15


def test_records_are_learned_as_logarithms_and_generated_targets_as_they_are() -> None:
    rows = generated_halves().train
    assert {fit.target: fit.link for fit in train(rows).fits} == dict.fromkeys((LATENCY, COST, SUCCESS), "identity")
    measured = replace(rows, is_synthetic=False, cost_usd=np.abs(rows.cost_usd))
    assert {fit.target: fit.link for fit in train(measured).fits} == {LATENCY: "exp", COST: "exp", SUCCESS: "identity"}


def test_a_target_without_values_enough_is_not_learned() -> None:
    rows = generated_halves().train
    cost = np.full(len(rows), np.nan)
    cost[: FEWEST_ROWS - 1] = 1.0
    assert {fit.target for fit in train(replace(rows, cost_usd=cost)).fits} == {LATENCY, SUCCESS}


def test_progress_is_told_target_by_target() -> None:
    heard: list[str] = []
    train(generated_halves().train, done=heard.append)
    assert heard == [LATENCY, COST, SUCCESS]
