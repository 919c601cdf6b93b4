"""What a prediction costs beside scikit-learn's own, in one run: ratios, since a machine's speed is not ours."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from fiso.learning.export import serving_rows
from fiso.prediction import artifact
from tests.models import generated_halves, packaged, trained

LEAST_RATIO = 20.0


def best_of(times: int, action: Callable[[], object]) -> float:
    """Seconds of the fastest run: the one that was disturbed least."""
    durations = []
    for _ in range(times):
        start = perf_counter()
        action()
        durations.append(perf_counter() - start)
    return min(durations)


def test_three_candidates_cost_a_fraction_of_what_the_same_trees_cost_in_scikit_learn() -> None:
    files = packaged()
    model = artifact.read(files.artifact, sha256=files.pointer.sha256)
    rows = serving_rows(generated_halves().held_out)[:3].tolist()
    seen = np.ascontiguousarray(generated_halves().held_out.features[:3])
    ours_s = best_of(50, lambda: [model.predict(row) for row in rows])
    theirs_s = best_of(10, lambda: [fit.predict(seen) for fit in trained().fits])
    assert theirs_s / ours_s >= LEAST_RATIO


def test_opening_a_model_costs_less_than_a_handful_of_scikit_learns_predictions() -> None:
    files = packaged()
    seen = generated_halves().held_out.features[:1]
    open_s = best_of(10, lambda: artifact.read(files.artifact, sha256=files.pointer.sha256))
    theirs_s = best_of(10, lambda: [fit.predict(seen) for fit in trained().fits])
    assert open_s <= 5 * theirs_s
