"""The kill switch past the database: a function's mode, set in the published catalog itself by a conditional write.

It is in force as any published version is, whether the database can be reached or not, and goes along with whatever is
published until the database has it (`publish`). docs/decisions/0031-the-kill-switch.md
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from fiso.codecs.typed import Codec
from fiso.domain.catalog import Ahead, CatalogEntry, Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import InvalidCatalog, UnknownFunction, WriteConflict
from fiso.domain.fields import Impossible
from fiso.domain.policy import Mode, Pin, Policy
from fiso.ports import Snapshots
from fiso.routing.constraints import eligible
from fiso.services.maintenance.publish import TRIES

Alter = Callable[[CatalogEntry], Policy]
"""How somebody wants a function's policy to be."""

LONGEST_TEXT = 500

ORDERS = Codec(is_strict=True)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOrder:
    """A mode that somebody wants of a function: pinned to `endpoint`, or `mode` where there is none, or what was before
    the pin where both are None."""

    function: FunctionName
    by: str
    endpoint: EndpointId | None = None
    mode: Mode | None = None
    reason: str = ""
    until: datetime | None = None

    def __post_init__(self) -> None:
        if not self.by or len(self.by) > LONGEST_TEXT or not self.by.isprintable():
            raise ValueError("an order says who gives it, in one line")
        if len(self.reason) > LONGEST_TEXT or not self.reason.isprintable():
            raise ValueError(f"reason: must be one line of at most {LONGEST_TEXT} characters")
        if self.mode is Mode.PIN or (self.mode and self.endpoint):
            raise ValueError("mode: must be route or observe, without an endpoint; a pin names its endpoint")


def pinned_to(endpoint: str, pin: Pin | None = None) -> Alter:
    """The kill switch: every request goes to one endpoint. When the pin is over, the mode from before comes back."""

    def alter(entry: CatalogEntry) -> Policy:
        old = entry.policy
        before = (old.pin.then if old.pin else Mode.ROUTE) if old.mode is Mode.PIN else old.mode
        new = pin and replace(pin, then=before)
        if old.pinned == endpoint and old.pin and new and replace(old.pin, at=new.at) == new:
            return old  # said again; who was first stands
        return replace(old, mode=Mode.PIN, pinned=EndpointId(endpoint), pin=new)

    return alter


def in_mode(mode: Mode | None = None) -> Alter:
    """Route or observe, or the mode from before a pin; any pin is lifted."""
    return lambda entry: entry.policy.unpinned(mode or (entry.policy.pin.then if entry.policy.pin else Mode.ROUTE))


def switch(order: ModeOrder, snapshots: Snapshots, *, now: datetime) -> Snapshot:
    """Publish the catalog with the function's mode as ordered; the snapshot that is in force then. Said again, it
    changes nothing.

    `UnknownFunction`, `Impossible` for what cannot be; `InvalidCatalog` where no whole catalog is published,
    `WriteConflict` when others publish all the while.
    """
    taken = 0
    while True:
        published = snapshots.current()
        if published is None or published.damaged:
            # what cannot be read of a catalog would be missing from the next version
            raise InvalidCatalog("no catalog is published that reads as a whole: `fiso apply` writes one")
        switched = _switched(order, published, now, taken)
        if switched is published:
            return published
        try:
            snapshots.publish(switched)
        except WriteConflict:
            taken += 1
            if taken == TRIES:
                raise
            continue
        entry = switched.functions[order.function]
        told = {
            "function": entry.name,
            "mode": entry.policy.mode_word,
            "by": order.by,
            "reason": order.reason,
            "published_version": switched.version,
        }
        logger.warning("mode switched", extra=told)
        return switched


def _switched(order: ModeOrder, published: Snapshot, now: datetime, taken: int) -> Snapshot:
    stored = published.functions.get(order.function)
    if stored is None:
        raise UnknownFunction(f"no function {order.function!r} in catalog version {published.version}")
    version, entry = published.version + 1 + taken, stored.at(now)
    pin = Pin(by=order.by, at=now, reason=order.reason, until=order.until)
    alter = pinned_to(order.endpoint, pin) if order.endpoint else in_mode(order.mode)
    policy = alter(entry)
    if policy == stored.policy:
        return published
    altered = replace(entry, policy=replace(policy, version=version))
    _refuse_nothing_to_call(altered)
    before = published.ahead.get(order.function)
    ahead = Ahead(
        by=order.by,
        at=now,
        version=version,
        instead=(before.instead if before else frozenset()) | {stored.policy.mode_word},
        since=before.since if before else published.base_version,
    )
    return Snapshot(
        version=version,
        published_at=now,
        functions={**published.functions, order.function: altered},
        base=published.base_version,
        ahead={**published.ahead, order.function: ahead},
        rules=published.rules,
    )


def _refuse_nothing_to_call(entry: CatalogEntry) -> None:
    found = eligible(entry)
    if not found.candidates:
        reasons = "; ".join(f"{exclusion.endpoint}: {exclusion.detail}" for exclusion in found.exclusions)
        raise Impossible([(("mode",), f"leaves no endpoint to call ({reasons})")])
