"""Which model decides: the packaged one or a newer published one. Those that must not serve: `tests/security`."""

from dataclasses import replace

import numpy as np
import pytest

from fiso.domain.record import DecisionSummary
from fiso.learning import dataset, export, training
from fiso.learning.training import TrainingSettings
from fiso.ports import ModelFiles
from fiso.prediction import manifest
from fiso.services.freshness.cached import FRESH_S
from fiso.testing.memory import InMemoryModelStore
from fiso.testing.rig import Rig, Stores, word_count
from tests.builders import NOW
from tests.functional.test_retrain import a_log
from tests.models import a_signer, an_artifact, files_of, trusted, trusting

GOOD = files_of(an_artifact())
NEWER = files_of(an_artifact(version="newer"), version="newer")
DAMAGED = replace(GOOD, artifact=GOOD.artifact[:-20] + bytes(20))


def a_rig() -> Rig:
    """With a packaged model."""
    return Rig(word_count(), stores=Stores(layer=InMemoryModelStore(GOOD)), ports=trusting)


def decision_of(rig: Rig) -> DecisionSummary:
    """The next request's."""
    rig.invoke("word-count")
    return rig.records[-1].decision


def test_the_packaged_model_decides_from_the_first_request_on() -> None:
    decision = decision_of(a_rig())
    assert (decision.prediction_source, decision.model_version) == ("model", "by-hand")


def test_without_a_model_the_baseline_answers_by_its_own_name() -> None:
    rig = Rig()
    decision = decision_of(rig)
    assert (decision.prediction_source, decision.model_version) == ("baseline", "baseline")
    assert rig.metrics.total("BaselinePredictions") == 1


def test_a_refused_model_is_not_fetched_at_every_look() -> None:
    rig = a_rig()
    rig.stores.models.publish(replace(DAMAGED, pointer=replace(DAMAGED.pointer, version="damaged")), replaces=None)
    for _ in range(30):
        rig.invoke("word-count")
        rig.clock.advance(FRESH_S + 0.1)
    assert 2 <= rig.metrics.total("ModelRefused") <= 4


def test_a_newly_published_model_serves_without_a_restart() -> None:
    rig = a_rig()
    decision_of(rig)
    rig.stores.models.publish(NEWER, replaces=None)
    rig.clock.advance(FRESH_S + 0.1)
    decision_of(rig)
    assert decision_of(rig).model_version == "newer"


def test_a_new_environment_decides_its_first_request_with_the_published_model() -> None:
    rig = a_rig()
    rig.stores.models.publish(NEWER, replaces=None)
    assert decision_of(rig).model_version == "newer"


def test_training_reads_the_very_features_that_serving_predicted_from() -> None:
    """What a published model says of the rows of the data set is what was predicted when they were decided."""
    files = published()
    rig = Rig(word_count(), stores=Stores(layer=InMemoryModelStore(files)), ports=trusting)
    for number in range(12):
        rig.invoke("word-count", body="x" * (number * 200))
        rig.advance(7.0)
        rig.fold()
    data = dataset.build(rig.records)
    model = manifest.read(files.pointer, files.artifact, trusted())
    said = [output.latency_ms for output in model.predict_all(export.serving_rows(data).tolist())]
    known = np.isfinite(data.served_latency_ms)
    assert known.any()
    assert data.served_latency_ms[known] == pytest.approx(np.array(said)[known], rel=1e-6)


def published() -> ModelFiles:
    """Of all features, learned from records."""
    made = training.train(
        dataset.build(a_log(400)), TrainingSettings(version_prefix="t", trained_at=NOW, with_quantiles=False)
    )
    return export.signed(made.files, a_signer())
