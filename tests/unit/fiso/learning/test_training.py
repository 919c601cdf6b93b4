"""One training function for the retrainer, the platforms and the command line."""

from dataclasses import replace

import numpy as np
import pytest

from fiso.domain.errors import ModelRefused
from fiso.learning import dataset, training
from fiso.learning.dataset import DataSet
from fiso.learning.train import Family, Fit, train
from fiso.learning.training import TrainingSettings
from fiso.prediction import artifact, manifest
from fiso.prediction.artifact import SUCCESS
from tests.functional.test_retrain import AFTER, a_log

SETTINGS = TrainingSettings(version_prefix="t", trained_at=AFTER, parent="m-1")


def rows(count: int = 400) -> DataSet:
    return dataset.build(a_log(count))


@pytest.mark.parametrize("family", Family)
def test_the_same_rows_and_settings_make_the_same_bytes(family: Family) -> None:
    wanted = replace(SETTINGS, families=(family,))
    one, other = training.train(rows(), wanted), training.train(rows(), wanted)
    assert one.files == other.files
    assert one.files.card["family"] == family.value


def test_lineage_is_in_the_manifest() -> None:
    made = training.train(rows(), SETTINGS).files
    assert made.pointer.manifest is not None
    stated = manifest.restated(made.pointer.manifest, stage="s", number=1)
    for part in ('"parent":"m-1"', '"rows_since":', '"rows_until":', '"rows_sha256":'):
        assert part in stated.text
    assert made.card["parent"] == "m-1"


def test_of_several_families_the_best_is_taken_and_all_are_told() -> None:
    made = training.train(rows(), replace(SETTINGS, families=tuple(Family)))
    assert set(made.errors) == set(Family)
    assert made.trained.family is min(made.errors, key=lambda each: made.errors[each])


def test_too_little_to_learn_from_is_one_line() -> None:
    with pytest.raises(ModelRefused, match="too few answered rows"):
        training.train(rows(10), SETTINGS)


def test_latency_quantiles_are_ordered_and_cover_what_they_say() -> None:
    made = training.train(rows(3_000), SETTINGS)
    model = artifact.read(made.files.artifact, sha256=made.files.pointer.sha256)
    held_out = made.halves.held_out
    said = [model.latency_quantiles(row) for row in held_out.features.tolist()]
    assert all(list(each) == [0.5, 0.95] and each[0.5] <= each[0.95] for each in said)
    covered = np.mean(held_out.latency_ms <= [each[0.95] for each in said])
    assert 0.9 < covered < 0.99


def test_a_model_without_quantiles_says_none() -> None:
    made = training.train(rows(), replace(SETTINGS, with_quantiles=False))
    assert artifact.read(made.files.artifact, sha256=made.files.pointer.sha256).latency_quantiles([0.0] * 11) == {}


def test_success_is_calibrated() -> None:
    """Failures that follow from nothing: an estimator of few rows sees a pattern in them, and is called back."""
    draw = np.random.default_rng(1)
    data = rows(1_000)
    chance = replace(data, success=(draw.random(len(data)) < 0.8).astype(float))
    fit = train(chance).fit_of(SUCCESS)
    unseen = (draw.random(len(data)) < 0.8).astype(float)
    assert brier(fit, data, unseen) < brier(replace(fit, line=replace(fit.line, offset=0.0, slope=1.0)), data, unseen)


def brier(fit: Fit, data: DataSet, truth: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.mean((np.clip(fit.predict(data.features), 0, 1) - truth) ** 2))
