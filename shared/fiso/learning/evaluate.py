"""Evaluation: how far predictions lie from what happened, overall and per provider, and whether a challenger may take
the champion's place.

Both are judged on the same newest rows, which neither has seen, by the geometric error of their raw latencies; the
residual correction would help both alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fiso.domain.endpoint import Provider
from fiso.learning import intervals
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.intervals import FEWEST_CLUSTERS, Estimate
from fiso.learning.train import FEWEST_ROWS
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


def gains(challenger_ms: Floats, rival_ms: Floats, actual_ms: Floats) -> Floats:
    """By how much a challenger's prediction of each answer is better, as a difference of |ln(predicted / actual)|; NaN
    where one of the three is not known."""
    truth = np.log(actual_ms)
    rival, challenger = (np.log(np.maximum(said, SHORTEST_MS)) - truth for said in (rival_ms, challenger_ms))
    better: Floats = np.abs(rival) - np.abs(challenger)
    return better


MOST_BLOCKS = 50
FEWEST_PER_BLOCK = 5


def gain(of_rows: Floats) -> Estimate | None:
    """The mean of rows in time order with its interval; None with fewer than two known.

    By blocks of rows next to each other: a slow hour moves all of its rows alike, and as so many independent ones they
    would make the interval too narrow.
    """
    known = of_rows[np.isfinite(of_rows)]
    if len(known) < FEWEST_CLUSTERS:
        return None
    blocks = min(MOST_BLOCKS, len(known) // FEWEST_PER_BLOCK)
    if blocks < MOST_BLOCKS // 2:
        return intervals.mean(known)
    size = len(known) // blocks
    whole = known[len(known) - blocks * size :]  # the oldest few are left over
    return intervals.mean(whole.reshape(blocks, size).mean(axis=1))


def gain_of_the_rest(of_rows: Floats, tenant: Floats) -> Estimate | None:
    """The gain without the tenant that gains most; None where the others have too few rows to tell."""
    known = np.isfinite(of_rows)
    tenants, owner = np.unique(tenant[known], return_inverse=True)
    if len(tenants) < 2:
        return None
    most = np.argmax(np.bincount(owner, weights=of_rows[known]))
    rest = of_rows[known][owner != most]
    return gain(rest) if len(rest) >= FEWEST_ROWS else None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Promoted or not, and why, in words that stand on their own."""

    promoted: bool
    reason: str


def refusal_before_training(rows: int, *, new_rows: int, minimum_rows: int, minimum_new_rows: int) -> str | None:
    if rows < minimum_rows:
        return f"too few rows: {rows} of the {minimum_rows} that are needed"
    if new_rows < minimum_new_rows:
        return f"too few new rows since the champion: {new_rows} of the {minimum_new_rows} that are needed"
    return None


def refusal_of_split(halves: Halves) -> str | None:
    for name, half in (("trained on", halves.train), ("held out", halves.held_out)):
        answered = half.latency_ms[np.isfinite(half.latency_ms)]
        if len(answered) < FEWEST_ROWS:
            reported = "" if halves.train.has_one_tenant else "; what tenants report of their own calls judges no model"
            return f"too few answered rows {name}: {len(answered)} of the {FEWEST_ROWS} that are needed{reported}"
        if np.ptp(answered) == 0:
            return f"latency is constant over the rows {name}: there is nothing to learn or to judge by"
    return None


def judge(
    *,
    champion_error: float | None,
    challenger_error: float | None,
    constant_error: float | None = None,
    gain: Estimate | None = None,
    gain_of_the_rest: Estimate | None = None,
) -> Verdict:
    """Promote when the challenger's error is the smaller one beyond chance: the interval of `gain` lies above 0, and
    that of all tenants but the one that gains most not below. Where there is no champion to compare with, what it must
    be better than is saying the usual latency of all requests each time (`constant_error`)."""
    if challenger_error is None or not np.isfinite(challenger_error):
        return Verdict(promoted=False, reason="the challenger's error could not be measured")
    has_champion = champion_error is not None and np.isfinite(champion_error)
    rival, error = ("the champion's", champion_error) if has_champion else ("a constant's", constant_error)
    if error is None or not np.isfinite(error):
        return Verdict(promoted=False, reason="there is nothing to compare the challenger with")
    comparison = f"latency error {challenger_error:.3f} against {rival} {error:.3f}"
    if challenger_error >= error:
        return Verdict(promoted=False, reason=f"the challenger is not better: {comparison}")
    if gain is None or not gain.low > 0:
        return Verdict(promoted=False, reason=f"the challenger is not better beyond chance: {comparison}")
    if gain_of_the_rest is not None and gain_of_the_rest.high < 0:
        return Verdict(
            promoted=False, reason=f"the challenger is better for one tenant and not for the rest: {comparison}"
        )
    return Verdict(promoted=True, reason=f"the challenger is better: {comparison}")
