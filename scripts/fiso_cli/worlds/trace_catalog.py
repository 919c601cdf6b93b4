"""The router's world in a replay: endpoints and policies from the arms present."""

from collections.abc import Iterable

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.policy import Policy
from fiso_cli.worlds.objective import WEIGHTS, Objective
from fiso_cli.worlds.trace import Arm, Round, Trace

DYNAMIC_MEMORY_MB = 512
"""What an arm without a memory setting is declared with, since an endpoint must have a size: the middle, on a
logarithmic scale and in whole steps of 128 MB, of what Azure's consumption plan can bill (128 to 1,536 MB)."""


class Catalog:
    """One entry per function and set of arms present; arms that are missing in a round are not in its entry."""

    def __init__(self, trace: Trace, objective: Objective) -> None:
        self._endpoints = {id: endpoint_of(arm) for id, arm in trace.arms.items()}
        self._policy = Policy(version=1, weights=WEIGHTS[objective])
        self._entries: dict[tuple[str, frozenset[EndpointId]], CatalogEntry] = {}

    def entry(self, played: Round) -> CatalogEntry:
        """The function as this round has it."""
        key = (played.function, frozenset(played.calls))
        if key not in self._entries:
            self._entries[key] = self._make(played.function, played.calls)
        return self._entries[key]

    def endpoints(self) -> Iterable[Endpoint]:
        """Every arm as an endpoint."""
        return self._endpoints.values()

    def _make(self, function: str, present: Iterable[EndpointId]) -> CatalogEntry:
        return CatalogEntry(
            name=FunctionName(function),
            function_type=function,
            endpoints=tuple(self._endpoints[arm] for arm in present),
            policy=self._policy,
        )


def endpoint_of(arm: Arm) -> Endpoint:
    """The endpoint that stands for an arm."""
    return Endpoint(
        id=arm.id,
        provider=arm.provider,
        region=arm.region,
        memory_mb=arm.memory_mb or DYNAMIC_MEMORY_MB,
        address=f"trace:{arm.id}",
    )
