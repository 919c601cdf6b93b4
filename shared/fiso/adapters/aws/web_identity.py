"""Credentials of a role on AWS for who is not on AWS: its own cloud's signed word is exchanged for keys that end.

AssumeRoleWithWebIdentity (docs.aws.amazon.com/STS), asked of the region's own STS. The request needs no signature, so
that there is no key of AWS's to keep. Tried against a local server that checks by botocore's model.
"""

import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.adapters.identity.exchange import EXCHANGE_TIMEOUT_S, FAILED_S, failure_of
from fiso.ports import Clock
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import Credentials
from fiso_client.core.transport import HttpTransport, TransportError

LASTS_S = 3_600
"""What every role allows."""
RENEWED_S, LAST_S = 600.0, 60.0
_FIELDS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_CODE = re.compile(r"<Code>([A-Za-z.]{1,80})</Code>")


class WebIdentityCredentials:
    """Gives the role's keys that hold now. `ProviderError`, and nothing ran, when there are none. `word` is this
    container's own cloud's, within so many seconds; `url` STS of one region."""

    def __init__(
        self,
        role: str,
        *,
        session: str,
        word: Callable[[float], Expiring[str]],
        url: str,
        transport: HttpTransport,
        clock: Clock,
    ) -> None:
        self._role, self._session, self._word = role, session, word
        self._url, self._transport, self._clock = url, transport, clock
        self._held: CredentialCache[Credentials] = CredentialCache(failed_s=FAILED_S)

    def __call__(self) -> Credentials:
        return self._held.get(self._role, self._read, within_s=EXCHANGE_TIMEOUT_S)

    def _read(self) -> Expiring[Credentials]:
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._role,
            "RoleSessionName": self._session,
            "WebIdentityToken": self._word(EXCHANGE_TIMEOUT_S).value,
            "DurationSeconds": str(LASTS_S),
        }
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        try:
            answer = self._transport.send(
                "POST", f"{self._url}/", headers=headers, body=urlencode(asked).encode(), timeout_s=EXCHANGE_TIMEOUT_S
            )
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"AWS's sts did not answer: {error.failure}") from error
        text = answer.body.decode(errors="replace")
        found = [re.search(rf"<{name}>([!-;=-~]{{1,4096}})</{name}>", text) for name in _FIELDS]
        if answer.status != 200 or not all(found):
            said = _CODE.search(text)
            code = said[1] if said else ""
            failure = failure_of(answer.status, code) if answer.status != 200 else Failure.UNREACHABLE
            reason = f"AWS's sts gave no keys for {self._role}: status {answer.status} {code}".rstrip()
            raise ProviderError(failure, reason, status=answer.status)
        key, secret, token, ends = (each[1] for each in found if each)
        return self._expiring(Credentials(access_key=key, secret_key=secret, token=token), ends)

    def _expiring(self, keys: Credentials, ends: str) -> Expiring[Credentials]:
        try:
            left_s = (datetime.fromisoformat(ends) - self._clock()).total_seconds()
        except (ValueError, TypeError) as error:
            raise ProviderError(Failure.UNREACHABLE, "AWS's sts gave keys without their end") from error
        return Expiring(keys, fresh_s=left_s - min(RENEWED_S, left_s / 2), usable_s=left_s - LAST_S)
