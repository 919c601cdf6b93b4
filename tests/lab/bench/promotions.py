"""Promotions by simulation: how often a challenger that is worse, equal or better than the champion takes its place.

The pipeline's own verdicts run (`validation.validate`, `shadow`, `evaluate.judge`) over held-out rows whose errors are
drawn: both models are off by a share of noise of their own and one that they have in common, and hours are slow or
fast as a whole. Better by 5 %: the geometric error exp(mean |ln(predicted / actual)|) is 1.05 times smaller.
"""

from collections.abc import Sequence
from math import log, pi, sqrt

import numpy as np

from fiso.domain.model import Verdict
from fiso.learning import evaluate, validation
from fiso.learning.dataset import DataSet, Floats
from fiso.learning.train import Family, Trained
from fiso.learning.validation import Duel
from fiso.prediction.features import NAMES
from tests.lab.bench.rows import Row, at_least, at_most, row
from tests.models import an_artifact, opened

TRIALS = 500
HELD_OUT = 1_000
"""Of 5,000 rows a fifth."""
SPREAD = 0.3
"""Of an error's logarithm: a warm function's answers scatter by a third."""
SHARED = 0.8
"""The part of both models' errors that is the answer's own luck."""
HOUR_ROWS, HOUR_SPREAD = 40, 0.1
NO_FITS = Trained(family=Family.BOOSTING, feature_names=NAMES, is_synthetic=False, fits=())


def rows(trials: int = TRIALS) -> Sequence[Row]:
    """The share of trials in which each is promoted."""
    wanted = (
        ("worse_by_5", 1.05, at_most(0.02)),
        ("equal", 1.0, at_most(0.05)),
        ("better_by_5", 1 / 1.05, at_least(0.8)),
    )
    return [
        row(
            f"promoted_{name}",
            promoted(factor, trials),
            "share",
            rival=f"{HELD_OUT} held-out rows, spread {SPREAD}, {SHARED:.0%} shared, slow hours",
            rival_value=None,
            n=trials,
            gate=gate,
        )
        for name, factor, gate in wanted
    ]


def promoted(factor: float, trials: int, *, held_out: int = HELD_OUT, seed: int = 1) -> float:
    """The share of trials in which a challenger with `factor` times the champion's geometric error is promoted."""
    draw = np.random.default_rng(seed)
    return sum(_is_promoted(_duel(factor, held_out, draw)) for _ in range(trials)) / trials


def _is_promoted(found: Duel) -> bool:
    model = opened(an_artifact())
    steps = [validation.validate(found, NO_FITS, model, {}), validation.shadow(found)]
    verdict = evaluate.judge(
        champion_error=found.champion_error,
        challenger_error=found.challenger_error,
        constant_error=found.constant_error,
        gain=found.gain,
        gain_of_the_rest=found.gain_of_the_rest,
    )
    return verdict.promoted and not any(step.verdict is Verdict.STOPPED for step in steps)


def _duel(factor: float, held_out: int, draw: np.random.Generator) -> Duel:
    truth = np.exp(draw.normal(log(100), 1.0, held_out))
    hours = np.repeat(draw.normal(0, HOUR_SPREAD, -(-held_out // HOUR_ROWS)), HOUR_ROWS)[:held_out]
    luck = draw.normal(0, 1, held_out)
    total = sqrt(SPREAD**2 + HOUR_SPREAD**2)  # what a normal error's mean size follows from
    wanted = total + log(factor) / sqrt(2 / pi)
    champion = _errors(luck, hours, draw)
    challenger = _errors(luck, hours, draw) * (wanted / total)
    data = _data(truth)
    said, rival = truth * np.exp(challenger), truth * np.exp(champion)
    usual = np.full(held_out, np.median(truth))
    return Duel(
        held_out=data,
        said_ms=said,
        rivals_ms=rival,
        champion_error=evaluate.latency_error(rival, truth),
        challenger_error=evaluate.latency_error(said, truth),
        constant_error=evaluate.latency_error(usual, truth),
        gains=evaluate.gains(said, rival, truth),
        success=np.ones(held_out),
        champions_success=np.ones(held_out),
    )


def _errors(luck: Floats, hours: Floats, draw: np.random.Generator) -> Floats:
    own: Floats = sqrt(SHARED) * luck + sqrt(1 - SHARED) * draw.normal(0, 1, len(luck))
    return SPREAD * own + hours


def _data(truth: Floats) -> DataSet:
    features = np.zeros((len(truth), len(NAMES)))
    features[:, 0] = np.arange(len(truth)) % 3
    nothing = np.full(len(truth), np.nan)
    return DataSet(
        feature_names=NAMES,
        features=features,
        latency_ms=truth,
        cost_usd=nothing,
        success=np.ones(len(truth)),
        at=np.arange(len(truth), dtype=np.float64),
        served_latency_ms=nothing,
        served_by=("m",) * len(truth),
        tenant=np.zeros(len(truth)),
        reported=np.zeros(len(truth)),
    )
