"""Siblings: what the other copies of a function say of one that was never called. Standard library only.

The function decides most of a latency, the share of a processor that comes with the memory most of the rest:
a copy is expected to take a sibling's time scaled by their shares. Published shares: Lambda gives one vCPU at 1,769 MB
and a part of it below (docs.aws.amazon.com/lambda, "Configure Lambda function memory"); Google's by its table; Azure's
consumption plan gives every instance one. More than one processor does not make one call faster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log

from fiso.billing.tariff import gcp_vcpu
from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.state import EndpointState

AWS_FULL_CPU_MB = 1769


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A copy of the same function whose warm latency is known."""

    endpoint: Endpoint
    state: EndpointState


def latency_ms(endpoint: Endpoint, siblings: Iterable[Sibling]) -> float | None:
    """The geometric mean of the siblings' latencies, scaled to this copy's share of a processor; None without any."""
    own = cpu_share(endpoint)
    scaled = [
        log(sibling.state.latency_ms * cpu_share(sibling.endpoint) / own)
        for sibling in siblings
        if sibling.state.latency_ms
    ]
    return exp(sum(scaled) / len(scaled)) if scaled else None


def cpu_share(endpoint: Endpoint) -> float:
    """In (0, 1]: how much of one processor a copy gets."""
    if endpoint.provider is Provider.AWS:
        return min(1.0, endpoint.memory_mb / AWS_FULL_CPU_MB)
    if endpoint.provider is Provider.GCP:
        return min(1.0, gcp_vcpu(endpoint.memory_mb))
    return 1.0
