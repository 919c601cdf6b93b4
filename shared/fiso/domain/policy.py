"""Policies: what an operator allows and prefers for one function. `Policy` is always the operator's row."""

from dataclasses import dataclass, field
from enum import StrEnum

from fiso.domain.endpoint import EndpointId, Provider


class Scoring(StrEnum):
    """How predictions become one number: shares of the best candidate, or the brief's reciprocals."""

    RELATIVE = "relative"
    RECIPROCAL = "reciprocal"


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
    """The operator's row for one function. Empty `allowed_*` allows all; `denied_*` and `residency` always win.

    `residency` lists the regions that data may enter; when set, every other region is out (it fails closed).
    `exploration` bounds what trying candidates other than the best scored is expected to cost: a share of the best
    one's loss (its latency, under weights that only care for that), per request and on average. 0 never tries.
    """

    version: int
    weights: Weights = field(default_factory=Weights)
    scoring: Scoring = Scoring.RELATIVE
    allowed_providers: frozenset[Provider] = frozenset()
    denied_providers: frozenset[Provider] = frozenset()
    allowed_regions: frozenset[str] = frozenset()
    denied_regions: frozenset[str] = frozenset()
    residency: frozenset[str] = frozenset()
    mode: Mode = Mode.ROUTE
    home: EndpointId | None = None
    pinned: EndpointId | None = None
    idempotent: Idempotent = Idempotent.NO
    timeout_ms: int = 28_000
    max_attempts: int = 3
    exploration: float = 0.05
    cost_source: CostSource = CostSource.TARIFF

    def __post_init__(self) -> None:
        if not 0 <= self.exploration <= 0.5:
            raise ValueError(f"exploration must be within [0, 0.5]: {self.exploration}")
        if not 100 <= self.timeout_ms <= 28_000:
            raise ValueError(f"timeout_ms must be within [100, 28000]: {self.timeout_ms}")
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts must be within [1, 5]: {self.max_attempts}")
        if self.mode is Mode.PIN and self.pinned is None:
            raise ValueError("mode pin needs the endpoint to pin")
        if self.mode is Mode.OBSERVE and self.home is None:
            raise ValueError("mode observe needs a home endpoint")
