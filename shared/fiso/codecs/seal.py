"""Seals of catalogs: a version of a stage's catalog as signed text, and whether bytes are what was signed.

    signature -> kind and stage -> version -> size and sha256 -> the snapshot's own grammar

Nothing of a snapshot is parsed, or unpacked beyond the size that was signed, before its seal was verified. The seal
stands in the pointer and beside the copy, so that the snapshot's own bytes are what they were.
docs/decisions/0022-signed-catalogs.md
"""

import json
from collections.abc import Callable
from hashlib import sha256

from fiso.codecs import signature
from fiso.codecs.signature import PublicKeys, Sign, Untrusted
from fiso.codecs.typed import Malformed, from_document, to_document
from fiso.domain.catalog import Attested
from fiso.domain.errors import InvalidCatalog
from fiso.domain.signed import SignedText

FORMAT = "fiso-catalog/1"


class CatalogSeals:
    """What a stage's catalog is sealed with, or known by. Keeps the last seal that it verified: a version is verified
    once, wherever it stands.

    `sign` is the publisher's alone. `least` is the version that the deployment knows of: none before it is accepted.
    `accepts_unsigned`: what code from before published is accepted, until the first seal was seen here, and where no
    `least` says that there were seals; without any key every seal is passed over, since the keeper signs before its
    public half is known.
    """

    def __init__(
        self,
        *,
        stage: str,
        keys: PublicKeys | Callable[[], PublicKeys],
        sign: Sign | None = None,
        least: int = 0,
        accepts_unsigned: bool = False,
    ) -> None:
        self._stage, self._keys, self._sign = stage, keys, sign
        self._least, self._accepts_unsigned = least, accepts_unsigned and not least
        self._last: tuple[SignedText, Attested] | None = None

    def seal(self, version: int, body: bytes) -> SignedText:
        """The seal of a version. Raises what the signer raises."""
        if self._sign is None:
            raise InvalidCatalog("only the publisher signs catalogs")
        digest = sha256(body).hexdigest()
        content = to_document(Attested(version=version, sha256=digest, size_bytes=len(body)))
        document = {"format": FORMAT, "stage": self._stage, **content}
        return signature.signed(json.dumps(document, sort_keys=True, separators=(",", ":")), self._sign)

    def opened(self, seal: SignedText | None) -> Attested | None:
        """What a seal attests; None for no seal, where that is accepted. `InvalidCatalog` for anything else."""
        last = self._last
        if last is not None and last[0] == seal:
            return last[1]
        if self._accepts_unsigned and last is None and (seal is None or not self._keys):
            return None
        attested = self._parsed(seal)
        if attested.version < self._least:
            raise InvalidCatalog(
                f"catalog version {attested.version} was put back: the deployment knows of {self._least}"
            )
        if seal is not None:
            self._last = seal, attested
        return attested

    def _parsed(self, seal: SignedText | None) -> Attested:
        try:
            keys = self._keys() if callable(self._keys) else self._keys
            document = json.loads(signature.verified(seal, keys))
            kind, stage = document.get("format"), document.get("stage")
            if kind != FORMAT:
                raise Malformed(f"it is signed as {kind!r:.40}, not as {FORMAT}")
            if stage != self._stage:
                raise Malformed(f"it is signed for stage {stage!r:.40}")
            return from_document(Attested, document)
        except Untrusted as error:
            raise InvalidCatalog(f"the catalog is refused: {error}") from error
        except (ValueError, AttributeError, RecursionError) as error:
            raise InvalidCatalog(f"the catalog's seal is refused: {error}") from error


def is_of(attested: Attested, body: bytes) -> bool:
    """Whether these are the bytes that were attested."""
    return len(body) == attested.size_bytes and sha256(body).hexdigest() == attested.sha256


def check(attested: Attested | None, body: bytes) -> None:
    """`InvalidCatalog` unless these are the bytes that were attested, where any were."""
    if attested is not None and not is_of(attested, body):
        raise InvalidCatalog(f"the snapshot is not what was signed as version {attested.version}: damaged or exchanged")
