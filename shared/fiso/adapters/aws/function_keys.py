"""Azure function keys: what identifies FISO to an endpoint with `authentication: function_key`.

A key lies in AWS Secrets Manager under the endpoint's `secret_ref`, as `{"host": "name.azurewebsites.net", "key": …}`,
and is sent to that very host only: a provider's domain has many tenants, and whoever registers an endpoint could
otherwise have another one's key sent to a host of their own. It travels in the header `x-functions-key`, never in a
query, which Azure logs. Checked against an emulator of Secrets Manager and Azure's documentation, not against Azure.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fiso.adapters.aws.client import STORE_TIMEOUT_S, AwsError, JsonClient
from fiso.adapters.aws.errors import DAMAGE, code_of
from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.domain.endpoint import Endpoint
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import SignedService
from fiso_client.core.transport import TransportError

FRESH_S = 240.0
KEPT_S = 300.0
"""A key older than `FRESH_S` is read again; if that fails it serves until `KEPT_S`, so a rotation is never later."""
HEADER = "x-functions-key"
SHORTEST_KEY, LONGEST_KEY = 8, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    host: str
    value: str


class FunctionKeys:
    """Keys by reference, kept in memory for at most five minutes, frozen ones as well."""

    def __init__(self, service: SignedService, *, stopwatch: Callable[[], float] | None = None) -> None:
        self._service = service
        self._keys: CredentialCache[_Key] = CredentialCache(stopwatch=stopwatch)

    def headers(self, endpoint: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        """What to send along. Without its key an endpoint is as good as away: `ProviderError`, and it never ran."""
        reference = endpoint.secret_ref or ""
        key = self._keys.get(reference, lambda: self._read(reference, min(timeout_s, STORE_TIMEOUT_S)))
        # Whoever registers an endpoint chooses its host and its secret's name: a key goes to the host that it names and
        # to no other (docs/decisions/0012-where-endpoints-may-be.md).
        if key.host != (urlsplit(endpoint.address).hostname or ""):
            raise ProviderError(Failure.REFUSED, f"secret {reference} holds the key of another host")
        return {HEADER: key.value}

    def replaced(self, endpoint: Endpoint, refused: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str] | None:
        """The key that the secret holds by now; None where it is still the one that the endpoint did not take."""
        key = _Key(host=urlsplit(endpoint.address).hostname or "", value=refused[HEADER])
        if not self._keys.replace(endpoint.secret_ref or "", key):
            return None
        read = self.headers(endpoint, timeout_s=timeout_s)
        return None if read == refused else read

    def _read(self, reference: str, timeout_s: float) -> Expiring[_Key]:
        client = JsonClient(self._service, "secretsmanager", timeout_s=timeout_s)
        try:
            document = json.loads(client.get_secret_value(SecretId=reference)["SecretString"])
            host, value = str(document["host"]).lower(), str(document["key"])
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"secret {reference} cannot be read: {error.failure}") from error
        except AwsError as error:
            raise ProviderError(Failure.UNREACHABLE, f"secret {reference} cannot be read: {code_of(error)}") from error
        except DAMAGE as error:
            raise ProviderError(Failure.UNREACHABLE, f"secret {reference} is no host with its key") from error
        is_key = value.isascii() and value.isprintable() and " " not in value
        if not (is_key and SHORTEST_KEY <= len(value) <= LONGEST_KEY):
            raise ProviderError(Failure.UNREACHABLE, f"secret {reference} is no host with its key")
        return Expiring(_Key(host=host, value=value), fresh_s=FRESH_S, usable_s=KEPT_S)
