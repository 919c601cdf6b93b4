"""Drift: how far a day of requests lies from the days that the champion learned from."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fiso.domain.endpoint import EndpointId, FunctionName


class DriftKind(StrEnum):
    """FEATURE: requests come differently. ERROR: predictions miss by more. CONCEPT: like requests take another time.
    FAILURE: answers fail more or less often."""

    FEATURE = "feature"
    ERROR = "error"
    CONCEPT = "concept"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFinding:
    """One measure of one endpoint of one function.

    `effect` is how far the day lies from the usual day: of a feature in standard deviations (normalised Wasserstein
    distance), of error and concept as a difference of logarithms, of failures as a share. `noise` is how far a day may
    lie by chance, by what the reference's own days differ.
    """

    function_name: FunctionName
    endpoint: EndpointId
    kind: DriftKind
    feature: str | None = None
    effect: float
    noise: float
    is_drift: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """One look. `findings` are the largest, drifting ones first; `drifting` counts all that drift, of `measures`.

    `thin` counts endpoints with too few calls to tell. `reason` says in one line what was found, or why nothing was.
    """

    at: datetime
    threshold: float
    reason: str
    champion_version: str | None = None
    learned_until: datetime | None = None
    reference_days: int = 0
    rows: int = 0
    endpoints: int = 0
    thin: int = 0
    measures: int = 0
    drifting: int = 0
    largest: float = 0.0
    findings: tuple[DriftFinding, ...] = ()

    @property
    def is_drift(self) -> bool:
        return self.drifting > 0
