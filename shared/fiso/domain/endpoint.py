"""Endpoints: the deployed copies of a function, each with the place and size that decide its speed and price."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NewType, TypeAlias

from fiso.domain.fields import REGION, AtMost, Impossible, Means, Spelled, Within, violations

EndpointId = NewType("EndpointId", str)
FunctionName = NewType("FunctionName", str)
Region: TypeAlias = Annotated[str, REGION]
LARGEST_MEMORY_MB = 32_768
"""Cloud Run's largest instance; Lambda ends at 10,240."""


class Provider(StrEnum):
    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"


class Payload(StrEnum):
    """How a request reaches an AWS endpoint: as an HTTP API v2 event, or as the JSON body itself."""

    HTTP = "http"
    EVENT = "event"


class Authentication(StrEnum):
    """How FISO identifies itself to an endpoint. Secrets are named by reference, never held here."""

    NONE = "none"
    IAM = "iam"
    FUNCTION_KEY = "function_key"
    ID_TOKEN = "id_token"  # nosec B105 # the name of a way, not a secret
    ENTRA = "entra"


class Plan(StrEnum):
    """What a provider sells a copy under: it decides what a call is billed for. docs/prices.md"""

    ON_DEMAND = "on_demand"
    PROVISIONED = "provisioned"
    SNAPSTART = "snapstart"
    MANAGED_INSTANCES = "managed_instances"
    FLEX_CONSUMPTION = "flex_consumption"
    ALWAYS_READY = "always_ready"
    CONSUMPTION = "consumption"
    REQUEST_BASED = "request_based"
    MIN_INSTANCES = "min_instances"
    FIRST_GENERATION = "first_generation"


PLANS: Mapping[Provider, tuple[Plan, ...]] = {
    Provider.AWS: (Plan.ON_DEMAND, Plan.PROVISIONED, Plan.SNAPSTART, Plan.MANAGED_INSTANCES),
    Provider.AZURE: (Plan.FLEX_CONSUMPTION, Plan.ALWAYS_READY, Plan.CONSUMPTION),
    Provider.GCP: (Plan.REQUEST_BASED, Plan.MIN_INSTANCES, Plan.FIRST_GENERATION),
}
"""Each provider's; the first is what a copy is taken to be on that does not say."""
FLEX_SIZES_MB = (512, 2048, 4096)
"""Azure's Flex Consumption plan has these (learn.microsoft.com/azure/azure-functions/flex-consumption-plan)."""


class Architecture(StrEnum):
    """The processor a copy runs on; AWS alone has prices for two."""

    X86_64 = "x86_64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One deployed copy.

    `address` is a Lambda function's ARN (or name) on AWS and an https URL elsewhere. `path` is put before the request's
    own path suffix. `concurrency_limit` is how many requests the endpoint takes at once; load is measured against it.
    `plan`, `architecture` and `vcpu` are what its price depends on beside region and memory; None is what its provider
    does by default.
    """

    id: EndpointId
    provider: Provider
    region: Region
    memory_mb: Annotated[int, Within(1, LARGEST_MEMORY_MB)]
    address: Annotated[str, AtMost(2_000), Means("may name variables, as in ${FISO_AZURE_EASTUS_URL}")]
    path: Annotated[
        str,
        Spelled(r"^(/[A-Za-z0-9._~-]+)*$", "must be empty or begin with / and hold plain segments, as in /graph-bfs"),
    ] = ""
    payload: Payload = Payload.HTTP
    authentication: Authentication = Authentication.NONE
    secret_ref: Annotated[str | None, AtMost(2_000)] = None
    concurrency_limit: Annotated[int, Within(1, 1_000_000)] = 100
    plan: Annotated[Plan | None, Means("what the provider sells it under, as its price needs it")] = None
    architecture: Annotated[Architecture | None, Means("arm64 has prices of its own on AWS")] = None
    vcpu: Annotated[float | None, Within(0, 8, above=True), Means("of a Google function that declares it")] = None

    @property
    def sold_as(self) -> Plan:
        """Its plan, or its provider's first."""
        return self.plan or PLANS[self.provider][0]

    @property
    def priced_as(self) -> str:
        """Its plan, and its processor where that has a price of its own, as a record names them."""
        return f"{self.sold_as}/{self.architecture}" if self.architecture is Architecture.ARM64 else self.sold_as.value

    def __post_init__(self) -> None:
        problems = list(violations(self))
        if self.plan is not None and self.plan not in PLANS[self.provider]:
            problems.append((("plan",), f"must be one of {', '.join(PLANS[self.provider])} for {self.provider}"))
        if self.architecture is Architecture.ARM64 and self.provider is not Provider.AWS:
            problems.append((("architecture",), "arm64 has a price on aws only"))
        if self.vcpu is not None and self.provider is not Provider.GCP:
            problems.append((("vcpu",), "is for gcp only: elsewhere the processor comes with the memory"))
        if not self.address:
            problems.append((("address",), "must not be empty"))
        if problems:
            raise Impossible(problems)
