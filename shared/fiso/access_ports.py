"""Ports of access: who calls, how that is verified, what callers have used. As `fiso.ports`, for a part of its own."""

from collections.abc import Mapping
from typing import Protocol

from fiso.domain.access import Claims, SigningKey
from fiso.domain.request import TenantId
from fiso.routing.quota import Seen, Use


class IssuerKeys(Protocol):
    """Where an issuer of tokens publishes its public keys."""

    def read(self) -> Mapping[str, SigningKey]:
        """The usable keys by id, as they are now. `StoreUnavailable` when nobody can tell."""
        ...


class SigningKeys(Protocol):
    """The public keys of an issuer, as known here."""

    def find(self, id: str) -> SigningKey | None:
        """The key of an id, or None. `StoreUnavailable` while none could ever be read."""
        ...


class TokenVerifier(Protocol):
    """Turns a token into its verified claims."""

    def verify(self, token: str) -> Claims:
        """The claims. `NotAuthenticated` for a token that is not to be trusted, whatever the reason;
        `StoreUnavailable` while the issuer's keys could never be read."""
        ...


class TenantUse(Protocol):
    """What tenants have spent of their quotas, counted in one place. Losing it harms nobody."""

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        """Add to a tenant's count, and leave what was seen of its bucket here (None leaves what is there).

        Returns the count after, with what was seen last. `StoreError` when it cannot be done.
        """
        ...
