"""The catalog: functions with their endpoints and policies, and the immutable snapshot the request path reads."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.errors import InvalidCatalog, NothingAvailable, UnknownFunction
from fiso.domain.fields import Impossible, Place
from fiso.domain.policy import Policy
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso.domain.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One function: its endpoints and the policy that rules them.

    `function_type` groups functions of like behaviour for the model (any short label). `prices` are the operator's own
    terms, None where list prices hold. `refused` are endpoints that
    must not be called, whatever the policy says, and why (`domain.address`): found in reading, never stored.
    `quarantined` are those whose answers differ from the majority's (`routing.equivalence`), likewise.
    """

    name: FunctionName
    function_type: str
    endpoints: tuple[Endpoint, ...]
    policy: Policy
    prices: Terms | None = None
    refused: Mapping[EndpointId, str] = field(default_factory=dict)
    quarantined: Mapping[EndpointId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [endpoint.id for endpoint in self.endpoints]
        problems: list[tuple[Place, str]] = [] if ids else [(("endpoints",), "must not be empty")]
        for index, id in enumerate(ids):
            if id in ids[:index]:
                problems.append((("endpoints", index, "id"), f"{id!r} is already taken"))
        for key, named in self._named():
            if named not in ids:
                problems.append((("policy", *key), f"no endpoint {named!r} here, only {', '.join(ids)}"))
        if problems:
            raise Impossible(problems)

    def _named(self) -> Iterator[tuple[Place, EndpointId]]:
        """The endpoints that the policy names, and where."""
        for key, named in (("home", self.policy.home), ("pinned", self.policy.pinned)):
            if named is not None:
                yield (key,), named
        if self.policy.canary is not None:
            yield ("canary", "endpoint"), self.policy.canary.endpoint
        for number, tier in enumerate(self.policy.tiers):
            yield from ((("tiers", number), named) for named in sorted(tier))

    def at(self, now: datetime) -> Self:
        policy = self.policy.at(now)
        return self if policy is self.policy else replace(self, policy=policy)

    def endpoint(self, id: EndpointId) -> Endpoint:
        return next(endpoint for endpoint in self.endpoints if endpoint.id == id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Why a part of a snapshot could not be read, for the log alone. `tenants` are the only ones that may know of the
    function, where that could be read; `is_endpoint`: the function serves without that copy."""

    reason: str
    tenants: frozenset[str] = frozenset()
    is_endpoint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """A function's mode that was set past the database: by whom, when, and `instead` of which (`Policy.mode_word`) that
    the database, or an order before this one, has. What else the database says after its version `since` stands. It was
    published as `version`; what learns of it in the database has a higher number."""

    by: str
    at: datetime
    version: int
    instead: frozenset[str]
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the request path knows of the catalog at one version. Never changed, only replaced.

    `base` is the database's version that it was made of, where that is not its own (`base_version`); `ahead` are the
    functions whose mode the database does not know yet. `damaged` are functions, and copies as `function/copy`, that
    could not be read: found in reading, never stored.
    """

    version: int
    published_at: datetime
    functions: Mapping[FunctionName, CatalogEntry]
    damaged: Mapping[str, Damage] = field(default_factory=dict)
    base: int | None = None
    ahead: Mapping[FunctionName, Ahead] = field(default_factory=dict)
    rules: StageRules = NO_RULES
    _unpinned: Mapping[FunctionName, CatalogEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: what is worked out per decision is kept by the identity of the entry.
        ends = {name: entry.policy.pin.until for name, entry in self.functions.items() if entry.policy.pin}
        after = {name: self.functions[name].at(until) for name, until in ends.items() if until}
        object.__setattr__(self, "_unpinned", after)

    @property
    def base_version(self) -> int:
        return self.version if self.base is None else self.base

    def at(self, now: datetime) -> Mapping[FunctionName, CatalogEntry]:
        return {name: self.entry_at(name, now) for name in self.functions}

    def entry_at(self, name: str, now: datetime) -> CatalogEntry:
        """One function as it is in force then; `UnknownFunction` when the catalog has none."""
        found = self.entry(name)
        return found if found.policy.at(now) is found.policy else self._unpinned[found.name]

    def entry(self, name: str) -> CatalogEntry:
        """One function as it was written; `UnknownFunction` when the catalog has none, `NothingAvailable` when its
        entry is damaged."""
        found = self.functions.get(FunctionName(name))
        if found is None:
            raise self._missing(name)
        return found

    def entry_for(self, tenant: str, name: str) -> CatalogEntry:
        """The same for a tenant: one that it may not call is none."""
        damage = self.damaged.get(name)
        if damage is not None and damage.tenants and tenant not in damage.tenants:
            raise self.unknown(name)
        found = self.entry(name)
        if not found.policy.admits(tenant):
            raise self.unknown(name)
        return found

    def _missing(self, name: str) -> UnknownFunction | NothingAvailable:
        if name in self.damaged and "/" not in name:
            return NothingAvailable(f"function {name!r} cannot be read from catalog version {self.version}")
        return self.unknown(name)

    def unknown(self, name: str) -> UnknownFunction:
        return UnknownFunction(f"no function {name!r} in catalog version {self.version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A version that was published, by its signature: the digest and the size of the snapshot's bytes."""

    version: int
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if not 0 < self.version < 2**63 or not 0 < self.size_bytes < 2**31:
            raise ValueError("version and size must be positive, and no larger than numbers of 63 and 31 bits")


Entries = Mapping[FunctionName, CatalogEntry]


# A policy carries the version at which it last changed, so a decision's `policy_version` moves only with its
# own policy.
def stamped(entries: Iterable[CatalogEntry], *, replaced: Entries, version: int) -> dict[FunctionName, CatalogEntry]:
    """The entries as `version` holds them, by name. `InvalidCatalog` when a function stands in them twice."""
    result: dict[FunctionName, CatalogEntry] = {}
    for entry in entries:
        if entry.name in result:
            raise InvalidCatalog(f"function {entry.name!r} stands in the catalog twice")
        old = replaced.get(entry.name)
        unchanged = old is not None and replace(entry.policy, version=old.policy.version) == old.policy
        kept = old.policy.version if old is not None and unchanged else version
        result[entry.name] = replace(entry, policy=replace(entry.policy, version=kept))
    return result
