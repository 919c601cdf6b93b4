"""Credential cache: what identifies FISO elsewhere, read over the network once and kept while it may be used."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.stopwatch import Stopwatch

RETRY_S = 10.0
"""After a renewal that failed, what is still usable is used for so long before the next. A value that was not taken
is replaced so often at most."""
LONGEST_WAIT_S = 10.0

Value = TypeVar("Value")


class Expiring(NamedTuple, Generic[Value]):
    """A value as it was read: for `fresh_s` it needs no renewal, after `usable_s` it may not be used."""

    value: Value
    fresh_s: float
    usable_s: float


class _Held(NamedTuple, Generic[Value]):
    """A value with the moments until which it is fresh, and usable."""

    value: Value
    fresh_until: float
    usable_until: float


class CredentialCache(Generic[Value]):
    """Values by name, in the memory of this environment. Each is read by one thread at a time: others wait for it, or
    use what still holds. A read that failed is not repeated for `failed_s`. `stopwatch` gives seconds, also while the
    environment is frozen: what expires, expires meanwhile."""

    def __init__(self, *, stopwatch: Callable[[], float] | None = None, failed_s: float = 0.0) -> None:
        self._stopwatch, self._failed_s = stopwatch or Stopwatch(), failed_s
        self._held: dict[str, _Held[Value]] = {}
        self._reading: dict[str, Lock] = {}
        self._failed: dict[str, tuple[ProviderError, float]] = {}
        self._replaced_at: dict[str, float] = {}

    def get(self, name: str, read: Callable[[], Expiring[Value]], *, within_s: float = LONGEST_WAIT_S) -> Value:
        """What is kept under a name; read when it is not fresh. `ProviderError` when it cannot be had."""
        held = self._held.get(name)
        if self._is_fresh(held):
            return held.value  # type: ignore[union-attr]  # what is fresh is there
        reading = self._reading.setdefault(name, Lock())
        usable = held if self._is_usable(held) else None
        if not (reading.acquire(blocking=False) if usable else reading.acquire(timeout=max(0.0, within_s))):
            if usable:
                return usable.value
            raise ProviderError(Failure.UNREACHABLE, f"{name} is still being fetched")
        try:
            return self._read(name, read)
        finally:
            reading.release()

    def is_due(self, name: str) -> bool:
        """Whether it should be read, and nobody is about it."""
        reading = self._reading.get(name)
        return not self._is_fresh(self._held.get(name)) and not (reading is not None and reading.locked())

    @property
    def is_empty(self) -> bool:
        return not self._held

    def replace(self, name: str, refused: Value) -> bool:
        """`refused` was not taken where it was shown: whether there will be another one to try. A new one that is not
        taken either is no reason for a third."""
        held, now = self._held.get(name), self._stopwatch()
        if held is not None and held.value != refused:
            return True  # somebody was quicker
        if now - self._replaced_at.get(name, float("-inf")) < RETRY_S:
            return False
        self._replaced_at[name] = now
        self._held.pop(name, None)
        return True

    def invalidate(self, name: str) -> None:
        self._held.pop(name, None)

    def forget(self) -> None:
        """Nothing is kept."""
        self._held.clear()
        self._failed.clear()

    def _read(self, name: str, read: Callable[[], Expiring[Value]]) -> Value:
        held = self._held.get(name)  # once more: whoever was waited for may have brought it
        if held is not None and self._is_fresh(held):
            return held.value
        error, until = self._failed.get(name, (None, 0.0))
        if error is not None and not self._is_usable(held) and self._stopwatch() < until:
            raise error.with_traceback(None)
        try:
            found = read()
        except ProviderError as failed:
            now = self._stopwatch()
            self._failed[name] = (failed, now + self._failed_s)
            if held is None or now >= held.usable_until:
                raise
            self._held[name] = _Held(held.value, now + RETRY_S, held.usable_until)
            return held.value
        now = self._stopwatch()
        self._failed.pop(name, None)
        self._held[name] = _Held(found.value, now + found.fresh_s, now + found.usable_s)
        return found.value

    def _is_fresh(self, held: _Held[Value] | None) -> bool:
        # After a failed renewal "fresh until" may lie beyond "usable until".
        return held is not None and self._stopwatch() < min(held.fresh_until, held.usable_until)

    def _is_usable(self, held: _Held[Value] | None) -> bool:
        return held is not None and self._stopwatch() < held.usable_until
