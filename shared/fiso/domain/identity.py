"""Identities: who FISO is to another cloud. Names only, no secret.

Each must be of its form, `ValueError` otherwise: they become part of addresses that credentials are sent to.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PROVIDER = re.compile(
    r"projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9.-]{3,60}\.iam\.gserviceaccount\.com")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleIdentity:
    """The provider of a workload identity pool that trusts FISO's role, and the service account that it may act as."""

    provider: str
    service_account: str

    def __post_init__(self) -> None:
        if not _PROVIDER.fullmatch(self.provider):
            raise ValueError(
                "the provider must be projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, "
                f"not {self.provider!r}"
            )
        if not _ACCOUNT.fullmatch(self.service_account):
            raise ValueError(
                f"the service account must be NAME@PROJECT.iam.gserviceaccount.com, not {self.service_account!r}"
            )

    @property
    def resource(self) -> str:
        """The provider's full name, which an exchange of tokens is addressed to."""
        return f"//iam.googleapis.com/{self.provider}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraIdentity:
    """FISO's own application in a tenant of Entra: its federated credential trusts the orchestrator's role."""

    tenant: str
    client: str

    def __post_init__(self) -> None:
        for name, value in (("tenant", self.tenant), ("client", self.client)):
            if not _GUID.fullmatch(value):
                raise ValueError(f"the {name} must be an id as in 8a1f9f5e-2c1b-4a57-9d2e-0c5f6a7b8c9d, not {value!r}")

    def audience_of(self, address: str) -> str:
        return entra_audience(self.tenant, address)


def entra_audience(tenant: str, address: str) -> str:
    """Whom a token is for: one host of an Azure function, as an identifier URI of the application that stands for the
    stage's functions (Entra's "Restrictions on identifier URIs" allow `api://TENANT/…`). Entra gives none for a host
    that nobody entered there."""
    return f"api://{tenant}/{urlsplit(address).netloc.lower()}"
