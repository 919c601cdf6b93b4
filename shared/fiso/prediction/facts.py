"""Facts: what is published of the three clouds, to expect something of an endpoint before it was ever called.

Processors: Lambda gives one vCPU at 1,769 MB and a part of it below (docs.aws.amazon.com/lambda, "Configure Lambda
function memory"); Google's by its table; Azure's consumption plan gives every instance one. More than one processor
does not make one call faster.

Load: Lambda and Google's functions run one request per instance, so that others in flight do not slow a request down.
Azure runs several in one instance and adds at most one instance per second for HTTP triggers
(learn.microsoft.com/azure/azure-functions/event-driven-scaling).
"""

from functools import lru_cache
from math import log, sqrt

from fiso.billing.tariff import gcp_vcpu
from fiso.domain.endpoint import Endpoint, Provider

AWS_FULL_CPU_MB = 1769
USUAL_MS = 300.0
"""A call of a function nothing is known of, on a whole processor. Only ratios between copies matter until one answers.
"""


def cpu_share(endpoint: Endpoint) -> float:
    """In (0, 1]: how much of one processor a copy gets."""
    return _cpu_share(endpoint.provider, endpoint.memory_mb)


def _cpu_share(provider: Provider, memory_mb: int) -> float:
    if provider is Provider.AWS:
        return min(1.0, memory_mb / AWS_FULL_CPU_MB)
    if provider is Provider.GCP:
        return min(1.0, gcp_vcpu(memory_mb))
    return 1.0


def slowdown(provider: Provider, in_flight: float) -> float:
    """How many times longer a call takes among so many in flight, at least 1.

    Azure: n calls of one second arrive at one instance and one more instance is added each second. After t seconds
    t + t^2 / 2 seconds of work are done, so the n are done at sqrt(1 + 2 n) - 1.
    """
    if provider is not Provider.AZURE:
        return 1.0
    return max(1.0, sqrt(1 + 2 * max(0.0, in_flight)) - 1)


def smallness(endpoint: Endpoint) -> float:
    """The logarithm of how many times less than one processor a copy gets, at least 0."""
    return _smallness(endpoint.provider, endpoint.memory_mb)


@lru_cache(maxsize=1024)
def _smallness(provider: Provider, memory_mb: int) -> float:
    return -log(_cpu_share(provider, memory_mb))
