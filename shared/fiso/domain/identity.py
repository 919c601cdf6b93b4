"""Identities: who FISO is to another cloud. Names only, no secret."""

import re
from dataclasses import dataclass

_PROVIDER = re.compile(
    r"projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9.-]{3,60}\.iam\.gserviceaccount\.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleIdentity:
    """The provider of a workload identity pool that trusts FISO's role, and the service account that it may act as.

    ValueError for what cannot be one: both become part of addresses that credentials are sent to.
    """

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
