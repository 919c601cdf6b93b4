"""An issuer's keys beside a front door on another cloud, so that callers are known there while the issuer is away.

The keeper reads the issuer and writes `issuer/keys.json` into the mirror, signed as catalogs are: whoever may write
there could otherwise let anybody in. A copy counts for `KEPT` after it was read, so that an older one, whose key was
withdrawn since, cannot be put back for longer. docs/decisions/0032-a-front-door-elsewhere.md
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from fiso.adapters.aws.s3 import Bucket
from fiso.adapters.identity.oidc import signing_keys
from fiso.codecs import signature
from fiso.codecs.record import instant, parse_instant
from fiso.codecs.signature import PublicKeys, Sign, Untrusted
from fiso.domain.access import SigningKey
from fiso.domain.errors import StoreUnavailable
from fiso.domain.signed import SignedText
from fiso.ports import Clock, IssuerKeys

KEY, FORMAT = "issuer/keys.json", "fiso-issuer-keys/1"
RENEWED = timedelta(minutes=10)
KEPT = timedelta(hours=24)
_AHEAD = timedelta(minutes=5)
_FIELDS = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")

logger = logging.getLogger(__name__)


class IssuerKeysMirror:
    """Writes the mirror's copy, each time it is old or other than what the issuer says now. The keeper's."""

    def __init__(self, objects: Bucket, issuer: IssuerKeys, *, name: str, stage: str, sign: Sign, clock: Clock) -> None:
        self._objects, self._issuer, self._sign, self._clock = objects, issuer, sign, clock
        self._named = {"format": FORMAT, "stage": stage, "issuer": name}
        self._written: datetime | None = None

    def renew(self) -> bool:
        """Whether it was written. `StoreUnavailable` when the issuer cannot be read, or the storage not written."""
        now = self._clock()
        if self._written is not None and self._written <= now < self._written + RENEWED:
            return False
        rows = [json.loads(key.document) for _, key in sorted(self._issuer.read().items())]
        keys = json.dumps({"keys": [{name: row[name] for name in _FIELDS if name in row} for row in rows]})
        said = {**self._named, "read_at": instant(now), "sha256": sha256(keys.encode()).hexdigest()}
        signed = signature.signed(json.dumps(said, sort_keys=True), self._sign)
        document = {"keys": keys, "said": signed.text, "key_id": signed.key_id, "signature": signed.signature}
        self._objects.write_json(KEY, document)
        self._written = now
        return True


class MirroredIssuerKeys:
    """The port `IssuerKeys` of a door: the issuer itself, and the mirror's copy while that does not answer."""

    def __init__(
        self, issuer: IssuerKeys, objects: Bucket, *, name: str, stage: str, trusted: PublicKeys, clock: Clock
    ) -> None:
        self._issuer, self._objects, self._trusted, self._clock = issuer, objects, trusted, clock
        self._named = {"format": FORMAT, "stage": stage, "issuer": name}

    def read(self) -> Mapping[str, SigningKey]:
        try:
            return self._issuer.read()
        except StoreUnavailable as error:
            logger.warning("the issuer's keys are read from the mirror: %s", error)
            return self._copy(error)

    def _copy(self, away: StoreUnavailable) -> Mapping[str, SigningKey]:
        document = self._objects.read_json(KEY)
        if document is None:
            raise StoreUnavailable(f"{away}; the mirror holds no copy of its keys") from away
        try:
            found = signing_keys(self._verified(document))
        except (Untrusted, ValueError, LookupError, TypeError, RecursionError) as error:
            raise StoreUnavailable(f"{away}; the mirror's copy of its keys is refused: {error}") from error
        if not found:
            raise StoreUnavailable(f"{away}; the mirror's copy holds no key for RS256 or ES256")
        return found

    def _verified(self, document: Mapping[str, Any]) -> dict[str, Any]:
        said = json.loads(signature.verified(SignedText.among(document, "said"), self._trusted))
        other = [name for name, value in self._named.items() if said[name] != value]
        if other:
            raise ValueError(f"it is of another {other[0]}")
        read_at, now = parse_instant(said["read_at"]), self._clock()
        if not read_at - _AHEAD <= now < read_at + KEPT:
            raise ValueError(f"it was read at {instant(read_at)}, and holds for {KEPT}")
        keys = str(document["keys"])
        if sha256(keys.encode()).hexdigest() != said["sha256"]:
            raise ValueError("it is not what was signed")
        found: dict[str, Any] = json.loads(keys)
        return found
