"""Training: one estimator per target, of a named family with fixed parameters. scikit-learn only here and in export.

Boosting trees have 8 leaves: a lane of one byte in `prediction.ensemble`. On the measured calls of SeBS (Copik et al.,
Middleware 2021; newest fifth held out) 31 leaves instead change the geometric latency error from 1.315 to 1.304 at
18,000 rows and from 1.59 to 1.63 at 150, for four times the size.

Latency and cost are learned as logarithms from records: they are positive and span decades, a few cold starts would
otherwise outweigh all else (geometric error 1.59 against 1.85 at 150 rows), and ratios are what scoring compares and
what the residual correction folds. The brief's generated targets are additive and stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fiso.learning.dataset import DataSet, Floats
from fiso.prediction.artifact import COST, LATENCY, SUCCESS

SEED = 42
TREES = 100
BOOSTING_LEAVES = 8
FOREST_LEAVES = 64
FEWEST_ROWS = 20
"""A target with fewer known values than this is not learned."""
SMALL = 1_000
"""Below so many rows a boosting leaf may rest on 5 rows instead of 20."""


class Family(StrEnum):
    """The families a model can be of. The brief's random forest is limited in leaves, or it would not fit a Lambda."""

    BOOSTING = "boosting"
    FOREST = "forest"


Estimator: TypeAlias = HistGradientBoostingRegressor | RandomForestRegressor


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained target. With the link `exp` the estimator predicts the target's logarithm."""

    target: str
    link: str
    estimator: Estimator

    def predict(self, features: Floats) -> Floats:
        learned: Floats = np.asarray(self.estimator.predict(features), dtype=np.float64)
        return np.exp(learned) if self.link == "exp" else learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    family: Family
    feature_names: tuple[str, ...]
    is_synthetic: bool
    fits: tuple[Fit, ...]

    def fit_of(self, target: str) -> Fit:
        return next(fit for fit in self.fits if fit.target == target)


def train(data: DataSet, *, family: Family = Family.BOOSTING, done: Callable[[str], None] | None = None) -> Trained:
    """Train every target that has values enough. `done` hears of each target as it is finished.

    One thread: sums in another order would make another model of the same rows.
    """
    fits: list[Fit] = []
    with threadpool_limits(limits=1):
        for target, values in _targets(data).items():
            known = np.isfinite(values)
            if np.count_nonzero(known) < FEWEST_ROWS:
                continue
            link = "identity" if data.is_synthetic or target == SUCCESS else "exp"
            wanted = np.log(values[known]) if link == "exp" else values[known]
            estimator = _BUILD[family](len(wanted))
            estimator.fit(data.features[known], wanted)
            fits.append(Fit(target=target, link=link, estimator=estimator))
            if done is not None:
                done(target)
    return Trained(family=family, feature_names=data.feature_names, is_synthetic=data.is_synthetic, fits=tuple(fits))


def _targets(data: DataSet) -> Mapping[str, Floats]:
    return {LATENCY: data.latency_ms, COST: data.cost_usd, SUCCESS: data.success}


def _boosting(rows: int) -> Estimator:
    return HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=BOOSTING_LEAVES,
        min_samples_leaf=20 if rows >= SMALL else 5,
        early_stopping=False,
        random_state=SEED,
    )


def _forest(_: int) -> Estimator:
    return RandomForestRegressor(n_estimators=TREES, max_leaf_nodes=FOREST_LEAVES, random_state=SEED)


_BUILD: Mapping[Family, Callable[[int], Estimator]] = {Family.BOOSTING: _boosting, Family.FOREST: _forest}
