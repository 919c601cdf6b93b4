"""Sealed texts for a browser to keep: encrypted and authenticated with Fernet (cryptography), keys newest first."""

from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from fiso.domain.errors import StoreUnavailable
from fiso.ports import Clock

LARGEST_SEALED = 4_096
"""Characters: what browsers keep of a cookie."""
LONGEST_S = 86_400
"""No seal counts longer, whatever its text says."""


class FernetSeal:
    """The port `Seal`. The newest key seals, all of them open; `read_keys` is asked when the first seal is used."""

    def __init__(self, read_keys: Callable[[], Sequence[str]], *, clock: Clock) -> None:
        self._read_keys, self._clock = read_keys, clock
        self._known: MultiFernet | None = None

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
        if self._known is None:
            words = self._read_keys()
            try:
                self._known = MultiFernet([Fernet(word) for word in words])
            except ValueError as error:
                raise StoreUnavailable(f"the keys of the console's sessions cannot be used: {error}") from error
        return self._known
