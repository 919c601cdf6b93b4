"""Leases as a client holds them: one per function, renewed early by one thread at a time, kept in an outage.

fresh      used as it is.
due        the last quarter of its life: used, while one thread in the background asks for the next.
stale      over, and FISO was asked and could not be reached a moment ago: used as long as the policy lets it.
declined   over, and FISO answers that it gives none: nothing is called.
fallback   FISO cannot be reached, and no lease may be used: the configured order, if there is one.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread

from fiso_client.api import FisoAway, FisoRefused
from fiso_client.core.failures import FisoError
from fiso_client.regions import Regions
from fiso_client.target import Held, Target, held_from

DUE_SHARE = 0.75
"""The share of its life after which a lease is renewed."""

logger = logging.getLogger(__name__)


class NoLease(FisoError):
    """FISO is unavailable, no lease is left that could still be used, and no fallback is configured."""


@dataclass(slots=True)
class _Slot:
    """One function's lease. `asking` is held by whoever asks FISO; `silent_until` is when it may be asked again;
    `away_at` when it could last not be reached, None once it has answered; `refusal` is its last word, where it gave no
    lease."""

    asking: Lock = field(default_factory=Lock)
    held: Held | None = None
    silent_until: float = 0.0
    away_at: float | None = None
    refusal: FisoRefused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Gives a lease for every call. `stopwatch` counts seconds, over freezes as well (`Stopwatch`)."""

    regions: Regions
    fallback: Mapping[str, tuple[Target, ...]]
    grace_s: float | None
    retry_s: float
    patience_s: float
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
        """Ask FISO, once for all who wait; while it cannot be reached nobody waits for another's question."""
        if not slot.asking.acquire(blocking=self._usable(slot) is None):
            return self._usable(slot) or self._fallback(function)
        try:
            now = self.stopwatch()
            is_fresh = slot.held is not None and now < slot.held.expires_at
            if not is_fresh and now >= slot.silent_until:
                self._ask(slot, function, size)
        finally:
            slot.asking.release()
        if slot.refusal is not None:
            raise slot.refusal
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
            given = self.regions.decide(function, size)
            slot.held = held_from(given.document, self.stopwatch(), region=given.region)
        except FisoRefused as refused:
            slot.away_at, slot.refusal = None, refused
            raise
        except (FisoAway, KeyError, TypeError, ValueError) as error:
            slot.away_at = self.stopwatch()
            slot.silent_until, slot.refusal = slot.away_at + self.retry_s, None
            logger.warning("FISO gave no lease for %s: %s", function, error)
        else:
            slot.silent_until, slot.away_at, slot.refusal = 0.0, None, None

    def _usable(self, slot: _Slot) -> Held | None:
        """The lease, while it holds; and after that while FISO cannot be reached. That was asked within the time in
        which it is not asked again and one question more may be under way: a FISO that is back is not passed by."""
        held, away_at, now = slot.held, slot.away_at, self.stopwatch()
        if held is None or now < held.expires_at:
            return held
        if away_at is None or now >= away_at + self.retry_s + self.patience_s:
            return None
        outage_s = held.outage_s if self.grace_s is None else min(held.outage_s, self.grace_s)
        return held if now < held.expires_at + outage_s else None

    def _fallback(self, function: str) -> Held:
        targets, now = self.fallback.get(function), self.stopwatch()
        if not targets:
            raise NoLease(f"no lease for {function}, and no fallback is configured")
        return Held(function=function, targets=targets, token=None, received_at=now, expires_at=now)

    def _slot(self, function: str) -> _Slot:
        with self.lock:
            return self.slots.setdefault(function, _Slot())
