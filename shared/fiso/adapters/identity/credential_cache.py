"""Credential cache: what identifies FISO elsewhere, read over the network once and kept while it may be used."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from fiso_client.core.failures import ProviderError
from fiso_client.core.stopwatch import Stopwatch

RETRY_S = 10.0
"""After a renewal that failed, what is still usable is used for so long before the next."""

Value = TypeVar("Value")


class Expiring(NamedTuple, Generic[Value]):
    """A value as it was read: for `fresh_s` it needs no renewal, after `usable_s` it may not be used."""

    value: Value
    fresh_s: float
    usable_s: float


class CredentialCache(Generic[Value]):
    """Values by name, in the memory of this environment. `stopwatch` gives seconds, also while the environment is
    frozen: what expires, expires meanwhile."""

    def __init__(self, *, stopwatch: Callable[[], float] | None = None) -> None:
        self._stopwatch = stopwatch or Stopwatch()
        self._held: dict[str, tuple[Value, float, float]] = {}
        """Each with the moments until which it is fresh, and usable."""

    def get(self, name: str, read: Callable[[], Expiring[Value]]) -> Value:
        """What is kept under a name; read when it is not fresh. `ProviderError` when it cannot be had."""
        held, now = self._held.get(name), self._stopwatch()
        # After a failed renewal "fresh until" may lie beyond "usable until".
        if held is not None and now < min(held[1:]):
            return held[0]
        try:
            found = read()
        except ProviderError:
            if held is None or now >= held[2]:
                raise
            self._held[name] = (held[0], now + RETRY_S, held[2])
            return held[0]
        self._held[name] = (found.value, now + found.fresh_s, now + found.usable_s)
        return found.value

    def invalidate(self, name: str) -> None:
        self._held.pop(name, None)
