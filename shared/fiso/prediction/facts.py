"""Facts: what is published of the three clouds, to expect something of an endpoint before it was ever called.

Processors: Lambda gives one vCPU at 1,769 MB and a part of it below (docs.aws.amazon.com/lambda, "Configure Lambda
function memory"); Google's by its table; Azure's consumption plan gives every instance one. More than one processor
does not make one call faster.

Load: Lambda and Google's functions run one request per instance, so that others in flight do not slow a request down.
Azure's Consumption plan runs several in one instance and adds at most one instance per second for HTTP triggers; Flex
Consumption, by which copies are taken to run that say no plan, scales each function by a target of concurrency
(learn.microsoft.com/azure/azure-functions/event-driven-scaling).
"""

from functools import lru_cache
from math import log, sqrt

from fiso.billing.plans import gcp_vcpu
from fiso.domain.endpoint import Endpoint, Plan, Provider
from fiso.prediction import features

AWS_FULL_CPU_MB = 1769
USUAL_MS = 300.0
"""A call of a function nothing is known of, on a whole processor. Only ratios between copies matter until one answers.
"""


def cpu_share(endpoint: Endpoint) -> float:
    """In (0, 1]: how much of one processor a copy gets."""
    return _cpu_share(endpoint.provider, endpoint.memory_mb, endpoint.vcpu)


def _cpu_share(provider: Provider, memory_mb: int, vcpu: float | None) -> float:
    if vcpu is not None:
        return min(1.0, vcpu)
    if provider is Provider.AWS:
        return min(1.0, memory_mb / AWS_FULL_CPU_MB)
    if provider is Provider.GCP:
        return min(1.0, gcp_vcpu(memory_mb))
    return 1.0


def slowdown(endpoint: Endpoint, in_flight: float) -> float:
    """How many times longer a call takes among so many in flight, at least 1.

    Azure's Consumption plan: n calls of one second arrive at one instance and one more instance is added each second.
    After t seconds t + t^2 / 2 seconds of work are done, so the n are done at sqrt(1 + 2 n) - 1.
    """
    if endpoint.plan is not Plan.CONSUMPTION:
        return 1.0
    # From t + t^2 / 2 = n, where a call takes 1: instances are added while the queue waits, not at once.
    return max(1.0, sqrt(1 + 2 * max(0.0, in_flight)) - 1)


def smallness(endpoint: Endpoint) -> float:
    """The logarithm of how many times less than one processor a copy gets, at least 0."""
    return _smallness(endpoint.provider, endpoint.memory_mb, endpoint.vcpu)


@lru_cache(maxsize=1024)
def _smallness(provider: Provider, memory_mb: int, vcpu: float | None) -> float:
    return -log(_cpu_share(provider, memory_mb, vcpu))


SAME_PLACE_MS = 5.0
# Medians over the clouds' own inter-region figures: AWS (cloudping.co, one-year p50), Azure ("Azure network round-trip
# latency statistics", March 2026), Google (Performance Dashboard, November 2023). Between clouds in one place 2 to 5 ms
# were measured (intercloud-throughput, February 2022).
_ROUND_TRIPS_MS = (
    (),
    (64,),
    (30, 40),
    (79, 135, 102),
    (92, 144, 110, 15),
    (113, 170, 133, 38, 32),
    (158, 108, 144, 217, 221, 246),
    (218, 166, 202, 168, 161, 190, 72),
    (202, 224, 229, 127, 133, 170, 130, 59),
    (118, 175, 143, 183, 198, 216, 264, 327, 314),
)
"""Row and column are the places of `features.PLACES`, the lower triangle."""


def round_trip_ms(router_region: str | None, region: str) -> float:
    """The published round trip in ms; 0 where either region is not known, so that nothing is taken off."""
    if router_region is None:
        return 0.0
    places = features.place(router_region), features.place(region)
    if places[0] is None or places[1] is None:
        return 0.0
    low, high = sorted((places[0], places[1]))
    return SAME_PLACE_MS if low == high else float(_ROUND_TRIPS_MS[high][low])
