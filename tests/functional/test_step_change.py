"""A step: the endpoint that is called most becomes three times slower; the folded state alone turns routing away."""

from collections import Counter

import pytest

from fiso.testing.rig import Rig, word_count

LATENCY_MS = {"aws-us-east-1": 100.0, "azure-eastus": 150.0, "gcp-us-east4": 180.0}
WITHIN = 20
"""Requests."""


@pytest.mark.parametrize("seed", range(3))
def test_routing_leaves_an_endpoint_that_became_three_times_slower_within_20_requests(seed: int) -> None:
    rig = Rig(word_count(), seed=seed)
    for endpoint, latency_ms in LATENCY_MS.items():
        rig.slow(endpoint, latency_ms)
    assert _most_called(rig, 150, last=30) == "aws-us-east-1"
    rig.slow("aws-us-east-1", 300.0)
    _most_called(rig, WITHIN, last=WITHIN)
    assert _most_called(rig, 20, last=20) != "aws-us-east-1"


def _most_called(rig: Rig, requests: int, *, last: int) -> str:
    first = []
    for _ in range(requests):
        called = len(rig.calls)
        assert rig.invoke("word-count", body="a b").status == 200
        first.append(str(rig.calls[called]))
        rig.fold()
        rig.advance(1.0)
    return Counter(first[-last:]).most_common(1)[0][0]
