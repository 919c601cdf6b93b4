"""Who a container is: its cloud's own word for that, by an address that only the container reaches. No key of anybody.

Google: the metadata server (cloud.google.com/run/docs/container-contract). Azure: a managed identity
(learn.microsoft.com, "Managed identities in Azure Container Apps"). Either one's signed word is believed elsewhere,
where somebody said so: by Entra for FISO's application (a federated credential), by Google (workload identity
federation), by AWS (a role for a web identity). Tried against local servers that speak their form, not the clouds.
"""

import json
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias
from urllib.parse import quote, urlencode

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.adapters.identity.exchange import TokensByAudience, claims_of, expiring
from fiso.adapters.identity.google_identity import audience_of, lifetime_of
from fiso.domain.endpoint import Authentication
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.transport import HttpTransport, TransportError

Bearer: TypeAlias = Callable[[], str]
"""A token that holds now. `TransportError` when there is none."""

TIMEOUT_S = 1.0
METADATA = "http://metadata.google.internal"
_STORAGE = "https://storage.azure.com/"
_OWN = "own"


class Container(Protocol):
    """A cloud's container. `TransportError` where the cloud gives no token."""

    def storage_token(self) -> Expiring[str]:
        """For the cloud's own storage."""
        ...

    def word(self, audience: str, timeout_s: float) -> Expiring[str]:
        """A signed token that says who this is, for whoever `audience` names."""
        ...


class GoogleContainer:
    """By the metadata server: the service's own account."""

    def __init__(self, transport: HttpTransport, *, url: str = METADATA) -> None:
        self._transport, self._at = transport, f"{url}/computeMetadata/v1/instance/service-accounts/default"

    def storage_token(self) -> Expiring[str]:
        return _token_in(self._read("token", TIMEOUT_S))

    def word(self, audience: str, timeout_s: float) -> Expiring[str]:
        asked = urlencode({"audience": audience, "format": "full"})
        token = self._read(f"identity?{asked}", timeout_s).decode(errors="replace").strip()
        return expiring(_printable(token), lifetime_of(token))

    def _read(self, path: str, timeout_s: float) -> bytes:
        return _read(self._transport, f"{self._at}/{path}", {"metadata-flavor": "Google"}, timeout_s)


class AzureContainer:
    """By its managed identity. `KeyError` where the environment names none."""

    def __init__(self, transport: HttpTransport, environ: Mapping[str, str]) -> None:
        self._transport, self._at = transport, environ["IDENTITY_ENDPOINT"]
        self._headers = {"x-identity-header": environ["IDENTITY_HEADER"]}
        self._client = environ.get("AZURE_CLIENT_ID", "").strip()

    def storage_token(self) -> Expiring[str]:
        return self.word(_STORAGE, TIMEOUT_S)

    def word(self, audience: str, timeout_s: float) -> Expiring[str]:
        address = f"{self._at}?resource={quote(audience, safe='')}&api-version=2019-08-01"
        address += f"&client_id={quote(self._client, safe='')}" if self._client else ""
        return _token_in(_read(self._transport, address, self._headers, timeout_s))


class OwnIdTokens(TokensByAudience):
    """Identity tokens of a container on Google for endpoints there: nobody is asked but its metadata server."""

    authentication = Authentication.ID_TOKEN

    def __init__(self, container: GoogleContainer, transport: HttpTransport) -> None:
        super().__init__(transport=transport, stopwatch=None)
        self._container = container

    def _audience_of(self, address: str) -> str:
        return audience_of(address)

    def _before(self, until_s: float) -> str:
        return ""

    def _token(self, audience: str, until_s: float) -> Expiring[str]:
        found = word_for(self._container, audience)(until_s - self._stopwatch())
        if claims_of(found.value).get("aud") != audience:
            raise ProviderError(Failure.UNREACHABLE, f"the metadata server's token is not for {audience}")
        return found


def word_for(container: Container, audience: str) -> Callable[[float], Expiring[str]]:
    """A container's word for one audience, within so many seconds. `ProviderError`, and nothing ran, without it."""

    def word(timeout_s: float) -> Expiring[str]:
        try:
            return container.word(audience, max(0.0, min(TIMEOUT_S, timeout_s)))
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"this container's identity: {error.failure}") from error

    return word


def storage_bearer(container: Container) -> Bearer:
    """What identifies a container to its cloud's storage, renewed ahead."""
    held: CredentialCache[str] = CredentialCache()
    return lambda: held.get(_OWN, container.storage_token)


def _read(transport: HttpTransport, url: str, headers: Mapping[str, str], timeout_s: float) -> bytes:
    answer = transport.send("GET", url, headers=headers, body=b"", timeout_s=timeout_s, may_repeat=True)
    if answer.status != 200:
        raise _none(f"status {answer.status}")
    return answer.body


def _token_in(body: bytes) -> Expiring[str]:
    try:
        said = json.loads(body)
        return expiring(_printable(said["access_token"]), float(said["expires_in"]))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _none(type(error).__name__) from error


def _printable(token: object) -> str:
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise _none("it cannot stand in a header")
    return token


def _none(why: str) -> TransportError:
    return TransportError(Failure.UNREACHABLE, f"no token: {why}", verdict=Fault.FISO)
