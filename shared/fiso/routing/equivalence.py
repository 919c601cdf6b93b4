"""Equivalence in operation: what a comparison changes in the states of the copies, and which copy is quarantined. Pure.

A copy is quarantined when it is the odd one of three too often for chance. If copies only differ now and then, each of
the three that are compared is the odd one with probability 1/3; a copy that is wrong is it nearly always (ODD_SHARE).
The likelihood ratio of the two passes copies/FALSE_ALARMS with probability FALSE_ALARMS at most, however often one
looks (Ville's inequality, over all copies): 6 comparisons of three copies that all name the same one, more where some
name another.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import log

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.policy import Mode
from fiso.domain.record import InvocationRecord, ShadowOutcome, ShadowSummary
from fiso.domain.state import Compared, EndpointState
from fiso.routing import constraints, reported

ODD_SHARE = 0.9
FALSE_ALARMS = 0.01
_OWN = log(ODD_SHARE * 3)
_OTHERS = log((1 - ODD_SHARE) * 3 / 2)

States = Mapping[EndpointId, EndpointState]


def compared(record: InvocationRecord) -> tuple[EndpointId, ...]:
    """The copies whose answers to this request were compared, beside the one that answered it."""
    shadow = record.shadow
    if shadow is None or shadow.outcome is ShadowOutcome.UNFINISHED or record.result.endpoint is None:
        return ()
    return (shadow.endpoint,) if shadow.third is None else (shadow.endpoint, shadow.third)


def with_comparison(
    states: Mapping[EndpointId, EndpointState], record: InvocationRecord, caller: str = ""
) -> dict[EndpointId, EndpointState]:
    """The states after what this record of a caller's says of its copies. They must hold all of `compared`."""
    after = dict(states)
    others, answered, shadow = compared(record), record.result.endpoint, record.shadow
    if not others or answered is None or shadow is None:
        return after
    for endpoint in (answered, *others):
        known = _since(after[endpoint].equivalence, record.decision.policy_version or 0)
        if known is not None:
            after[endpoint] = replace(after[endpoint], equivalence=_compared(known, endpoint, shadow, record, caller))
    return after


def _since(known: Compared | None, version: int) -> Compared | None:
    """What is counted under this version: anew with a later one; None for a record from before."""
    if known is None or known.policy_version < version:
        return Compared(policy_version=version)
    return known if known.policy_version == version else None


def _compared(
    known: Compared, endpoint: EndpointId, shadow: ShadowSummary, record: InvocationRecord, caller: str
) -> Compared:
    is_odd = shadow.odd == endpoint
    is_disputed = shadow.outcome is ShadowOutcome.DIFFERS and shadow.odd is None
    differed_by = caller if not known.differed or known.differed_by == caller else ""
    counted = replace(
        known,
        differed_by=differed_by if is_odd else known.differed_by,
        compared=known.compared + 1,
        differed=known.differed + is_odd,
        disputed=known.disputed + is_disputed,
    )
    # what is certain stands in the place of what may be another's
    is_first = not known.differed if is_odd else is_disputed and not known.first_id
    if not is_first:
        return counted
    return replace(counted, first_id=record.invocation_id, first_place=shadow.place or "", first_at=record.timestamp)


def quarantined(entry: CatalogEntry, states: States) -> dict[EndpointId, str]:
    """Who is quarantined under the policy in force, and why. The next version of the policy lifts it."""
    if not entry.policy.shadow.quarantine or entry.policy.mode is not Mode.ROUTE:
        return {}
    known = {
        id: found
        for id in (endpoint.id for endpoint in entry.endpoints)
        if id in states and (found := states[id].equivalence) and found.policy_version == entry.policy.version
    }
    total, limit = sum(each.differed for each in known.values()), log(len(entry.endpoints) / FALSE_ALARMS)
    return {
        id: f"differed in {each.differed} of {each.compared} answers, first at {each.first_place} in {each.first_id}"
        for id, each in known.items()
        if each.differed * _OWN + (total - each.differed) * _OTHERS >= limit
        # What one of several tenants asks for may be what copies differ by.
        and (not each.differed_by or reported.is_alone(states, each.differed_by))
    }


class Quarantine:
    """Entries with those quarantined left out. Keeps what it made: decisions are kept by the identity of an entry."""

    def __init__(self) -> None:
        self._made: dict[FunctionName, tuple[CatalogEntry, frozenset[EndpointId], CatalogEntry]] = {}

    def entry(self, entry: CatalogEntry, states: States) -> CatalogEntry:
        """The entry to decide by; the same where nobody is quarantined, or nobody else would be left."""
        if not entry.policy.shadow.quarantine:
            return entry
        out = quarantined(entry, states)
        if not out:
            return entry
        made = self._made.get(entry.name)
        if made is None or made[0] is not entry or made[1] != out.keys():
            made = self._made[entry.name] = (entry, frozenset(out), _without(entry, out))
        return made[2]


def _without(entry: CatalogEntry, out: Mapping[EndpointId, str]) -> CatalogEntry:
    left_out = replace(entry, quarantined=out)
    return left_out if constraints.eligible(left_out).candidates else entry
