"""Leases as a client holds them: one per function, renewed early by one thread at a time, kept in an outage.

fresh      used as it is.
due        the last quarter of its life: used, while one thread in the background asks for the next.
stale      over, and FISO did not give another: used for a bounded grace.
fallback   none of these: the configured order, if there is one.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread

from fiso_client.api import FisoApi, FisoAway, FisoRefused
from fiso_client.core.failures import FisoError
from fiso_client.target import Held, Target, held_from

DUE_SHARE = 0.75
"""The share of its life after which a lease is renewed."""

logger = logging.getLogger(__name__)


class NoLease(FisoError):
    """FISO is unavailable, no lease is left that could still be used, and no fallback is configured."""


@dataclass(slots=True)
class _Slot:
    """One function's lease. `asking` is held by whoever asks FISO; `silent_until` is when it may be asked again."""

    asking: Lock = field(default_factory=Lock)
    held: Held | None = None
    silent_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Gives a lease for every call. `stopwatch` counts seconds, over freezes as well (`Stopwatch`)."""

    api: FisoApi
    fallback: Mapping[str, tuple[Target, ...]]
    grace_s: float
    retry_s: float
    stopwatch: Callable[[], float]
    slots: dict[str, _Slot] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def of(self, function: str, request_size_bytes: int) -> Held:
        """What to call by now. `FisoRefused` for a function FISO does not know, `NoLease` when there is nothing."""
        slot = self._slot(function)
        held, now = slot.held, self.stopwatch()
        if held is not None and now < held.expires_at:
            if now >= held.received_at + DUE_SHARE * held.lifetime_s:
                self._renew_beside(slot, function, request_size_bytes)
            return held
        return self._renewed(slot, function, request_size_bytes)

    def _renewed(self, slot: _Slot, function: str, size: int) -> Held:
        """Ask FISO, once for all who wait; whoever has a stale lease does not wait for another's question."""
        if not slot.asking.acquire(blocking=self._usable(slot) is None):
            return self._usable(slot) or self._fallback(function)
        try:
            now = self.stopwatch()
            is_fresh = slot.held is not None and now < slot.held.expires_at
            if not is_fresh and now >= slot.silent_until:
                self._ask(slot, function, size)
        finally:
            slot.asking.release()
        return self._usable(slot) or self._fallback(function)

    def _renew_beside(self, slot: _Slot, function: str, size: int) -> None:
        if self.stopwatch() < slot.silent_until or not slot.asking.acquire(blocking=False):
            return
        Thread(target=self._ask_and_release, args=(slot, function, size), name="fiso-lease", daemon=True).start()

    def _ask_and_release(self, slot: _Slot, function: str, size: int) -> None:
        try:
            self._ask(slot, function, size)
        except FisoRefused as error:
            logger.warning("lease of %s not renewed, the one in hand serves until it is over: %s", function, error)
        finally:
            slot.asking.release()

    def _ask(self, slot: _Slot, function: str, size: int) -> None:
        slot.silent_until = self.stopwatch() + self.retry_s
        try:
            document = self.api.decide(function, size)
            slot.held = held_from(document, self.stopwatch())
        except (FisoAway, KeyError, TypeError, ValueError) as error:
            slot.silent_until = self.stopwatch() + self.retry_s
            logger.warning("FISO gave no lease for %s: %s", function, error)
        else:
            slot.silent_until = 0.0

    def _usable(self, slot: _Slot) -> Held | None:
        held = slot.held
        return held if held is not None and self.stopwatch() < held.expires_at + self.grace_s else None

    def _fallback(self, function: str) -> Held:
        targets, now = self.fallback.get(function), self.stopwatch()
        if not targets:
            raise NoLease(f"no lease for {function}, and no fallback is configured")
        return Held(function=function, targets=targets, token=None, received_at=now, expires_at=now)

    def _slot(self, function: str) -> _Slot:
        with self.lock:
            return self.slots.setdefault(function, _Slot())
