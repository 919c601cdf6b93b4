"""Policies: what an operator allows and prefers for one function. `Policy` is always the operator's row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.strategy import Strategy

LARGEST_CONTROL_BLOCK_S = 604_800
"""A week: a longer block would be one day's luck."""


class Scoring(StrEnum):
    """How predictions become one number: shares of the best candidate, or the brief's reciprocals."""

    RELATIVE = "relative"
    RECIPROCAL = "reciprocal"


class Objective(StrEnum):
    """What the best candidate is: the best by the weights, or the cheapest whose p95 keeps the latency objective."""

    WEIGHTED = "weighted"
    CHEAPEST_WITHIN = "cheapest_within"


class Mode(StrEnum):
    """`route` decides and acts; `observe` decides, records and calls home; `pin` always calls one endpoint."""

    ROUTE = "route"
    OBSERVE = "observe"
    PIN = "pin"


class Idempotent(StrEnum):
    """Whether a request that may have run can be run again, on this or another cloud."""

    NO = "no"
    YES = "yes"
    DEDUPLICATES_ON_KEY = "deduplicates_on_key"


class CostSource(StrEnum):
    """What prices a decision: the tariffs applied to the predicted duration, or the trained cost target."""

    TARIFF = "tariff"
    MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the operator cares about. Any non-negative numbers; only their proportions matter."""

    latency: float = 0.4
    cost: float = 0.3
    reliability: float = 0.2
    region_affinity: float = 0.1

    def __post_init__(self) -> None:
        parts = (self.latency, self.cost, self.reliability, self.region_affinity)
        if not all(0 <= part < float("inf") for part in parts) or sum(parts) == 0:
            raise ValueError(f"weights must be finite, non-negative and not all zero: {parts}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's row for one function: hard constraints, then tiers, then what scores best.

    Hard and failing closed: `residency` lists the regions that data may enter (when set, every other region is out);
    `denied_*` always win; empty `allowed_*` allow all. Hard and failing open: `max_p95_ms` and `max_cost_usd` (of one
    request) exclude what is *predicted* beyond them, unless nobody would be left: a prediction is no reason to refuse
    a request. They hold in mode route.

    `tiers`: a candidate of a later tier is called only when none of an earlier one is available; endpoints that no
    tier names are the last. `exploration` bounds what trying candidates other than the best scored is expected to cost:
    a share of the best one's loss (its latency, under weights that only care for that), per request and on average; 0
    never tries. `control_share` of all blocks of `control_block_s` go to `home` whole, for comparison.

    `hedging` is the share of requests for which a second copy may be begun beside a first that is slow; only of those
    that may be repeated, and where the score chose, not the mode or a control block. 0 never hedges.
    """

    version: int
    weights: Weights = field(default_factory=Weights)
    scoring: Scoring = Scoring.RELATIVE
    objective: Objective = Objective.WEIGHTED
    latency_objective_ms: float | None = None
    allowed_providers: frozenset[Provider] = frozenset()
    denied_providers: frozenset[Provider] = frozenset()
    allowed_regions: frozenset[str] = frozenset()
    denied_regions: frozenset[str] = frozenset()
    residency: frozenset[str] = frozenset()
    max_p95_ms: float | None = None
    max_cost_usd: float | None = None
    tiers: tuple[frozenset[EndpointId], ...] = ()
    strategies: tuple[Strategy, ...] = ()
    mode: Mode = Mode.ROUTE
    home: EndpointId | None = None
    pinned: EndpointId | None = None
    idempotent: Idempotent = Idempotent.NO
    timeout_ms: int = 28_000
    max_attempts: int = 3
    exploration: float = 0.05
    hedging: float = 0.05
    control_share: float = 0.0
    control_block_s: int = 3_600
    cost_source: CostSource = CostSource.TARIFF

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.mode is Mode.PIN and self.pinned is None:
            raise ValueError("mode pin needs the endpoint to pin")
        if self.mode is Mode.OBSERVE and self.home is None:
            raise ValueError("mode observe needs a home endpoint")
        if self.control_share and self.home is None:
            raise ValueError("a control share needs a home endpoint")
        if self.objective is Objective.CHEAPEST_WITHIN and self.latency_objective_ms is None:
            raise ValueError("objective cheapest_within needs latency_objective_ms")
        named = [endpoint for tier in self.tiers for endpoint in tier]
        if not all(self.tiers) or len(set(named)) != len(named):
            raise ValueError("every tier needs an endpoint, and no endpoint stands in two tiers")
        names = [strategy.name for strategy in self.strategies]
        if len(set(names)) != len(names):
            raise ValueError(f"strategies need names of their own: {names}")

    def lets_repeat(self, idempotency_key: str | None) -> bool:
        """Whether a request that may have run can be run again: declared so, or deduplicated on a key that is there."""
        if self.idempotent is Idempotent.YES:
            return True
        return self.idempotent is Idempotent.DEDUPLICATES_ON_KEY and idempotency_key is not None

    def _check_numbers(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be within [{least}, {most}]: {value}")
        for name in ("latency_objective_ms", "max_p95_ms", "max_cost_usd"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive and finite: {value}")


_BOUNDS: Mapping[str, tuple[float, float]] = {
    "exploration": (0, 0.5),
    "hedging": (0, 0.2),
    "timeout_ms": (100, 28_000),
    "max_attempts": (1, 5),
    "control_share": (0, 0.5),
    "control_block_s": (60, LARGEST_CONTROL_BLOCK_S),
}
