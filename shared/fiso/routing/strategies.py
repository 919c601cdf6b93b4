"""Strategies applied: the scores of candidates multiplied by the factors of the strategies that hold for a request.

Pure: conditions are compared with data, nothing is ever run. `fiso.domain.strategy` has the vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.request import InvocationRequest
from fiso.domain.strategy import (
    CandidateField,
    Condition,
    Field,
    Operator,
    RequestField,
    Strategy,
    Value,
    goes_round,
)

Facts = Mapping[Field, Value | None]
"""What is known, by field; None for what a request does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a strategy may ask of one candidate."""

    endpoint: Endpoint
    prediction: Prediction


def request_facts(request: InvocationRequest, *, function_type: str, now: datetime) -> Facts:
    """The request's side. `now` is aware and UTC, as for the features."""
    return {
        RequestField.HOUR_OF_DAY: now.hour,
        RequestField.DAY_OF_WEEK: now.isoweekday(),
        RequestField.FUNCTION_TYPE: function_type,
        RequestField.REQUEST_SIZE_BYTES: len(request.body),
        RequestField.USER_REGION: request.user_region,
    }


def endpoint_facts(endpoint: Endpoint) -> dict[Field, Value | None]:
    return {
        CandidateField.PROVIDER: endpoint.provider.value,
        CandidateField.REGION: endpoint.region,
        CandidateField.MEMORY_MB: endpoint.memory_mb,
    }


def adjusted(
    scores: Sequence[Score], strategies: Sequence[Strategy], facts: Facts, candidates: Mapping[EndpointId, Candidate]
) -> list[Score]:
    """The scores with every factor that applies, best first; ties keep the order of endpoint ids.

    Each factor stands among the terms as `strategy:<name>`. Factors make a better score only of values above 0.
    """
    holding = [strategy for strategy in strategies if holds_for_request(strategy, facts)]
    changed = [_adjusted(score, holding, candidates[score.endpoint]) for score in scores] if holding else scores
    return sorted(changed, key=lambda s: (-s.value, s.endpoint))


def holds_for_request(strategy: Strategy, facts: Facts) -> bool:
    return all(holds(condition, facts[condition.field]) for condition in strategy.when)


def holds(condition: Condition, value: Value | None) -> bool:
    """Whether one condition holds for a value. A value that is not known meets no condition, `is_not` included."""
    if value is None:
        return False
    values, first, last = condition.values, condition.values[0], condition.values[-1]
    match condition.operator:
        case Operator.IS | Operator.IN:
            return value in values
        case Operator.IS_NOT | Operator.NOT_IN:
            return value not in values
    return _is_in_order(condition, value, first, last)


def _is_in_order(condition: Condition, value: Value, first: Value, last: Value) -> bool:
    if isinstance(value, str) or isinstance(first, str) or isinstance(last, str):
        return False  # no field of text has an order: `Condition` refuses it
    match condition.operator:
        case Operator.AT_LEAST:
            return value >= first
        case Operator.AT_MOST:
            return value <= first
    if first > last and goes_round(condition.field):
        return value >= first or value <= last
    return first <= value <= last


def _adjusted(score: Score, holding: Sequence[Strategy], candidate: Candidate) -> Score:
    facts = endpoint_facts(candidate.endpoint)
    facts[CandidateField.COLD_PROBABILITY] = candidate.prediction.cold_probability
    value, terms = score.value, dict(score.terms)
    for strategy in holding:
        if all(holds(condition, facts[condition.field]) for condition in strategy.candidates):
            value *= strategy.factor
            terms[f"strategy:{strategy.name}"] = strategy.factor
    return replace(score, value=value, terms=terms)
