"""State: what the stream has folded per function and endpoint, and what the next decision reads."""

from dataclasses import dataclass
from datetime import datetime

from fiso.domain.endpoint import EndpointId, FunctionName


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """Everything folded so far from the records of one endpoint of one function.

    `latency_ms` and `latency_deviation_ms` are exponentially weighted over the `warm_answers` (those that were no cold
    starts), `error_rate` over attempts. `residual_ratio` is the weighted geometric mean of actual latency over the
    model's raw prediction, counted in `residual_count` and valid for `residual_model_version` only.
    `arrival_interval_ms` is the weighted mean time between requests, from which the requests in flight follow by
    Little's law. `billed_share` is the weighted mean of billed time over latency, where the bill is known: a router far
    away sees more than a provider bills. `folded` counts records, `version` the writes.
    """

    function: FunctionName
    endpoint: EndpointId
    version: int = 0
    folded: int = 0
    attempts: int = 0
    failures: int = 0
    failovers_from: int = 0
    consecutive_failures: int = 0
    latency_ms: float | None = None
    latency_deviation_ms: float = 0.0
    error_rate: float = 0.0
    arrival_interval_ms: float | None = None
    cold_starts: int = 0
    cold_known: int = 0
    cost_usd: float = 0.0
    residual_ratio: float = 1.0
    residual_count: int = 0
    residual_model_version: str = ""
    last_called_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_failure: str = ""
    warm_answers: int = 0
    billed_share: float | None = None

    @property
    def in_flight(self) -> float:
        """Requests in flight by Little's law: arrival rate times mean latency. 0 while unknown."""
        if self.latency_ms is None or not self.arrival_interval_ms:
            return 0.0
        return self.latency_ms / self.arrival_interval_ms
