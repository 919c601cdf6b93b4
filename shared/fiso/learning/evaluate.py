"""Evaluation: how far predictions lie from what happened, overall and per provider."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fiso.domain.endpoint import Provider
from fiso.learning.dataset import DataSet, Floats
from fiso.prediction.artifact import COST, LATENCY, SUCCESS
from fiso.prediction.predictor import SHORTEST_MS

PROVIDER_COLUMN = "cloud_provider_encoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How wrong predictions are. `r2` is None where the truth does not vary.

    `geometric` is exp(mean |ln(predicted / actual)|): 1 is exact, 1.2 is off by a fifth either way; None unless the
    truth is positive throughout.
    """

    rows: int
    mean_absolute: float
    r2: float | None
    geometric: float | None


def errors(predicted: Floats, actual: Floats) -> Errors | None:
    """The errors over the rows whose truth and prediction are known; None when there is none."""
    known = np.isfinite(actual) & np.isfinite(predicted)
    truth, said = actual[known], predicted[known]
    if not len(truth):
        return None
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return Errors(
        rows=len(truth),
        mean_absolute=float(np.mean(np.abs(said - truth))),
        r2=1 - float(np.sum((said - truth) ** 2)) / spread if spread > 0 else None,
        geometric=_geometric(said, truth) if float(truth.min()) > 0 else None,
    )


def latency_error(predicted_ms: Floats, actual_ms: Floats) -> float | None:
    """The geometric error of latencies, predictions bounded below as serving bounds them."""
    found = errors(np.maximum(predicted_ms, SHORTEST_MS), actual_ms)
    return found.geometric if found else None


def by_target(predicted: Mapping[str, Floats], data: DataSet) -> dict[str, dict[str, Errors]]:
    """Errors per target, under `all` and under each provider that has rows."""
    truths = {LATENCY: data.latency_ms, COST: data.cost_usd, SUCCESS: data.success}
    codes = data.features[:, data.feature_names.index(PROVIDER_COLUMN)]
    report: dict[str, dict[str, Errors]] = {}
    for target, said in predicted.items():
        groups = {"all": np.full(len(data), True)}
        groups |= {provider.value: codes == code for code, provider in enumerate(Provider)}
        found = {name: errors(said[rows], truths[target][rows]) for name, rows in groups.items()}
        report[target] = {name: value for name, value in found.items() if value is not None}
    return report


def _geometric(said: Floats, truth: Floats) -> float:
    smallest = float(truth.min()) * 1e-3
    return float(np.exp(np.mean(np.abs(np.log(np.maximum(said, smallest) / truth)))))
