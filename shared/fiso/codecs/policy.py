"""Policies as plain documents (JSON types only) and back; `Malformed` names the place of what is wrong.

A strategy's conditions stand as an operator writes them in `fiso.yaml`: by field, then by operator.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TypeVar

from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.policy import Policy, Weights
from fiso.domain.strategy import SEVERAL, CandidateField, Condition, Field, Operator, RequestField, Strategy, Value

LATER_KEYS = (
    "objective latency_objective_ms max_p95_ms max_cost_usd tiers strategies control_share control_block_s hedging"
).split()
"""Keys that documents of earlier writers do not have; they mean the defaults then. Any other key that is missing might
have been a denial."""
_FIRST_KEYS = frozenset(
    "version weights scoring allowed_providers denied_providers allowed_regions denied_regions residency mode home "
    "pinned idempotent timeout_ms max_attempts exploration cost_source".split()
)
"""What every document has ever had. All others came later, and those not among LATER_KEYS are only written where they
are not the default: snapshots keep their bytes."""
_UNSET = Policy(version=1)

_Word = TypeVar("_Word")


def policy_to_document(policy: Policy) -> Document:
    """A policy as a document, part of its function's; sets as sorted lists."""
    document = POLICY_CODEC.to_document(policy)
    for key in document.keys() - _FIRST_KEYS - {*LATER_KEYS}:
        if getattr(policy, key) == getattr(_UNSET, key):
            del document[key]
    return document


def whole_document(policy: Policy) -> Document:
    """The same with every key, those at their defaults too, for people; `pin` only where there is one."""
    document = POLICY_CODEC.to_document(policy)
    if policy.pin is None:
        del document["pin"]
    return document


def _conditions_of(kind: Callable[[str], Field]) -> Form:
    def read(document: object) -> frozenset[Condition]:
        return frozenset(
            condition
            for field, asked in _object(document).items()
            for condition in _conditions(_word(kind, field), _object(asked))
        )

    return Form(_conditions_to_document, read)


def _conditions(field: Field, asked: Mapping[str, object]) -> Iterable[Condition]:
    for word, operands in asked.items():
        operator = _word(Operator, word)
        values = operands if _takes_list(operator) else [operands]
        if not isinstance(values, list):
            raise Malformed(f"must be a list, not {values!r:.80}", f"{field}.{operator}")
        try:
            yield Condition(field=field, operator=operator, values=tuple(map(_value, values)))
        except ValueError as error:
            raise Malformed(str(error), field) from error


def _conditions_to_document(conditions: Iterable[Condition]) -> Document:
    found: dict[str, dict[str, Json]] = {}
    for condition in sorted(conditions, key=lambda c: (c.field, c.operator)):
        operands: list[Json] = [_plain(condition.field, value) for value in condition.values]
        asked = found.setdefault(condition.field.value, {})
        asked[condition.operator.value] = operands if _takes_list(condition.operator) else operands[0]
    return {**found}


def _takes_list(operator: Operator) -> bool:
    return operator in SEVERAL or operator is Operator.BETWEEN


def _plain(field: Field, value: Value) -> Value:
    """Equal conditions have equal documents: a probability is a fraction even when it is written 1."""
    return float(value) if field is CandidateField.COLD_PROBABILITY else value


def _value(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Malformed(f"must be text or a number, not {value!r:.80}")
    return value


def _word(kind: Callable[[str], _Word], word: str) -> _Word:
    try:
        return kind(word)
    except ValueError as error:
        raise Malformed(str(error)) from error


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed("must be an object")
    return value


POLICY_CODEC = Codec(
    shapes={
        Policy: Shape(required=_FIRST_KEYS),
        Weights: Shape(required=frozenset(each.name for each in fields(Weights))),
        Strategy: Shape(
            required=frozenset({"when"}),
            forms={"when": _conditions_of(RequestField), "candidates": _conditions_of(CandidateField)},
        ),
    }
)
POLICY_FORM = Form(policy_to_document, POLICY_CODEC.form(Policy).read)
