"""Credentials that end: where Lambda restores snapshots it gives none in the environment, but an address to ask.

What a snapshot holds may have ended by the time it is restored, so it holds none (`forget`), and what is held is
renewed before it ends. docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html; the protocol is
docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.ports import Clock
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.signing import Credentials, KeySource
from fiso_client.core.transport import HttpTransport, TransportError

ADDRESS, TOKEN = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"
TIMEOUT_S = 1.0
RENEWED_S, LAST_S = 600.0, 15.0
"""Renewed so long before they end, and not used in their last seconds: what is signed may be on its way for a while."""
_OWN = "own"


class ContainerCredentials:
    """Gives the credentials that hold now. `TransportError` when there are none. Safe to use from several threads."""

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        transport: HttpTransport,
        clock: Clock,
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        self._address, self._headers = address, {"authorization": token} if token else {}
        self._transport, self._clock, self._lock = transport, clock, Lock()
        self._held: CredentialCache[Credentials] = CredentialCache(stopwatch=stopwatch)

    def __call__(self) -> Credentials:
        with self._lock:
            return self._held.get(_OWN, self._read)

    def forget(self) -> None:
        self._held.invalidate(_OWN)

    def _read(self) -> Expiring[Credentials]:
        answer = self._transport.send(
            "GET", self._address, headers=self._headers, body=b"", timeout_s=TIMEOUT_S, may_repeat=True
        )
        try:
            said = json.loads(answer.body)
            found = Credentials(access_key=said["AccessKeyId"], secret_key=said["SecretAccessKey"], token=said["Token"])
            left_s = (datetime.fromisoformat(said["Expiration"]) - self._clock()).total_seconds()
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            reason = f"no credentials: status {answer.status}, {type(error).__name__}"
            raise TransportError(Failure.UNREACHABLE, reason, verdict=Fault.FISO) from error
        return Expiring(found, fresh_s=left_s - RENEWED_S, usable_s=left_s - LAST_S)


def own_credentials(environ: Mapping[str, str], *, transport: HttpTransport, clock: Clock) -> KeySource:
    """What Lambda gives a function: keys in its environment, or the address of keys that end."""
    if "AWS_ACCESS_KEY_ID" in environ or ADDRESS not in environ:
        return Credentials.from_environ(environ)
    return ContainerCredentials(environ[ADDRESS], environ.get(TOKEN), transport=transport, clock=clock)
