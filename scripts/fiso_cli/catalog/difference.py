"""Differences: what a new catalog would change in the newest version, as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fiso.codecs.catalog import endpoint_to_document, terms_to_document
from fiso.codecs.policy import whole_document
from fiso.codecs.typed import Document, Json
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.policy import Policy
from fiso.domain.stage_rules import StageRules

Flat = Mapping[str, Json]


class Kind(StrEnum):
    """What happens to a part of the catalog."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed part of one function; `path` is empty for the function itself."""

    kind: Kind
    function: FunctionName
    path: str = ""
    before: Json = None
    after: Json = None

    def to_document(self) -> Document:
        """For `--json`."""
        return {
            "kind": self.kind.value,
            "function": self.function,
            "path": self.path,
            "before": self.before,
            "after": self.after,
        }


def changes(before: Mapping[FunctionName, CatalogEntry], after: Sequence[CatalogEntry]) -> list[Change]:
    """Everything that differs, by function name; endpoints before policy. Policy versions do not count.

    Of an added function's policy, what differs from the defaults.
    """
    wanted = {entry.name: entry for entry in after}
    found: list[Change] = []
    for name in sorted({*before, *wanted}):
        found += _of_function(name, before.get(name), wanted.get(name))
    return found


STAGE = FunctionName("")
"""What is changed of the stage as a whole has no function."""
MOST_TENANTS_TOLD = 20


def changes_of_rules(before: StageRules, after: StageRules) -> list[Change]:
    """What differs of the stage's own rules; of many tenants, how many, and the first of them."""
    found = list(_of_fields(STAGE, "quotas", {"default": before.quotas.default}, {"default": after.quotas.default}))
    old, new = before.quotas.tenants, after.quotas.tenants
    differing = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    for name in differing if len(differing) <= MOST_TENANTS_TOLD else ():
        kind = Kind.CHANGED if name in old and name in new else Kind.ADDED if name in new else Kind.REMOVED
        path, before_, after_ = f"quotas.tenants.{name}", old.get(name), new.get(name)
        found.append(Change(kind=kind, function=STAGE, path=path, before=before_, after=after_))
    if len(differing) > MOST_TENANTS_TOLD:
        told = f"{len(new)} ({len(differing)} differ: {', '.join(differing[:3])}, ...)"
        found.append(Change(kind=Kind.CHANGED, function=STAGE, path="quotas.tenants", before=f"{len(old)}", after=told))
    hosts: Flat = {"hosts": [*sorted(before.hosts)]}
    found += _of_fields(STAGE, "stage", hosts, {"hosts": [*sorted(after.hosts)]})
    return found + list(_of_fields(STAGE, "identities", dict(before.identities or {}), dict(after.identities or {})))


def _of_function(name: FunctionName, old: CatalogEntry | None, new: CatalogEntry | None) -> Iterator[Change]:
    if new is None:
        yield Change(kind=Kind.REMOVED, function=name, before=old.function_type if old else None)
        return
    if old is None:
        yield Change(kind=Kind.ADDED, function=name, after=new.function_type)
    elif old.function_type != new.function_type:
        yield Change(kind=Kind.CHANGED, function=name, path="type", before=old.function_type, after=new.function_type)
    yield from _of_endpoints(name, old.endpoints if old else (), new.endpoints)
    yield from _of_fields(name, "prices", _terms(old), _terms(new))
    was = _flat_policy(old.policy if old else Policy(version=0))
    for change in _of_fields(name, "policy", was, _flat_policy(new.policy)):
        yield change if old else replace(change, kind=Kind.ADDED, before=None)


def _of_endpoints(name: FunctionName, old: Sequence[Endpoint], new: Sequence[Endpoint]) -> Iterator[Change]:
    before, after = {e.id: e for e in old}, {e.id: e for e in new}
    for endpoint_id in [*after, *(known for known in before if known not in after)]:
        path = f"endpoints.{endpoint_id}"
        was, becomes = before.get(endpoint_id), after.get(endpoint_id)
        if was is None and becomes is not None:
            yield Change(kind=Kind.ADDED, function=name, path=path, after=_summary(becomes))
        elif was is not None and becomes is None:
            yield Change(kind=Kind.REMOVED, function=name, path=path, before=_summary(was))
        elif was is not None and becomes is not None:
            yield from _of_fields(name, path, endpoint_to_document(was), endpoint_to_document(becomes))
    if before.keys() == after.keys() and [*before] != [*after]:
        yield Change(kind=Kind.CHANGED, function=name, path="endpoints (order)", before=[*before], after=[*after])


def _of_fields(name: FunctionName, prefix: str, before: Flat, after: Flat) -> Iterator[Change]:
    for key, value in after.items():
        if before.get(key) != value:
            yield Change(kind=Kind.CHANGED, function=name, path=f"{prefix}.{key}", before=before.get(key), after=value)
    for key in before.keys() - after.keys():
        yield Change(kind=Kind.CHANGED, function=name, path=f"{prefix}.{key}", before=before[key])


def _flat_policy(policy: Policy) -> Flat:
    document = whole_document(policy)
    weights = document.pop("weights")
    document.pop("version")
    document.setdefault("pin", None)
    shares = weights if isinstance(weights, dict) else {}
    return {**{f"weights.{key}": share for key, share in shares.items()}, **document}


def _terms(entry: CatalogEntry | None) -> Flat:
    return terms_to_document(entry.prices) if entry and entry.prices else {}


def _summary(endpoint: Endpoint) -> str:
    return f"{endpoint.provider} {endpoint.region} {endpoint.memory_mb} MB {endpoint.address}"
