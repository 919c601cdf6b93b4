"""Endpoints: the deployed copies of a function, each with the place and size that decide its speed and price."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One deployed copy.

    `address` is a Lambda function's ARN (or name) on AWS and an https URL elsewhere. `path` is put before the request's
    own path suffix. `concurrency_limit` is how many requests the endpoint takes at once; load is measured against it.
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

    def __post_init__(self) -> None:
        problems = list(violations(self))
        if not self.address:
            problems.append((("address",), "must not be empty"))
        if problems:
            raise Impossible(problems)
