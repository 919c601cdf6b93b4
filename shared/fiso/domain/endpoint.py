"""Endpoints: the deployed copies of a function, each with the place and size that decide its speed and price."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

EndpointId = NewType("EndpointId", str)
FunctionName = NewType("FunctionName", str)


class Provider(StrEnum):
    """The clouds FISO routes to."""

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
    region: str
    memory_mb: int
    address: str
    path: str = ""
    payload: Payload = Payload.HTTP
    authentication: Authentication = Authentication.NONE
    secret_ref: str | None = None
    concurrency_limit: int = 100

    def __post_init__(self) -> None:
        if self.memory_mb <= 0 or self.concurrency_limit <= 0:
            raise ValueError(f"endpoint {self.id}: memory_mb and concurrency_limit must be positive")
        if not self.address:
            raise ValueError(f"endpoint {self.id}: address is empty")
