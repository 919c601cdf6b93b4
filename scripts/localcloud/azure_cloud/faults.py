"""Faults of Azure's that a test or an operator asks for: refusals, conflicts, throttling, operations that never end."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from localcloud.azure_cloud.errors import Refused


@dataclass
class Fault:
    """`times` requests, after `skip`, whose `METHOD path` matches are answered so; `is_after`: once they are done."""

    match: str
    status: int = 0
    code: str = "InternalServerError"
    message: str = "asked for"
    times: int = 1
    skip: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    is_after: bool = False


@dataclass
class Faults:
    """All that are asked for."""

    requests: list[Fault] = field(default_factory=list)
    resources: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Types that cannot be made: code, message, how many times."""
    hanging: set[str] = field(default_factory=set)
    """Parts of the names of deployments that never end."""
    denied: set[str] = field(default_factory=set)
    """Actions that the caller has no permission for."""
    builds: list[str] = field(default_factory=list)
    """Why the next builds fail, one each."""
    hides_details: bool = False
    """A failed deployment says to list its operations, and no more."""
    forgets_deployments: int = 0
    """How many looks at a published package are 404."""

    def answer(self, request: str, *, is_after: bool) -> None:
        """Raise what is asked for a request."""
        for fault in self.requests:
            if fault.times and fault.is_after == is_after and re.search(fault.match, request):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                raise Refused(fault.status, fault.code, fault.message, headers=fault.headers)

    def of_resource(self, kind: str) -> None:
        """Raise what is asked for the making of a resource."""
        found = self.resources.get(kind)
        if found is not None and found[2]:
            code, message, times = found
            self.resources[kind] = (code, message, times - 1)
            raise Refused(400 if code != "Conflict" else 409, code, message)

    def check_permission(self, action: str, scope: str) -> None:
        """403 as Azure words it."""
        if action in self.denied:
            raise Refused(
                403,
                "AuthorizationFailed",
                "The client 'you@example.com' with object id '11111111-2222-3333-4444-555555555555' does not have "
                f"authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. "
                "If access was recently granted, please refresh your credentials.",
            )
