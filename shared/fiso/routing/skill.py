"""How predictions turned out against the simplest that there is: the recent mean of the endpoint. Pure.

How near a prediction can come is up to the function: of one whose latencies scatter by half, no model comes nearer than
half. So a prediction is held against what is attainable without a model, on the same answer: FISO's skill is how much
nearer it was, as a skill score holds a forecast against persistence.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import isfinite, log
from typing import NamedTuple

from fiso.domain.record import InvocationRecord
from fiso.domain.state import UNKNOWN_LATENCY_MS


class Foretold(NamedTuple):
    """What was said of an answer before it came, and how long it took. `mean_ms` is the endpoint's recent mean then."""

    predicted_ms: float
    mean_ms: float
    latency_ms: float

    @property
    def skill(self) -> float:
        """How much nearer than the mean, in logarithms: 0.1 is a tenth nearer, below 0 is farther off."""
        return abs(log(self.mean_ms / self.latency_ms)) - abs(log(self.predicted_ms / self.latency_ms))


def foretold(record: InvocationRecord) -> Foretold | None:
    """Of a good answer that was no cold start, and by an endpoint with a recent mean; None of any other."""
    result, features = record.result, record.decision.features
    if result.prediction_accuracy is None or result.error_occurred or result.cold_start or record.decision.lease_id:
        return None
    predicted_ms = next((c.latency_ms for c in record.decision.candidates if c.endpoint == result.endpoint), None)
    mean_ms = features.get("historical_avg_latency", UNKNOWN_LATENCY_MS)
    if predicted_ms is None or mean_ms == UNKNOWN_LATENCY_MS or result.execution_time_ms is None:
        return None
    said = Foretold(predicted_ms, mean_ms, result.execution_time_ms)
    return said if all(isfinite(each) and each > 0 for each in said) else None


def prediction_lines(records: Iterable[InvocationRecord]) -> list[dict[str, str | int | float | None]]:
    """What was predicted of each endpoint and what came of it: one line for each endpoint, and for the model and source
    that spoke. Means over the answers, in milliseconds; `skill` is None while no endpoint had a recent mean."""
    answered = defaultdict[tuple[str | None, ...], list[InvocationRecord]](list)
    for record in records:
        if record.result.prediction_accuracy is not None:
            decision = record.decision
            said_by = (decision.model_version, decision.prediction_source)
            answered[(record.request.function_name, record.result.endpoint, *said_by)].append(record)
    return [_line(key, of_endpoint) for key, of_endpoint in answered.items()]


def _line(key: tuple[str | None, ...], records: Sequence[InvocationRecord]) -> dict[str, str | int | float | None]:
    function, endpoint, model, source = key
    said = [
        (candidate.latency_ms, record.result.execution_time_ms or 0.0)
        for record in records
        for candidate in record.decision.candidates
        if candidate.endpoint == record.result.endpoint
    ]
    skills = [each.skill for record in records if (each := foretold(record)) is not None]
    return {
        "function": function,
        "endpoint": endpoint,
        "model_version": model,
        "prediction_source": source,
        "answers": len(records),
        "predicted_ms": _mean([predicted for predicted, _ in said]),
        "latency_ms": _mean([actual for _, actual in said]),
        "error_ms": _mean([abs(predicted - actual) for predicted, actual in said]),
        "skill": _mean(skills),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
