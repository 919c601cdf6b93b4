"""Policies as plain documents (JSON types only) and back. What is wrong raises KeyError, ValueError or TypeError.

A strategy's document is what an operator writes in `fiso.yaml`: conditions by field, then by operator.
"""

from collections.abc import Iterable, Mapping

from fiso.codecs.json_values import listed, mapping, maybe_number, number, sequence, text, texts, whole
from fiso.codecs.record import Document, Json
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import CostSource, Idempotent, Mode, Objective, Policy, Scoring, Weights
from fiso.domain.strategy import SEVERAL, CandidateField, Condition, Field, Operator, RequestField, Strategy, Value

LATER_KEYS = (
    "objective latency_objective_ms max_p95_ms max_cost_usd tiers strategies control_share control_block_s hedging"
).split()
"""Keys that documents of earlier writers do not have; they mean the defaults then."""


def policy_to_document(policy: Policy) -> Document:
    """A policy as a document, part of its function's; sets as sorted lists."""
    weights = policy.weights
    return {
        "version": policy.version,
        "weights": {
            "latency": float(weights.latency),
            "cost": float(weights.cost),
            "reliability": float(weights.reliability),
            "region_affinity": float(weights.region_affinity),
        },
        "scoring": policy.scoring.value,
        "objective": policy.objective.value,
        "latency_objective_ms": _maybe_float(policy.latency_objective_ms),
        "allowed_providers": listed(policy.allowed_providers),
        "denied_providers": listed(policy.denied_providers),
        "allowed_regions": listed(policy.allowed_regions),
        "denied_regions": listed(policy.denied_regions),
        "residency": listed(policy.residency),
        "max_p95_ms": _maybe_float(policy.max_p95_ms),
        "max_cost_usd": _maybe_float(policy.max_cost_usd),
        "tiers": [listed(tier) for tier in policy.tiers],
        "strategies": [strategy_to_document(strategy) for strategy in policy.strategies],
        "mode": policy.mode.value,
        "home": policy.home,
        "pinned": policy.pinned,
        "idempotent": policy.idempotent.value,
        "timeout_ms": policy.timeout_ms,
        "max_attempts": policy.max_attempts,
        "exploration": float(policy.exploration),
        "hedging": float(policy.hedging),
        "control_share": float(policy.control_share),
        "control_block_s": policy.control_block_s,
        "cost_source": policy.cost_source.value,
    }


def policy_from_document(document: Mapping[str, Json]) -> Policy:
    """What `policy_to_document` made, now or before the later keys were known."""
    d = {**_ABSENT, **document}
    return Policy(
        version=whole(d["version"]),
        weights=_weights_from(mapping(d["weights"])),
        scoring=Scoring(text(d["scoring"])),
        objective=Objective(text(d["objective"])),
        latency_objective_ms=maybe_number(d["latency_objective_ms"]),
        allowed_providers=_providers(d["allowed_providers"]),
        denied_providers=_providers(d["denied_providers"]),
        allowed_regions=texts(d["allowed_regions"]),
        denied_regions=texts(d["denied_regions"]),
        residency=texts(d["residency"]),
        max_p95_ms=maybe_number(d["max_p95_ms"]),
        max_cost_usd=maybe_number(d["max_cost_usd"]),
        tiers=tuple(frozenset(map(EndpointId, texts(tier))) for tier in sequence(d["tiers"])),
        strategies=tuple(strategy_from_document(mapping(item)) for item in sequence(d["strategies"])),
        mode=Mode(text(d["mode"])),
        home=_maybe_endpoint_id(d["home"]),
        pinned=_maybe_endpoint_id(d["pinned"]),
        idempotent=Idempotent(text(d["idempotent"])),
        timeout_ms=whole(d["timeout_ms"]),
        max_attempts=whole(d["max_attempts"]),
        exploration=number(d["exploration"]),
        hedging=number(d["hedging"]),
        control_share=number(d["control_share"]),
        control_block_s=whole(d["control_block_s"]),
        cost_source=CostSource(text(d["cost_source"])),
    )


def strategy_to_document(strategy: Strategy) -> Document:
    """A strategy in the shape of `fiso.yaml`."""
    return {
        "name": strategy.name,
        "when": _conditions_to_document(strategy.when),
        "candidates": _conditions_to_document(strategy.candidates),
        "factor": float(strategy.factor),
    }


def strategy_from_document(d: Mapping[str, Json]) -> Strategy:
    """What `strategy_to_document` made."""
    when, candidates = mapping(d["when"]), mapping(d["candidates"])
    return Strategy(
        name=text(d["name"]),
        when=frozenset(c for key, asked in when.items() for c in conditions_from(RequestField(key), mapping(asked))),
        candidates=frozenset(
            c for key, asked in candidates.items() for c in conditions_from(CandidateField(key), mapping(asked))
        ),
        factor=number(d["factor"]),
    )


def conditions_from(field: Field, asked: Mapping[str, Json]) -> list[Condition]:
    """One field's conditions, by operator: `{at_least: 9, at_most: 17}`."""
    return [
        Condition(field=field, operator=Operator(operator), values=_values_from(Operator(operator), operands))
        for operator, operands in asked.items()
    ]


def _values_from(operator: Operator, operands: Json) -> tuple[Value, ...]:
    return tuple(map(_value, sequence(operands))) if _takes_list(operator) else (_value(operands),)


def _value(value: Json) -> Value:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"expected text or a number, not {value!r:.80}")
    return value


def _conditions_to_document(conditions: Iterable[Condition]) -> Document:
    document: Document = {}
    for condition in sorted(conditions, key=lambda c: (c.field, c.operator)):
        asked = mapping(document.setdefault(condition.field.value, {}))
        operands: list[Json] = [_plain(condition.field, value) for value in condition.values]
        asked[condition.operator.value] = operands if _takes_list(condition.operator) else operands[0]
    return document


def _takes_list(operator: Operator) -> bool:
    return operator in SEVERAL or operator is Operator.BETWEEN


def _plain(field: Field, value: Value) -> Value:
    """Equal conditions have equal documents: a probability is a fraction even when it is written 1."""
    return float(value) if field is CandidateField.COLD_PROBABILITY else value


def _weights_from(d: Mapping[str, Json]) -> Weights:
    return Weights(
        latency=number(d["latency"]),
        cost=number(d["cost"]),
        reliability=number(d["reliability"]),
        region_affinity=number(d["region_affinity"]),
    )


def _providers(value: Json) -> frozenset[Provider]:
    return frozenset(Provider(item) for item in texts(value))


def _maybe_endpoint_id(value: Json) -> EndpointId | None:
    return None if value is None else EndpointId(text(value))


def _maybe_float(value: float | None) -> float | None:
    return None if value is None else float(value)


_ABSENT = {key: value for key, value in policy_to_document(Policy(version=0)).items() if key in LATER_KEYS}
