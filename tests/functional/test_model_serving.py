"""Which model decides: the packaged one, a newer published one, or the labelled baseline when neither can."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from fiso.domain.model import SignedManifest
from fiso.learning.signing import signed
from fiso.ports import ModelFiles
from fiso.prediction import features
from fiso.prediction.manifest import Golden
from fiso.services.freshness.cached import FRESH_S
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryModelStore
from fiso_cli.training import keys
from tests.builders import a_request, failing
from tests.functional.orchestrator_rig import Rig
from tests.models import a_signer, an_artifact, files_of

GOOD = files_of(an_artifact())
NEWER = files_of(an_artifact(version="newer"), version="newer")


def pointing(published: ModelFiles, **changes: Any) -> ModelFiles:
    return replace(published, pointer=replace(published.pointer, **changes))


def manifested(published: ModelFiles, **changes: str) -> ModelFiles:
    assert published.pointer.manifest is not None
    return pointing(published, manifest=replace(published.pointer.manifest, **changes))


FOREIGN_KEY = keys.new()
GOLDEN = Golden(row=tuple(0.0 for _ in features.NAMES), latency_ms=100.1, success_probability=0.99)
REFUSED = {
    "damaged": replace(GOOD, artifact=GOOD.artifact[:-20] + bytes(20)),
    "foreign schema": files_of(an_artifact(feature_names=["phase_of_the_moon"])),
    "wrong digest": pointing(GOOD, sha256="0" * 64),
    "another version than the pointer says": files_of(an_artifact(), version="other"),
    "not signed": pointing(GOOD, manifest=None),
    "signed with a key that is not trusted": signed(GOOD, FOREIGN_KEY),
    "signed by another under a trusted key's name": manifested(signed(GOOD, FOREIGN_KEY), key_id=a_signer().public.id),
    "a signature of something else": manifested(GOOD, text=(NEWER.pointer.manifest or SignedManifest(text="")).text),
    "a signature that is no base64": manifested(GOOD, signature="*"),
    "a manifest of other features": files_of(an_artifact(), feature_names=("memory_mb",)),
    "a golden row that comes out otherwise": files_of(an_artifact(), golden=(GOLDEN,)),
}


def test_the_packaged_model_decides_from_the_first_request_on() -> None:
    record = Rig(failing(OK), layer=InMemoryModelStore(GOOD)).orchestrator.route(a_request()).record
    assert (record.decision.prediction_source, record.decision.model_version) == ("model", "by-hand")


def test_without_a_model_the_baseline_answers_by_its_own_name() -> None:
    rig = Rig(failing(OK))
    record = rig.orchestrator.route(a_request()).record
    assert (record.decision.prediction_source, record.decision.model_version) == ("baseline", "baseline")
    assert rig.metrics.total("BaselinePredictions") == 1


@pytest.mark.parametrize("published", REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_must_not_serve_counts_an_alert_and_the_baseline_answers(published: ModelFiles) -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(published))
    routed = rig.orchestrator.route(a_request())
    assert routed.error is None
    assert routed.record.decision.prediction_source == "baseline"
    assert rig.metrics.total("ModelRefused") == 1


@pytest.mark.parametrize("published", REFUSED.values(), ids=REFUSED.keys())
def test_a_published_model_that_must_not_serve_leaves_the_packaged_one_serving(published: ModelFiles) -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.models.publish(published, replaces=None)
    rig.orchestrator.route(a_request())
    record = rig.orchestrator.route(a_request(invocation_id="second")).record
    assert record.decision.model_version == "by-hand"
    assert rig.metrics.total("ModelRefused") == 1


def test_a_refused_model_is_not_fetched_at_every_look() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    bad = REFUSED["damaged"]
    rig.models.publish(pointing(bad, version="damaged"), replaces=None)
    for number in range(30):
        rig.orchestrator.route(a_request(invocation_id=str(number)))
        rig.clock.advance(FRESH_S + 0.1)
    assert 2 <= rig.metrics.total("ModelRefused") <= 4


def test_a_newly_published_model_serves_without_a_restart() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.orchestrator.route(a_request())
    rig.models.publish(NEWER, replaces=None)
    rig.clock.advance(FRESH_S + 0.1)
    rig.orchestrator.route(a_request(invocation_id="second"))
    assert rig.orchestrator.route(a_request(invocation_id="third")).record.decision.model_version == "newer"


def test_a_new_environment_decides_its_first_request_with_the_published_model() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.models.publish(NEWER, replaces=None)
    assert rig.orchestrator.route(a_request()).record.decision.model_version == "newer"


@pytest.mark.parametrize("published", REFUSED.values(), ids=REFUSED.keys())
def test_a_new_environment_falls_back_to_the_champion_before_the_refused_one(published: ModelFiles) -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.models.publish(NEWER, replaces=None)
    bad = pointing(published, version="bad", previous=NEWER.pointer)
    rig.models.publish(replace(bad, artifact=published.artifact), replaces=NEWER.pointer)
    assert rig.orchestrator.route(a_request()).record.decision.model_version == "newer"
    assert rig.metrics.total("ModelRefused") == 1


def test_a_model_signed_for_the_code_package_is_not_trusted_in_the_bucket() -> None:
    """Whoever trained the packaged model may not replace a stage's own."""
    packaged = keys.new()
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.models.publish(signed(NEWER, packaged), replaces=None)
    rig.orchestrator.route(a_request())
    assert rig.orchestrator.route(a_request(invocation_id="second")).record.decision.model_version == "by-hand"


def test_nothing_of_a_file_is_unpickled_before_its_manifest_was_verified() -> None:
    """The interpreter tells of every global that an unpickler looks up; a refused file causes none."""
    looked_up: list[object] = []
    hostile = replace(GOOD, artifact=b"cos\nsystem\n(S'true'\ntR.")

    def heard(event: str, details: tuple[object, ...]) -> None:
        if event == "pickle.find_class":
            looked_up.append(details)

    sys.addaudithook(heard)
    rig = Rig(failing(OK), layer=InMemoryModelStore(hostile))
    assert rig.orchestrator.route(a_request()).record.decision.prediction_source == "baseline"
    assert looked_up == []
