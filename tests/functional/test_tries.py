"""Tries end to end: what is called to learn, and how often."""

from collections import Counter

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.testing.rig import Rig, word_count
from fiso_client.core.failures import Failure


@pytest.mark.parametrize("failure", [Failure.THROTTLED, Failure.UNREACHABLE, Failure.TIMED_OUT])
def test_a_copy_that_never_answers_is_tried_within_the_policys_share(failure: Failure) -> None:
    rig = Rig(word_count(exploration=0.05))
    rig.fail("azure-eastus", failure)
    for _ in range(300):
        assert rig.invoke("word-count").status == 200
        rig.fold()
        rig.advance(1.0)
    # two for each of three copies are free, and 15 of 300 requests; a breaker's probes come on top
    assert Counter(rig.calls)[EndpointId("azure-eastus")] <= 6 + 15 + 5


def test_a_record_says_what_a_try_was_for() -> None:
    rig = Rig(word_count(exploration=0.05))
    for _ in range(40):
        rig.invoke("word-count")
        rig.fold()
        rig.advance(1.0)
    tried = [record for record in rig.records if record.decision.tried_for is not None]
    assert tried[0].decision.tried_for == "new_copy"
    assert {record.decision.reason for record in tried} == {"explore"}
    assert {record.result.endpoint for record in tried} >= {"azure-eastus", "gcp-us-east4"}
