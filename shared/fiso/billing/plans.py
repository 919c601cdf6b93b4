"""Plans: what each provider meters of a call under each plan, and in which steps. docs/prices.md names the pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from fiso.domain.endpoint import FLEX_SIZES_MB, Architecture, Endpoint, Plan

GCP_VCPU_BY_MEMORY_MB = (
    (128, 0.083),
    (256, 0.167),
    (512, 0.333),
    (1024, 0.583),
    (2048, 1.0),
    (8192, 2.0),
    (16384, 4.0),
    (32768, 8.0),
)
"""Default vCPU of a Cloud Run function by memory (cloud.google.com/functions/docs/configuring/memory)."""
GCP_GHZ_BY_MEMORY_MB = ((128, 0.2), (256, 0.4), (512, 0.8), (1024, 1.4), (2048, 2.4), (8192, 4.8))
"""What functions of the first generation are billed for (cloud.google.com/functions/pricing-1stgen)."""


ARM64_METERS = frozenset({"gb_second", "provisioned_gb_second", "provisioned_capacity_gb_second"})


def gcp_vcpu(memory_mb: int) -> float:
    return next((vcpu for limit, vcpu in GCP_VCPU_BY_MEMORY_MB if memory_mb <= limit), 8.0)


def _ghz(endpoint: Endpoint) -> float:
    return next((ghz for limit, ghz in GCP_GHZ_BY_MEMORY_MB if endpoint.memory_mb <= limit), 4.8)


def _vcpu(endpoint: Endpoint) -> float:
    return gcp_vcpu(endpoint.memory_mb) if endpoint.vcpu is None else endpoint.vcpu


def _configured_gb(endpoint: Endpoint) -> float:
    return endpoint.memory_mb / 1024


def _by_128_mb(endpoint: Endpoint) -> float:
    return ceil(endpoint.memory_mb / 128) * 128 / 1024


def _instance_gb(endpoint: Endpoint) -> float:
    """A Flex Consumption instance has one of three sizes."""
    memory_mb = endpoint.memory_mb
    return next((size for size in FLEX_SIZES_MB if memory_mb <= size), memory_mb) / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Metering:
    """The meters that a call runs, by their names in `tariffs.json`: one for each request, one for memory and one for
    the processor by the second, `restore` by the GB for each start.

    Time is billed in steps of `step_ms`, at least `least_ms`. `capacity` runs whether there are calls or not: a call is
    billed beside it, or, where `displaces_capacity`, in its place. `memory` None: the capacity is all that is billed.
    """

    request: str
    memory: str | None = None
    processor: str | None = None
    restore: str | None = None
    capacity: tuple[str, ...] = ()
    displaces_capacity: bool = False
    bills_starts: bool = True
    step_ms: int = 1
    least_ms: int = 0
    gigabytes: Callable[[Endpoint], float] = _configured_gb
    processors: Callable[[Endpoint], float] = _vcpu

    def meter(self, endpoint: Endpoint, name: str) -> str:
        """Of the endpoint's processor, where it makes a price."""
        is_own = name in ARM64_METERS and endpoint.architecture is Architecture.ARM64
        return f"{name}_arm64" if is_own else name


METERING: Mapping[Plan, Metering] = {
    Plan.ON_DEMAND: Metering(request="request", memory="gb_second"),
    Plan.PROVISIONED: Metering(
        request="request",
        memory="provisioned_gb_second",
        capacity=("provisioned_capacity_gb_second",),
    ),
    Plan.SNAPSTART: Metering(
        request="request",
        memory="gb_second",
        restore="snapstart_restore_gb",
        capacity=("snapstart_cache_gb_second",),
    ),
    Plan.MANAGED_INSTANCES: Metering(request="request", bills_starts=False),
    Plan.CONSUMPTION: Metering(
        request="consumption_request",
        memory="consumption_gb_second",
        bills_starts=False,
        least_ms=100,
        gigabytes=_by_128_mb,
    ),
    Plan.FLEX_CONSUMPTION: Metering(
        request="flex_request",
        memory="flex_gb_second",
        bills_starts=False,
        step_ms=100,
        least_ms=1000,
        gigabytes=_instance_gb,
    ),
    Plan.ALWAYS_READY: Metering(
        request="ready_request",
        memory="ready_gb_second",
        capacity=("ready_capacity_gb_second",),
        bills_starts=False,
        step_ms=100,
        least_ms=1000,
        gigabytes=_instance_gb,
    ),
    Plan.REQUEST_BASED: Metering(request="request", memory="gib_second", processor="vcpu_second", step_ms=100),
    Plan.MIN_INSTANCES: Metering(
        request="request",
        memory="gib_second",
        processor="vcpu_second",
        capacity=("idle_gib_second", "idle_vcpu_second"),
        displaces_capacity=True,
        step_ms=100,
    ),
    Plan.FIRST_GENERATION: Metering(
        request="first_request",
        memory="first_gb_second",
        processor="first_ghz_second",
        step_ms=100,
        processors=_ghz,
    ),
}
