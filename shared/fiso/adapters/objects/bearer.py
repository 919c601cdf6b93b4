"""Bearer tokens of the place that a container runs in: a cloud's own word for it, by an address that only it reaches.

Google: cloud.google.com/run/docs/container-contract (metadata server). Azure: learn.microsoft.com, "Managed identities
in Azure Container Apps" (IDENTITY_ENDPOINT). Tried against local servers that speak their form, not against the clouds.
"""

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import quote

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.transport import HttpTransport, TransportError

Bearer: TypeAlias = Callable[[], str]
"""A token that holds now. `TransportError` when there is none."""

TIMEOUT_S = 1.0
RENEWED_S, LAST_S = 300.0, 30.0
METADATA = "http://metadata.google.internal"
_STORAGE = "https://storage.azure.com/"
_OWN = "own"


def google_bearer(transport: HttpTransport, *, url: str = METADATA) -> Bearer:
    """The service account's access token."""
    address = f"{url}/computeMetadata/v1/instance/service-accounts/default/token"
    return _Held(transport, address, {"metadata-flavor": "Google"})


def azure_bearer(transport: HttpTransport, environ: Mapping[str, str]) -> Bearer:
    """The managed identity's token for Azure Storage. `KeyError` where there is none."""
    address = f"{environ['IDENTITY_ENDPOINT']}?resource={quote(_STORAGE, safe='')}&api-version=2019-08-01"
    client = environ.get("AZURE_CLIENT_ID", "").strip()
    address += f"&client_id={quote(client, safe='')}" if client else ""
    return _Held(transport, address, {"x-identity-header": environ["IDENTITY_HEADER"]})


class _Held:
    def __init__(self, transport: HttpTransport, address: str, headers: Mapping[str, str]) -> None:
        self._transport, self._address, self._headers = transport, address, headers
        self._held: CredentialCache[str] = CredentialCache()

    def __call__(self) -> str:
        return self._held.get(_OWN, self._read)

    def _read(self) -> Expiring[str]:
        answer = self._transport.send(
            "GET", self._address, headers=self._headers, body=b"", timeout_s=TIMEOUT_S, may_repeat=True
        )
        try:
            said = json.loads(answer.body)
            token, left_s = str(said["access_token"]), float(said.get("expires_in") or LAST_S * 2)
            if not token.isascii() or not token.isprintable() or " " in token:
                raise ValueError("no token")
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            reason = f"no token: status {answer.status}, {type(error).__name__}"
            raise TransportError(Failure.UNREACHABLE, reason, verdict=Fault.FISO) from error
        return Expiring(token, fresh_s=left_s - RENEWED_S, usable_s=left_s - LAST_S)
