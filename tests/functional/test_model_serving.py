"""Which model decides: the packaged one, a newer published one, or the labelled baseline when neither can."""

from dataclasses import replace
from hashlib import sha256

import pytest

from fiso.adapters.memory import InMemoryModelStore
from fiso.domain.model import ModelPointer
from fiso.ports import ModelFiles
from fiso.services.known import FRESH_S
from tests.builders import NOW, OK, a_request, failing
from tests.functional.orchestrator_rig import Rig
from tests.models import an_artifact, dumped

GOOD = dumped(an_artifact())
DAMAGED = GOOD[:-20] + bytes(20)
FOREIGN = dumped(an_artifact(feature_names=["phase_of_the_moon"]))


def files(artifact: bytes, version: str = "by-hand") -> ModelFiles:
    digest = sha256(artifact).hexdigest()
    pointer = ModelPointer(version=version, sha256=digest, trained_at=NOW, rows=1, is_synthetic=False)
    return ModelFiles(pointer=pointer, artifact=artifact, card={})


def with_wrong_digest(published: ModelFiles) -> ModelFiles:
    return replace(published, pointer=replace(published.pointer, sha256="0" * 64))


REFUSED = {
    "damaged": files(DAMAGED),
    "foreign schema": files(FOREIGN),
    "wrong digest": with_wrong_digest(files(GOOD)),
    "another version than the pointer says": files(GOOD, version="other"),
}


def test_the_packaged_model_decides_from_the_first_request_on() -> None:
    record = Rig(failing(OK), layer=InMemoryModelStore(files(GOOD))).orchestrator.route(a_request()).record
    assert (record.prediction_source, record.model_version) == ("model", "by-hand")


def test_without_a_model_the_baseline_answers_by_its_own_name() -> None:
    rig = Rig(failing(OK))
    record = rig.orchestrator.route(a_request()).record
    assert (record.prediction_source, record.model_version) == ("baseline", "baseline")
    assert rig.metrics.total("BaselinePredictions") == 1


@pytest.mark.parametrize("published", REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_must_not_serve_counts_an_alert_and_the_baseline_answers(published: ModelFiles) -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(published))
    routed = rig.orchestrator.route(a_request())
    assert routed.error is None
    assert routed.record.prediction_source == "baseline"
    assert rig.metrics.total("ModelRefused") == 1


@pytest.mark.parametrize("published", REFUSED.values(), ids=REFUSED.keys())
def test_a_published_model_that_must_not_serve_leaves_the_packaged_one_serving(published: ModelFiles) -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(files(GOOD)))
    rig.models.publish(published)
    rig.orchestrator.route(a_request())
    record = rig.orchestrator.route(a_request(invocation_id="second")).record
    assert record.model_version == "by-hand"
    assert rig.metrics.total("ModelRefused") == 1


def test_a_newly_published_model_serves_without_a_restart() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(files(GOOD)))
    rig.orchestrator.route(a_request())
    rig.models.publish(files(dumped(an_artifact(version="newer")), version="newer"))
    rig.clock.advance(FRESH_S + 0.1)
    rig.orchestrator.route(a_request(invocation_id="second"))
    assert rig.orchestrator.route(a_request(invocation_id="third")).record.model_version == "newer"


def test_a_new_environment_decides_its_first_request_with_the_published_model() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(files(GOOD)))
    rig.models.publish(files(dumped(an_artifact(version="newer")), version="newer"))
    assert rig.orchestrator.route(a_request()).record.model_version == "newer"
