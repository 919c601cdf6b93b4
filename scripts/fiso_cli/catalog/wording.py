"""Wording: the values of a policy's document as people read them, in tables."""

from fiso.codecs.typed import Json

_OPERATORS = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "at_least": "at least",
    "at_most": "at most",
    "between": "between",
}


def worded(key: str, value: Json) -> str:
    """One value of the policy's document; `key` is its name there."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:g}" for name, share in value.items() if isinstance(share, float))
    if not isinstance(value, list):
        return str(value)
    if key == "tiers":
        return ", then ".join(worded("tier", tier) for tier in value) or "none"
    if key == "strategies":
        return "; ".join(_strategy(item) for item in value if isinstance(item, dict)) or "none"
    return ", ".join(map(str, value)) or ("any" if key.startswith("allowed") or key == "residency" else "none")


def _strategy(strategy: dict[str, Json]) -> str:
    when, who = _conditions(strategy["when"]), _conditions(strategy["candidates"])
    return f"{strategy['name']}: {f'when {when}, ' if when else ''}{who} times {strategy['factor']:g}"


def _conditions(asked: Json) -> str:
    said = [
        f"{field} {_OPERATORS[operator]} {_operands(operands, ' and ' if operator == 'between' else ', ')}"
        for field, by_operator in (asked.items() if isinstance(asked, dict) else ())
        for operator, operands in (by_operator.items() if isinstance(by_operator, dict) else ())
    ]
    return " and ".join(said)


def _operands(operands: Json, joined_by: str) -> str:
    return joined_by.join(map(str, operands)) if isinstance(operands, list) else str(operands)
