"""The catalog: functions with their endpoints and policies, and the immutable snapshot the request path reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.errors import UnknownFunction
from fiso.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One function: its endpoints and the policy that rules them.

    `function_type` groups functions of like behaviour for the model (any short label). `refused` are endpoints that
    must not be called, whatever the policy says, and why (`domain.address`): found in reading, never stored.
    """

    name: FunctionName
    function_type: str
    endpoints: tuple[Endpoint, ...]
    policy: Policy
    refused: Mapping[EndpointId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [endpoint.id for endpoint in self.endpoints]
        if not ids or len(set(ids)) != len(ids):
            raise ValueError(f"function {self.name}: needs endpoints with ids of their own, has {ids}")
        for role, chosen in (("home", self.policy.home), ("pinned", self.policy.pinned)):
            if chosen is not None and chosen not in ids:
                raise ValueError(f"function {self.name}: {role} endpoint {chosen!r} is not one of {ids}")
        strangers = sorted(endpoint for tier in self.policy.tiers for endpoint in tier if endpoint not in ids)
        if strangers:
            raise ValueError(f"function {self.name}: tiers name {strangers}, which are not among {ids}")

    def endpoint(self, id: EndpointId) -> Endpoint:
        """The endpoint of an id, which must be one of these."""
        return next(endpoint for endpoint in self.endpoints if endpoint.id == id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the request path knows of the catalog at one version. Never changed, only replaced."""

    version: int
    published_at: datetime
    functions: Mapping[FunctionName, CatalogEntry]

    def entry(self, name: str) -> CatalogEntry:
        """The entry of a function; `UnknownFunction` when the catalog has none."""
        found = self.functions.get(FunctionName(name))
        if found is None:
            raise UnknownFunction(f"no function {name!r} in catalog version {self.version}")
        return found
