"""Training: one estimator per target, of a named family with fixed parameters. scikit-learn only here and in export.

Boosting trees have 8 leaves: a lane of one byte in `prediction.ensemble`. On the measured calls of SeBS (Copik et al.,
Middleware 2021; newest fifth held out) 31 leaves instead change the geometric latency error from 1.315 to 1.304 at
18,000 rows and from 1.59 to 1.63 at 150, for four times the size.

Latency and cost are learned as logarithms from records: they are positive and span decades, a few cold starts would
otherwise outweigh all else (geometric error 1.59 against 1.85 at 150 rows), and ratios are what scoring compares and
what the residual correction folds. The brief's generated targets are additive and stay as they are.

What is said of success is calibrated: of the newest fifth of the rows an estimator that has not seen them says what it
thinks, and the line through that (least squares, slope 0..1) is laid over the one that has seen all. A line moves base
and leaves alone, so the artifact needs no other form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fiso.learning.dataset import DataSet, Floats
from fiso.learning.linear import LinearEstimator
from fiso.prediction.artifact import COST, LATENCY, SUCCESS

SEED = 42
TREES = 100
BOOSTING_LEAVES = 8
FOREST_LEAVES = 64
FOREST_TREES = 40
"""A forest's file is opened in a cold start: 100 trees of 64 leaves take 3.6 ms, more than the 2 ms there are."""
FEWEST_ROWS = 20
"""A target with fewer known values than this is not learned."""
SMALL = 1_000
"""Below so many rows a boosting leaf may rest on 5 rows instead of 20."""


QUANTILES = (0.5, 0.95)
"""Of latency, beside its mean: what a request usually takes, and what one of twenty exceeds."""
MOST_QUANTILE_ROWS = 100_000
"""Quantiles are told beside a prediction and decide nothing; more rows would double the time of a large training."""


class Family(StrEnum):
    """The families a model can be of. The brief's random forest is limited in leaves, or it would not fit a Lambda."""

    BOOSTING = "hist_gradient_boosting"
    FOREST = "random_forest"
    LINEAR = "linear"

    @classmethod
    def _missing_(cls, value: object) -> "Family | None":
        """By the names of before."""
        return {"boosting": cls.BOOSTING, "forest": cls.FOREST}.get(str(value))


Estimator: TypeAlias = HistGradientBoostingRegressor | RandomForestRegressor | LinearEstimator


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A calibration: what is said is `offset + slope * estimate`."""

    offset: float = 0.0
    slope: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained target. With the link `exp` the estimator predicts the target's logarithm."""

    target: str
    link: str
    estimator: Estimator
    line: Line = field(default_factory=Line)

    def predict(self, features: Floats) -> Floats:
        learned: Floats = np.asarray(self.estimator.predict(features), dtype=np.float64)
        said: Floats = self.line.offset + self.line.slope * learned
        return np.exp(said) if self.link == "exp" else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    family: Family
    feature_names: tuple[str, ...]
    is_synthetic: bool
    fits: tuple[Fit, ...]
    quantiles: tuple[tuple[float, HistGradientBoostingRegressor], ...] = ()
    """Of the logarithm of latency, where it was learned from records."""

    def fit_of(self, target: str) -> Fit:
        return next(fit for fit in self.fits if fit.target == target)


def train(
    data: DataSet,
    *,
    family: Family = Family.BOOSTING,
    with_quantiles: bool = False,
    done: Callable[[str], None] | None = None,
) -> Trained:
    """Train every target that has values enough. `done` hears of each target as it is finished.

    One thread: sums in another order would make another model of the same rows.
    """
    fits: list[Fit] = []
    quantiles: list[tuple[float, HistGradientBoostingRegressor]] = []
    with threadpool_limits(limits=1):
        for target, values in _targets(data).items():
            known = np.isfinite(values)
            if np.count_nonzero(known) < FEWEST_ROWS:
                continue
            link = "identity" if data.is_synthetic or target == SUCCESS else "exp"
            wanted = np.log(values[known]) if link == "exp" else values[known]
            fits.append(_fit(data, target, link, known, wanted, family))
            if done is not None:
                done(target)
        if with_quantiles and not data.is_synthetic:
            quantiles = [(share, _quantile(share, data)) for share in QUANTILES]
    return Trained(
        family=family,
        feature_names=data.feature_names,
        is_synthetic=data.is_synthetic,
        fits=tuple(fits),
        quantiles=tuple(quantiles),
    )


def _fit(data: DataSet, target: str, link: str, known: NDArray[np.bool_], wanted: Floats, family: Family) -> Fit:
    rows = data.features[known]
    estimator = _estimator(family, data, len(wanted))
    estimator.fit(rows, wanted)
    is_event = target == SUCCESS and not data.is_synthetic
    line = _calibration(rows, wanted, lambda: _estimator(family, data, len(wanted))) if is_event else Line()
    return Fit(target=target, link=link, estimator=estimator, line=line)


def _calibration(rows: Floats, wanted: Floats, build: Callable[[], Estimator]) -> Line:
    """The line through what was said of the newest fifth before it was seen. Few failures say little: below so many
    rows, or where all went one way, what is said stays as it is."""
    cut = len(wanted) - len(wanted) // 5
    newest = wanted[cut:]
    if len(newest) < FEWEST_ROWS or np.ptp(newest) == 0 or np.ptp(wanted[:cut]) == 0:
        return Line()
    before = build()
    before.fit(rows[:cut], wanted[:cut])
    said = np.clip(before.predict(rows[cut:]), 0.0, 1.0)
    spread = float(np.var(said))
    slope = (
        min(1.0, max(0.0, float(np.mean((said - said.mean()) * (newest - newest.mean()))) / spread)) if spread else 1.0
    )
    # Towards the mean of all rows, and not of the newest: a bad hour at the end is no calibration.
    centre = float(wanted.mean())
    return Line(offset=(1 - slope) * centre, slope=slope)


def _quantile(share: float, data: DataSet) -> HistGradientBoostingRegressor:
    known = np.flatnonzero(np.isfinite(data.latency_ms))
    known = known[:: -(-len(known) // MOST_QUANTILE_ROWS)]
    estimator = _boosting(len(known))
    estimator.set_params(loss="quantile", quantile=share)
    return estimator.fit(data.features[known], np.log(data.latency_ms[known]))


def _targets(data: DataSet) -> Mapping[str, Floats]:
    return {LATENCY: data.latency_ms, COST: data.cost_usd, SUCCESS: data.success}


def _estimator(family: Family, data: DataSet, rows: int) -> Estimator:
    if family is Family.LINEAR:
        return LinearEstimator(data.feature_names)
    return _boosting(rows) if family is Family.BOOSTING else _forest()


def _boosting(rows: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=BOOSTING_LEAVES,
        min_samples_leaf=20 if rows >= SMALL else 5,
        early_stopping=False,
        random_state=SEED,
    )


def _forest() -> RandomForestRegressor:
    return RandomForestRegressor(n_estimators=FOREST_TREES, max_leaf_nodes=FOREST_LEAVES, random_state=SEED)
