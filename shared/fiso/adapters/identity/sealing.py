"""Sealed texts for a browser to keep: encrypted and authenticated with Fernet (cryptography), keys newest first."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fiso.domain.errors import StoreUnavailable
from fiso.ports import Clock

logger = logging.getLogger(__name__)

LARGEST_SEALED = 4_096
"""Characters: what browsers keep of a cookie."""
FRESH_S = 60.0
"""So much later a rotation reaches an environment that is already up."""
LONGEST_S = 86_400
"""No seal counts longer, whatever its text says."""


class FernetSeal:
    """The port `Seal`. The newest key seals, all of them open; they are read at the first use, then after FRESH_S."""

    def __init__(self, read_keys: Callable[[], Sequence[str]], *, clock: Clock) -> None:
        self._read_keys, self._clock = read_keys, clock
        self._known: MultiFernet | None = None
        self._asked_at = datetime.min.replace(tzinfo=UTC)

    def close(self, text: str) -> str:
        """Seal a text."""
        now_s = int(self._clock().timestamp())
        return self._keys().encrypt_at_time(text.encode(), now_s).decode("ascii")

    def open(self, sealed: str) -> str | None:
        """What was sealed here; None for anything else."""
        if len(sealed) > LARGEST_SEALED or not sealed.isascii():
            return None
        now_s = int(self._clock().timestamp())
        try:
            return self._keys().decrypt_at_time(sealed.encode("ascii"), LONGEST_S, now_s).decode()
        except InvalidToken:
            return None

    def _keys(self) -> MultiFernet:
        now = self._clock()
        if self._known is None or (now - self._asked_at).total_seconds() >= FRESH_S:
            self._asked_at = now
            self._known = self._read() or self._known
        if self._known is None:
            raise StoreUnavailable("the keys of the console's sessions cannot be read")
        return self._known

    def _read(self) -> MultiFernet | None:
        """None when they are not to be had now: whoever is logged in must not suffer from it."""
        try:
            return MultiFernet([Fernet(word) for word in self._read_keys()])
        except (StoreUnavailable, ValueError) as error:
            logger.warning("the keys of the console's sessions were not read: %s", error)
            return None
