"""Data quality: whether what a retraining read may be learned from. The first of its steps.

Bad rows were left out and counted when the data set was built (`dataset.Wrong`); too many of them are no accident, and
stop it. A feature that tells the answer by itself was logged after it: what learns from that serves nonsense.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from fiso.domain.endpoint import Provider
from fiso.domain.model import Step, Verdict
from fiso.learning.dataset import DataSet, Floats, Wrong
from fiso.learning.evaluate import PROVIDER_COLUMN

NAME = "data_quality_check"
MOST_QUARANTINED = 0.2
"""Of what was read, those that stand there twice apart: leaving them out heals that."""
LEAKS_AT = 0.999
"""The rank correlation with latency beyond which a feature is no cause of it but a copy."""
FEWEST_TO_LEAK = 100


def check(data: DataSet) -> Step:
    """The verdict on a data set, with what it was made of."""
    leak, wrong = leaking(data), sum(n for name, n in data.quarantined.items() if name != Wrong.TWICE.value)
    share = wrong / max(1, wrong + len(data))
    named = ", ".join(f"{count} {name}" for name, count in data.quarantined.items()) or "none"
    if share > MOST_QUARANTINED:
        verdict, reason = (
            Verdict.STOPPED,
            f"{share:.0%} of the records cannot be true ({named}); {MOST_QUARANTINED:.0%} may",
        )
    elif leak:
        verdict, reason = Verdict.STOPPED, f"{leak} tells the latency by itself: it was logged after the answer"
    else:
        verdict, reason = Verdict.PASSED, f"{len(data)} rows, quarantined: {named}"
    return Step(name=NAME, verdict=verdict, reason=reason, figures=_figures(data, share))


def leaking(data: DataSet) -> str | None:
    """The feature that orders latencies as they are, if there is one: by as many values as there are rows, since a
    name, or a size, may well tell all there is to tell."""
    known = np.isfinite(data.latency_ms)
    latency = data.latency_ms[known]
    if len(latency) < FEWEST_TO_LEAK or np.ptp(latency) == 0:
        return None
    wanted = rankdata(latency)
    for column, name in enumerate(data.feature_names):
        values = data.features[known, column]
        if len(np.unique(values)) > len(values) // 2 and abs(_correlation(rankdata(values), wanted)) >= LEAKS_AT:
            return name
    return None


def _correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def _figures(data: DataSet, share: float) -> Mapping[str, float]:
    figures = {
        "rows": float(len(data)),
        "quarantined_share": round(share, 4),
        "tenants": float(len(np.unique(data.tenant))),
    }
    figures |= {f"quarantined.{name}": float(count) for name, count in data.quarantined.items()}
    if not len(data):
        return figures
    codes = data.features[:, data.feature_names.index(PROVIDER_COLUMN)]
    figures |= {
        f"share.{provider.value}": round(float(np.mean(codes == code)), 4) for code, provider in enumerate(Provider)
    }
    window = float(data.at[-1] - data.at[0])
    figures["success_share"] = round(float(data.success.mean()), 4)
    figures["window_h"] = round(window / 3600, 2)
    figures["longest_gap_h"] = round(float(np.diff(data.at).max(initial=0.0)) / 3600, 2)
    return figures
