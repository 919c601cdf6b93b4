"""Validation: how a challenger does on the newest rows, which neither it nor the champion has seen. Pure.

The brief's threshold of R2 is taken as a share of what can be known: load, copy and function leave most of the latency
of a call to chance, and a fixed R2 of 0.85 would refuse for ever. What can be known is what means by group explain of
the very rows. Below it a challenger goes on if it is not worse than the champion by more than MARGIN, beyond chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from fiso.domain.endpoint import Provider
from fiso.domain.model import Step, Verdict
from fiso.learning import evaluate, export
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.evaluate import PROVIDER_COLUMN
from fiso.learning.intervals import Estimate
from fiso.learning.train import FEWEST_ROWS, Trained
from fiso.prediction.artifact import COST, LATENCY, SUCCESS, Model
from fiso_client.core.sequential import Ranks

VALIDATION = "model_performance_validation"
SHADOW = "a_b_testing_deployment"
R2_THRESHOLD = 0.85
MARGIN = log(1.02)
"""A champion's geometric error may be exceeded by 2 % and the challenger is as good."""
GROUP_MARGIN = log(1.10)
"""A cloud's or function's, by 10 %: its rows are fewer."""
FEWEST_OF_GROUP = 100
BRIER_MARGIN = 0.01
SHADOW_BLOCK = 20
SHADOW_RATIO = 1.05
_GROUPS = ("cloud_provider_encoded", "function_type_encoded", "region_encoded", "memory_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Challenger and rival on the same rows. The rival is the champion, or with no word of it the usual latency."""

    held_out: DataSet
    said_ms: Floats
    rivals_ms: Floats
    champion_error: float | None
    challenger_error: float | None
    constant_error: float | None
    gains: Floats
    success: Floats
    champions_success: Floats | None

    @property
    def gain(self) -> Estimate | None:
        return evaluate.gain(self.gains)

    @property
    def gain_of_the_rest(self) -> Estimate | None:
        return evaluate.gain_of_the_rest(self.gains, self.held_out.tenant)


def duel(champion: Model | None, trained: Trained, halves: Halves) -> Duel:
    """The errors over the same rows. Of a row that the champion has no word on it says the usual latency, as without a
    champion: a few rows that it has one on must not decide. One that cannot be asked says what was logged.

    A challenger that has no finite word on one of them cannot be measured.
    """
    held_out, learned_ms = halves.held_out, halves.train.latency_ms
    said_ms = trained.fit_of(LATENCY).predict(held_out.features)
    usual_ms = np.full(len(said_ms), np.median(learned_ms[np.isfinite(learned_ms)]))
    champions_ms, champions_success = held_out.served_latency_ms, None
    if champion is not None:
        outputs = champion.predict_all(export.serving_rows(held_out).tolist())
        champions_ms = np.array([output.latency_ms for output in outputs], dtype=np.float64)
        champions_success = np.array([output.success_probability for output in outputs], dtype=np.float64)
    has_word = np.isfinite(champions_ms)
    rivals_ms = np.where(has_word, champions_ms, usual_ms)
    return Duel(
        held_out=held_out,
        said_ms=said_ms,
        rivals_ms=rivals_ms,
        champion_error=evaluate.latency_error(rivals_ms, held_out.latency_ms) if np.any(has_word) else None,
        challenger_error=evaluate.latency_error(said_ms, held_out.latency_ms) if np.all(np.isfinite(said_ms)) else None,
        constant_error=evaluate.latency_error(usual_ms, held_out.latency_ms),
        gains=evaluate.gains(said_ms, rivals_ms, held_out.latency_ms),
        success=np.clip(trained.fit_of(SUCCESS).predict(held_out.features), 0.0, 1.0),
        champions_success=champions_success,
    )


def validate(found: Duel, trained: Trained, model: Model, implied: Mapping[str, float]) -> Step:
    """The verdict on a challenger alone, with all its figures; `implied` are those of the routing that follows from
    it."""
    figures = {**_figures(found, trained, model), **implied}
    problem = _problem(found, figures)
    share, gain = figures.get("share_of_ceiling"), found.gain
    reached = share is not None and share >= R2_THRESHOLD
    if problem is not None:
        return _step(VALIDATION, Verdict.STOPPED, problem, figures)
    if reached:
        return _step(VALIDATION, Verdict.PASSED, f"it explains {share:.0%} of what can be known", figures)
    known = "nothing can be known of these rows" if share is None else f"it explains {share:.0%} of what can be known"
    within = f"{known}, below {R2_THRESHOLD:.0%}; not worse than its rival by more than {exp(MARGIN) - 1:.0%}"
    if gain is not None and gain.low > -MARGIN:
        return _step(VALIDATION, Verdict.PASSED, within, figures)
    return _step(VALIDATION, Verdict.STOPPED, f"the challenger is not better: {within} is not shown", figures)


def shadow(found: Duel) -> Step:
    """What the challenger would have said beside the champion, request by request, without being acted on; stopped as
    soon as it does harm beyond chance. By the canaries' test, which may be looked at after every block."""
    known = np.isfinite(found.gains)
    if found.champion_error is None:
        return _step(SHADOW, Verdict.SKIPPED, "there is no champion beside which it could be watched", {})
    truth = np.log(found.held_out.latency_ms[known])
    mine, theirs = (
        np.exp(np.abs(np.log(np.maximum(said[known], 0.1)) - truth)) for said in (found.said_ms, found.rivals_ms)
    )
    test, blocks = Ranks(), 0
    for first in range(0, len(truth), SHADOW_BLOCK):
        part = slice(first, first + SHADOW_BLOCK)
        test, blocks = test.with_block(mine[part].tolist(), theirs[part].tolist(), ratio=SHADOW_RATIO), blocks + 1
        if test.is_worse():
            break
    apart = np.abs(np.log(np.maximum(found.said_ms[known], 0.1) / np.maximum(found.rivals_ms[known], 0.1)))
    figures = {
        "requests": float(len(truth)),
        "blocks": float(blocks),
        "log_evidence_of_harm": round(test.log_e, 3),
        "differs_by": round(float(np.exp(apart.mean())), 4) if len(apart) else 1.0,
    }
    if test.is_worse():
        return _step(SHADOW, Verdict.STOPPED, f"in shadow it did harm by request {blocks * SHADOW_BLOCK}", figures)
    return _step(SHADOW, Verdict.PASSED, f"in shadow of {len(truth)} requests it did no harm", figures)


def ceiling(data: DataSet) -> float | None:
    """The R2 of log latency that means by cloud, function, place, size and load reach on the very rows, corrected for
    how many there are of them (the adjusted R2); None where nothing can be told."""
    known = np.isfinite(data.latency_ms)
    truth = np.log(data.latency_ms[known])
    columns = [data.features[known, data.feature_names.index(name)] for name in _GROUPS if name in data.feature_names]
    if "in_flight" in data.feature_names:
        columns.append(
            np.floor(np.log2(1 + np.maximum(0.0, data.features[known, data.feature_names.index("in_flight")])))
        )
    if len(truth) < FEWEST_ROWS or not columns:
        return None
    _, group = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    group = np.ravel(group)
    count = np.bincount(group)
    means = np.bincount(group, weights=truth) / count
    total, left = float(np.sum((truth - truth.mean()) ** 2)), float(np.sum((truth - means[group]) ** 2))
    free = len(truth) - len(count)
    if total <= 0 or free <= 0:
        return None
    return 1 - (left / free) * (len(truth) - 1) / total


def _problem(found: Duel, figures: Mapping[str, float]) -> str | None:
    if found.challenger_error is None or not np.isfinite(found.challenger_error):
        return "the challenger's error could not be measured"
    for name, of_group in _groups(found):
        if len(of_group) >= FEWEST_OF_GROUP:
            gain = evaluate.gain(of_group)
            if gain is not None and gain.high < -GROUP_MARGIN:
                return f"the challenger is not better: for {name} it is worse by a factor of {exp(-gain.value):.2f}"
    harm = figures.get("brier_harm_low")
    if harm is not None and harm > BRIER_MARGIN:
        return f"what it says of success is worse than the champion's (Brier score by {harm:.3f} at least)"
    return None


def _groups(found: Duel) -> Sequence[tuple[str, Floats]]:
    rows = found.held_out
    codes = rows.features[:, rows.feature_names.index(PROVIDER_COLUMN)]
    groups = [(provider.value, found.gains[codes == code]) for code, provider in enumerate(Provider)]
    types = rows.features[:, rows.feature_names.index("function_type_encoded")]
    groups += [(f"function type {code:.0f}", found.gains[types == code]) for code in np.unique(types)]
    return [(name, gains[np.isfinite(gains)]) for name, gains in groups]


def _figures(found: Duel, trained: Trained, model: Model) -> dict[str, float]:
    rows = found.held_out
    figures: dict[str, float | None] = {
        "held_out": float(len(rows)),
        "error": found.challenger_error,
        "champion_error": found.champion_error,
        "baseline_error": found.constant_error,
    }
    known = np.isfinite(rows.latency_ms)
    logs = evaluate.errors(np.log(np.maximum(found.said_ms[known], 0.1)), np.log(rows.latency_ms[known]))
    figures["r2_log_latency"] = logs.r2 if logs else None
    figures["ceiling"] = top = ceiling(rows)
    figures["share_of_ceiling"] = logs.r2 / top if logs and logs.r2 is not None and top and top > 0 else None
    said = {LATENCY: found.said_ms, SUCCESS: found.success}
    said |= {fit.target: fit.predict(rows.features) for fit in trained.fits if fit.target == COST}
    for target, groups in evaluate.by_target(said, rows).items():
        figures[f"mae.{target}"] = groups["all"].mean_absolute if "all" in groups else None
        figures[f"r2.{target}"] = groups["all"].r2 if "all" in groups else None
    for name, of_group in _groups(found):
        figures[f"gain.{name}"] = float(of_group.mean()) if len(of_group) else None
    if found.gain is not None:
        figures |= {"gain": found.gain.value, "gain_low": found.gain.low, "gain_high": found.gain.high}
    figures |= {**_of_success(found), **_of_quantiles(rows, model)}
    return {name: float(f"{value:.5g}") for name, value in figures.items() if value is not None and np.isfinite(value)}


def _of_success(found: Duel) -> Mapping[str, float]:
    truth = found.held_out.success
    own = (found.success - truth) ** 2
    edges = np.clip((found.success * 10).astype(int), 0, 9)
    bins = [edges == each for each in range(10)]
    off = sum(abs(float(np.sum(found.success[rows] - truth[rows]))) for rows in bins) / max(1, len(truth))
    figures = {"brier": float(own.mean()), "calibration_error": off}
    if found.champions_success is not None:
        harm = evaluate.gain(own - (found.champions_success - truth) ** 2)
        figures |= {"brier_harm_low": harm.low} if harm is not None else {}
    return figures


def _of_quantiles(rows: DataSet, model: Model) -> Mapping[str, float]:
    """Of the shares that the quantiles name, how many answers were really within them."""
    known = rows.rows(np.flatnonzero(np.isfinite(rows.latency_ms))[-2_000:])
    said = [model.latency_quantiles(row) for row in export.serving_rows(known).tolist()]
    return {
        f"within_p{share * 100:.0f}": float(np.mean(known.latency_ms <= [each[share] for each in said]))
        for share in model.quantile_shares
    }


def _step(name: str, verdict: Verdict, reason: str, figures: Mapping[str, float]) -> Step:
    return Step(name=name, verdict=verdict, reason=reason, figures=figures)
