"""An issuer of tokens, as OpenID Connect Discovery 1.0 describes it: its configuration, then its JWKS (RFC 7517).

Standard library and our own transport only: no redirect is followed, every read is bounded in time and size.
"""

import base64
import json
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fiso.domain.access import SigningKey
from fiso.domain.errors import StoreUnavailable
from fiso_client.core.transport import HttpTransport, TransportError

READ_TIMEOUT_S = 1.0
"""For each of the two documents; the first request of an environment waits 2 s for both."""
LARGEST_BYTES = 150_000
"""What API Gateway's own authorizer reads of a JWKS at most."""
MOST_KEYS = 100
LONGEST_ID = 256
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
"""Below, a key can be broken (NIST SP 800-131A); above, checking one signature takes too long."""
CONFIGURATION = "/.well-known/openid-configuration"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class OidcIssuerKeys:
    """The keys of one issuer. `allow_loopback` permits http on loopback, for the local stage."""

    def __init__(self, transport: HttpTransport, issuer: str, *, allow_loopback: bool = False) -> None:
        self._transport, self._issuer, self._allow_loopback = transport, issuer, allow_loopback

    def read(self) -> Mapping[str, SigningKey]:
        """Discover and read. `StoreUnavailable` when either document is not to be had, or holds no usable key."""
        return self.keys_of(self.configuration())

    def configuration(self) -> Mapping[str, Any]:
        """What the issuer publishes of itself."""
        configuration = self._document(self._issuer.rstrip("/") + CONFIGURATION)
        if configuration.get("issuer") != self._issuer:
            raise StoreUnavailable(f"{self._issuer} publishes the configuration of another issuer")
        return configuration

    def keys_of(self, configuration: Mapping[str, Any]) -> Mapping[str, SigningKey]:
        """The keys that a configuration names."""
        found = signing_keys(self._document(str(configuration.get("jwks_uri"))))
        if not found:
            raise StoreUnavailable(f"{self._issuer} publishes no key for RS256 or ES256")
        return found

    def _document(self, url: str) -> dict[str, Any]:
        """A JSON object that the issuer publishes. `StoreUnavailable` when it is not to be had."""
        refuse_address(url, allow_loopback=self._allow_loopback)
        try:
            headers = {"accept": "application/json"}
            answer = self._transport.send("GET", url, headers=headers, body=b"", timeout_s=READ_TIMEOUT_S)
        except TransportError as error:
            raise StoreUnavailable(f"{url} does not answer: {error}") from error
        if answer.status != 200 or len(answer.body) > LARGEST_BYTES:
            raise StoreUnavailable(f"{url} answered {answer.status} with {len(answer.body)} bytes")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise StoreUnavailable(f"{url} did not answer JSON") from error
        if not isinstance(document, dict):
            raise StoreUnavailable(f"{url} did not answer a JSON object")
        return document


def refuse_address(url: str, *, allow_loopback: bool) -> None:
    """`StoreUnavailable` unless keys may be read there: https, no user in it; http on loopback where allowed."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0] or parts.netloc
    is_allowed = parts.scheme == "https" or (allow_loopback and parts.scheme == "http" and host in _LOOPBACK)
    if not is_allowed or not parts.hostname or "@" in parts.netloc or not url.isascii() or not url.isprintable():
        raise StoreUnavailable(f"keys are read over https only, not from {url[:200]!r}")


def signing_keys(document: Mapping[str, Any]) -> dict[str, SigningKey]:
    """The keys of a JWKS that verify RS256 or ES256, by id. Whatever else it holds is passed over."""
    listed = document.get("keys")
    rows = listed[:MOST_KEYS] if isinstance(listed, list) else []
    return {key.id: key for key in _usable(rows)}


def _usable(rows: list[Any]) -> Iterator[SigningKey]:
    for row in rows:
        id, algorithm = (row.get("kid"), _algorithm(row)) if isinstance(row, dict) else (None, None)
        if algorithm and isinstance(id, str) and 0 < len(id) <= LONGEST_ID and _is_for_signatures(row, algorithm):
            yield SigningKey(id=id, algorithm=algorithm, document=json.dumps(row, sort_keys=True))


def _is_for_signatures(row: Mapping[str, Any], algorithm: str) -> bool:
    return bool(row.get("use", "sig") == "sig" and row.get("alg", algorithm) == algorithm)


def _algorithm(row: Mapping[str, Any]) -> str | None:
    """The one algorithm a key's type allows here, so that no token can choose another for it."""
    if row.get("kty") == "RSA":
        return "RS256" if LEAST_RSA_BITS <= _bits(row.get("n")) <= MOST_RSA_BITS else None
    return "ES256" if row.get("kty") == "EC" and row.get("crv") == "P-256" else None


def _bits(modulus: object) -> int:
    if not isinstance(modulus, str) or len(modulus) > MOST_RSA_BITS:
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)), "big").bit_length()
    except (NotBase64, ValueError):
        return 0
