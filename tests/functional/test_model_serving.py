"""Which model decides: the packaged one or a newer published one. Those that must not serve: `tests/security`."""

from dataclasses import replace

from fiso.services.freshness.cached import FRESH_S
from fiso.testing.endpoints import OK
from fiso.testing.memory import InMemoryModelStore
from tests.builders import a_request, failing
from tests.functional.orchestrator_rig import Rig
from tests.models import an_artifact, files_of

GOOD = files_of(an_artifact())
NEWER = files_of(an_artifact(version="newer"), version="newer")


DAMAGED = replace(GOOD, artifact=GOOD.artifact[:-20] + bytes(20))


def test_the_packaged_model_decides_from_the_first_request_on() -> None:
    record = Rig(failing(OK), layer=InMemoryModelStore(GOOD)).orchestrator.route(a_request()).record
    assert (record.decision.prediction_source, record.decision.model_version) == ("model", "by-hand")


def test_without_a_model_the_baseline_answers_by_its_own_name() -> None:
    rig = Rig(failing(OK))
    record = rig.orchestrator.route(a_request()).record
    assert (record.decision.prediction_source, record.decision.model_version) == ("baseline", "baseline")
    assert rig.metrics.total("BaselinePredictions") == 1


def test_a_refused_model_is_not_fetched_at_every_look() -> None:
    rig = Rig(failing(OK), layer=InMemoryModelStore(GOOD))
    rig.models.publish(replace(DAMAGED, pointer=replace(DAMAGED.pointer, version="damaged")), replaces=None)
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
