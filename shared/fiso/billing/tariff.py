"""What a call costs: each provider's rule for billed duration and memory, applied to its dated list price.

List prices only: no free tier, egress or discount. A region without a price gives None, which makes an endpoint
unpriced; a missing price is never 0.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

from fiso.domain.endpoint import Endpoint, Provider

GCP_VCPU_BY_MEMORY_MB = (
    (128, 0.083),
    (256, 0.167),
    (512, 0.333),
    (1024, 0.583),
    (2048, 1.0),
    (8192, 2.0),
    (32768, 8.0),
)
"""Default vCPU of a Cloud Run function by memory (cloud.google.com/functions/docs/configuring/memory)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Dated prices of the three clouds. Prices in USD; `as_of` an ISO date."""

    version: str
    as_of: str
    per_request: Mapping[Provider, float]
    per_gb_second: Mapping[tuple[Provider, str], float]
    per_vcpu_second: Mapping[str, float]

    def cost_usd(self, endpoint: Endpoint, duration_ms: float, *, billed_ms: float | None = None) -> float | None:
        """The bill for one call of `duration_ms`, or of the provider's own `billed_ms` where it said so.

        None when the endpoint's region has no price here.
        """
        per_gb_second = self.per_gb_second.get((endpoint.provider, endpoint.region))
        if per_gb_second is None:
            return None
        usage = _USAGE[endpoint.provider](endpoint.memory_mb, duration_ms if billed_ms is None else billed_ms)
        compute = usage.gb_seconds * per_gb_second + usage.vcpu_seconds * self.per_vcpu_second.get(endpoint.region, 0.0)
        return compute + self.per_request[endpoint.provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    gb_seconds: float
    vcpu_seconds: float = 0.0


def aws_usage(memory_mb: int, duration_ms: float) -> Usage:
    """Configured memory, duration rounded up to 1 ms."""
    return Usage(gb_seconds=memory_mb / 1024 * ceil(duration_ms) / 1000)


def azure_usage(memory_mb: int, duration_ms: float) -> Usage:
    """Consumption plan: memory rounded up to 128 MB, at least 100 ms, else to the millisecond."""
    memory_gb = ceil(memory_mb / 128) * 128 / 1024
    return Usage(gb_seconds=memory_gb * max(100, ceil(duration_ms)) / 1000)


def gcp_usage(memory_mb: int, duration_ms: float) -> Usage:
    """Request-based billing: configured memory and its vCPU, duration rounded up to 100 ms."""
    seconds = ceil(duration_ms / 100) * 100 / 1000
    return Usage(gb_seconds=memory_mb / 1024 * seconds, vcpu_seconds=gcp_vcpu(memory_mb) * seconds)


def gcp_vcpu(memory_mb: int) -> float:
    return next((vcpu for limit, vcpu in GCP_VCPU_BY_MEMORY_MB if memory_mb <= limit), 8.0)


_USAGE = {Provider.AWS: aws_usage, Provider.AZURE: azure_usage, Provider.GCP: gcp_usage}


@cache
def current() -> Tariff:
    """The tariff that ships with this code (`tariffs.json` beside this module)."""
    data = json.loads(Path(__file__).with_name("tariffs.json").read_text(encoding="utf-8"))
    per_gb: dict[tuple[Provider, str], float] = {}
    for provider in Provider:
        prices = data[provider]
        for region, price in (prices.get("usd_per_gb_second") or prices["usd_per_gib_second"]).items():
            per_gb[provider, region] = price
    return Tariff(
        version=data["version"],
        as_of=data["as_of"],
        per_request={provider: data[provider]["usd_per_million_requests"] / 1e6 for provider in Provider},
        per_gb_second=per_gb,
        per_vcpu_second=data["gcp"]["usd_per_vcpu_second"],
    )
