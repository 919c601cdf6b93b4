import random

import numpy as np
import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.prediction import facts
from fiso.prediction.beliefs import BILL, LATENCY
from fiso.prediction.kinship import LARGEST_OWN_VARIANCE, LOG_OCTAVE, Kinship, Pool, Seen, Spot
from tests.builders import an_endpoint

COPIES = [
    an_endpoint(provider, id=EndpointId(f"{provider}-{memory_mb}"), memory_mb=memory_mb)
    for provider in Provider
    for memory_mb in (128, 512, 1024)
]


def covariance(kinship: Kinship, one: Spot, other: Spot) -> float:
    """The definition, effect by effect."""
    a, b = one.endpoint, other.endpoint
    shared = kinship.function**2 + kinship.smallness**2 * facts.smallness(a) * facts.smallness(b)
    if a.provider is b.provider:
        load = kinship.load[a.provider] * LOG_OCTAVE
        shared += kinship.provider**2 + load**2 * one.bucket * other.bucket
    if a.id == b.id:
        shared += kinship.endpoint**2 + (kinship.level**2 if one.bucket == other.bucket else 0.0)
    return shared


@pytest.mark.parametrize("kinship", [LATENCY, BILL])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_gaussian_process_with_that_covariance(kinship: Kinship, seed: int) -> None:
    rng = random.Random(seed)
    seen = [
        Seen(Spot(copy, bucket), rng.gauss(0, 1), rng.uniform(0.001, 0.5))
        for copy in rng.sample(COPIES, rng.randrange(1, 7))
        for bucket in rng.sample(range(6), rng.randrange(1, 4))
    ]
    asked = [Spot(copy, rng.randrange(6)) for copy in COPIES]
    found = kinship.expected(asked, seen)

    def between(left: list[Spot], right: list[Spot]) -> np.ndarray:
        return np.array([[covariance(kinship, a, b) for b in right] for a in left])

    spots = [item.spot for item in seen]
    cross = between(asked, spots)
    gain = cross @ np.linalg.inv(between(spots, spots) + np.diag([item.noise for item in seen]))
    left = between(asked, asked) - gain @ cross.T
    own = np.diag(left)
    best = int(np.argmin(own))
    against = np.minimum(own, own + own[best] - 2 * left[best])
    against[best] = min(own[best], LARGEST_OWN_VARIANCE)
    assert [item.residual for item in found] == pytest.approx(gain @ [item.residual for item in seen])
    assert [item.variance for item in found] == pytest.approx(against)


def test_a_pool_shares_what_was_seen_and_trusts_a_copys_own() -> None:
    # one copy seen at 2 with noise .5: shared 2 * (1 / 1) / (1 / 1 + 1) = 1, own 1 + .5 * (2 - 1)
    seen, unseen = Pool(shared=1.0, own=0.5).expected([(2.0, 0.5), None])
    assert (seen.residual, unseen.residual) == pytest.approx((1.5, 1.0))
    assert (seen.variance, unseen.variance) == pytest.approx((0.25, 0.5))


def test_a_pool_that_saw_nothing_says_nothing() -> None:
    assert [item.residual for item in Pool(shared=1.0, own=0.5).expected([None, None])] == [0.0, 0.0]
