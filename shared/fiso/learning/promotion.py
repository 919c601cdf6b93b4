"""Promotion: whether a challenger may take the champion's place. Both are judged on the same newest rows, which neither
has seen, by the geometric error of their raw latencies; the residual correction would help both alike.
"""

from dataclasses import dataclass

import numpy as np

from fiso.learning.dataset import Halves
from fiso.learning.train import FEWEST_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Promoted or not, and why, in words that stand on their own."""

    promoted: bool
    reason: str


def refusal_before_training(rows: int, *, new_rows: int, minimum_rows: int, minimum_new_rows: int) -> str | None:
    """Why these rows are not worth a training, or None."""
    if rows < minimum_rows:
        return f"too few rows: {rows} of the {minimum_rows} that are needed"
    if new_rows < minimum_new_rows:
        return f"too few new rows since the champion: {new_rows} of the {minimum_new_rows} that are needed"
    return None


def refusal_of_split(halves: Halves) -> str | None:
    """Why these halves cannot make and judge a model, or None."""
    for name, half in (("trained on", halves.train), ("held out", halves.held_out)):
        answered = half.latency_ms[np.isfinite(half.latency_ms)]
        if len(answered) < FEWEST_ROWS:
            return f"too few answered rows {name}: {len(answered)} of the {FEWEST_ROWS} that are needed"
        if np.ptp(answered) == 0:
            return f"latency is constant over the rows {name}: there is nothing to learn or to judge by"
    return None


def judge(
    *, champion_error: float | None, challenger_error: float | None, constant_error: float | None = None
) -> Verdict:
    """Promote when the challenger's error is the smaller one. Where there is no champion to compare with, it must at
    least not be worse than saying the usual latency of all requests each time (`constant_error`)."""
    if challenger_error is None or not np.isfinite(challenger_error):
        return Verdict(promoted=False, reason="the challenger's error could not be measured")
    if champion_error is None or not np.isfinite(champion_error):
        if constant_error is not None and challenger_error > constant_error:
            reason = f"no champion, and worse than a constant: {challenger_error:.3f} against {constant_error:.3f}"
            return Verdict(promoted=False, reason=reason)
        return Verdict(
            promoted=True, reason=f"no champion to compare with; the challenger's error is {challenger_error:.3f}"
        )
    comparison = f"latency error {challenger_error:.3f} against the champion's {champion_error:.3f}"
    if challenger_error >= champion_error:
        return Verdict(promoted=False, reason=f"the challenger is not better: {comparison}")
    return Verdict(promoted=True, reason=f"the challenger is better: {comparison}")
