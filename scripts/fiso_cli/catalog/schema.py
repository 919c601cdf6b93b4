"""The shape of `fiso.yaml`: what each key may hold. Unknown keys are refused; nothing is converted silently.

Defaults are the domain's own. What needs more than one key to judge is in `rules`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from fiso.domain.endpoint import Authentication, Payload, Provider
from fiso.domain.policy import LARGEST_CONTROL_BLOCK_S, CostSource, Idempotent, Objective, Policy, Scoring
from fiso_cli.catalog.strategies import STRICTLY, DeclaredStrategy, Name, preset_by_name

_DOMAIN = Policy(version=0)
LARGEST_MEMORY_MB = 32_768
"""Cloud Run's largest instance; Lambda ends at 10,240."""


def _as_word(value: object) -> object:
    """YAML's `yes` and `no` as a boolean, which `true` and `false` are however they are read."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _weights_weigh(value: "DeclaredWeights") -> "DeclaredWeights":
    if value.latency + value.cost + value.reliability + value.region_affinity == 0:
        raise ValueError("at least one weight must be positive")
    return value


Region = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
ModeText = Annotated[str, Field(pattern=r"^(route|observe|pin:[a-z0-9][a-z0-9_-]{0,62})$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tier = Annotated[list[Name], Field(min_length=1)]
StrategyOrName = Annotated[DeclaredStrategy, BeforeValidator(preset_by_name)]


class _Declared(BaseModel):
    model_config = STRICTLY


class DeclaredEndpoint(_Declared):
    """One endpoint. `address` may name variables as `${FISO_AZURE_EASTUS_URL}`."""

    id: Name
    provider: Annotated[Provider, Field(strict=False)]
    region: Region
    memory_mb: Annotated[int, Field(gt=0, le=LARGEST_MEMORY_MB)]
    address: Annotated[str, Field(min_length=1, max_length=2_000)]
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    payload: Annotated[Payload, Field(strict=False)] = Payload.HTTP
    authentication: Annotated[Authentication, Field(strict=False)] | None = None
    secret_ref: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    concurrency_limit: Positive = 100


class DeclaredWeights(_Declared):
    """All four, so that none is forgotten: only their proportions matter."""

    latency: Weight
    cost: Weight
    reliability: Weight
    region_affinity: Weight


class DeclaredPlaces(_Declared):
    """Providers and regions to allow or to deny."""

    providers: list[Annotated[Provider, Field(strict=False)]] = []
    regions: list[Region] = []


class DeclaredPolicy(_Declared):
    """A policy, or a part of one: keys that are absent come from `defaults`, then from the domain."""

    weights: Annotated[DeclaredWeights, AfterValidator(_weights_weigh)] | None = None
    scoring: Annotated[Scoring, Field(strict=False)] = _DOMAIN.scoring
    objective: Annotated[Objective, Field(strict=False)] = _DOMAIN.objective
    latency_objective_ms: Amount | None = None
    allow: DeclaredPlaces = DeclaredPlaces()
    deny: DeclaredPlaces = DeclaredPlaces()
    residency: list[Region] = []
    max_p95_ms: Amount | None = None
    max_cost_usd: Amount | None = None
    tiers: Annotated[list[Tier], Field(max_length=10)] = []
    strategies: Annotated[list[StrategyOrName], Field(max_length=20)] = []
    mode: ModeText = "route"
    home: Name | None = None
    idempotent: Annotated[Idempotent, Field(strict=False), BeforeValidator(_as_word)] = _DOMAIN.idempotent
    timeout_ms: Annotated[int, Field(ge=100, le=28_000)] = _DOMAIN.timeout_ms
    max_attempts: Annotated[int, Field(ge=1, le=5)] = _DOMAIN.max_attempts
    exploration: Annotated[float, Field(ge=0, le=0.5)] = _DOMAIN.exploration
    hedging: Annotated[float, Field(ge=0, le=0.2)] = _DOMAIN.hedging
    control_share: Annotated[float, Field(ge=0, le=0.5)] = _DOMAIN.control_share
    control_block_s: Annotated[int, Field(ge=60, le=LARGEST_CONTROL_BLOCK_S)] = _DOMAIN.control_block_s
    cost_source: Annotated[CostSource, Field(strict=False)] = _DOMAIN.cost_source


class DeclaredFunction(_Declared):
    """One function."""

    type: Word
    endpoints: Annotated[list[DeclaredEndpoint], Field(min_length=1)]
    policy: DeclaredPolicy = DeclaredPolicy()


class DeclaredDefaults(_Declared):
    """What every function gets unless it says otherwise."""

    policy: DeclaredPolicy = DeclaredPolicy()


class DeclaredCatalog(_Declared):
    """The whole file. Functions are checked one by one, so that a fault in one does not hide those of another."""

    version: Literal[1]
    defaults: DeclaredDefaults = DeclaredDefaults()
    functions: Annotated[dict[Name, object], Field(min_length=1)]
