"""A step: the endpoint that is called most becomes three times slower; the folded state alone turns routing away."""

import pytest

from fiso.testing.rig import Rig, word_count

WITHIN = {105.0: 32, 120.0: 32, 150.0: 25, 200.0: 25}
"""Requests after which nearly none goes there any more, by another's latency; the best took 100 ms, the third 180."""


@pytest.mark.parametrize("second_ms", WITHIN)
def test_routing_leaves_an_endpoint_that_became_three_times_slower(second_ms: float) -> None:
    rig = Rig(word_count(), seed=1)
    for endpoint, latency_ms in (("aws-us-east-1", 100.0), ("azure-eastus", second_ms), ("gcp-us-east4", 180.0)):
        rig.slow(endpoint, latency_ms)
    assert _called(rig, 150)[-30:].count("aws-us-east-1") > 15
    rig.slow("aws-us-east-1", 300.0)
    _called(rig, WITHIN[second_ms])
    assert _called(rig, 20).count("aws-us-east-1") <= 1


def _called(rig: Rig, requests: int) -> list[str]:
    """Whom each request called first; each is folded before the next."""
    first = []
    for _ in range(requests):
        called = len(rig.calls)
        assert rig.invoke("word-count", body="a b").status == 200
        first.append(str(rig.calls[called]))
        rig.fold()
        rig.advance(1.0)
    return first
