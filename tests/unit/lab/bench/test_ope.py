"""The coverage experiment, reduced: few enough runs to be quick, many enough to see an interval that does not cover."""

import os
import random
from pathlib import Path

import pytest
from scipy.stats import binom

from fiso_cli.local_stage import CHECKOUT
from fiso_cli.worlds.trace import read
from tests.lab.bench.ope import LEAST_COVERAGE, cover, generated, measured

PAIRED = Path(os.environ.get("FISO_DATA_DIR") or CHECKOUT.parent / "shared" / "data") / "paired"
RUNS = 40
LEAST = binom.ppf(1e-4, RUNS, LEAST_COVERAGE)
"""Fewer hits than this would be seen once in 10,000 times if the coverage were exactly what is asked for."""


def test_intervals_cover_the_exact_truth_of_a_generated_world() -> None:
    found = cover(generated(random.Random(5), situations=500), runs=RUNS, records=500)
    assert found.refused == 0
    assert min(found.snips, found.dr) >= LEAST


def test_without_propensities_the_truth_is_missed() -> None:
    found = cover(generated(random.Random(5), situations=500), runs=RUNS, records=500)
    assert found.unweighted < LEAST


def test_intervals_cover_the_exact_truth_of_measured_rounds() -> None:
    path = PAIRED / "sebs2020.csv.gz"
    if not path.exists():
        pytest.skip("the measured trace is not at hand; set FISO_DATA_DIR to the folder that holds paired/")
    found = cover(measured(read(path)), runs=RUNS, records=1_000)
    assert min(found.snips, found.dr) >= LEAST


def test_a_refused_run_counts_as_a_miss() -> None:
    found = cover(generated(random.Random(5), situations=50), runs=2, records=20)
    assert (found.refused, found.snips, found.dr) == (2, 0, 0)
