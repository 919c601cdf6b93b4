"""Views of the catalog: a function, its history, what a change would do, as tables in the words people read."""

from collections import Counter
from collections.abc import Sequence

from fiso.codecs.policy import whole_document
from fiso.codecs.typed import Json
from fiso.domain.catalog import CatalogEntry
from fiso.ports import PolicyChange
from fiso.routing.constraints import eligible
from fiso_cli.catalog.difference import Change, Kind
from fiso_cli.rendering import Part, Table, text


def of_entry(entry: CatalogEntry, catalog_version: int) -> list[Part]:
    """Endpoints with what excludes them, then the policy."""
    excluded = {exclusion.endpoint: exclusion.detail for exclusion in eligible(entry).exclusions}
    endpoints = Table(
        title=f"{entry.name} ({entry.function_type}), catalog version {catalog_version}",
        columns=[
            text("endpoint", "id"),
            text("provider", spare=2),
            text("region"),
            text("memory", lambda known: f"{known.memory_mb} MB", spare=1),
            text("plan", lambda known: known.sold_as, spare=3),
            text("address", lambda known: known.address + known.path),
            text("excluded", lambda known: excluded.get(known.id, "")),
        ],
        rows=entry.endpoints,
    )
    policy = whole_document(entry.policy)
    mode = f"{policy['mode']}:{policy['pinned']}" if policy["pinned"] else policy["mode"]
    keys = [
        (in_file(key), format_value(key, value))
        for key, value in {**policy, "mode": mode}.items()
        if key not in ("version", "pinned")
    ]
    title = f"policy, changed in version {entry.policy.version}"
    columns = [text("key", lambda pair: pair[0]), text("value", lambda pair: pair[1])]
    return [endpoints, Table(title=title, columns=columns, rows=keys)]


def of_history(function: str, found: Sequence[PolicyChange]) -> Table:
    """Who changed a policy, and when."""
    changed_at = text("changed at (UTC)", lambda each: f"{each.changed_at:%Y-%m-%d %H:%M:%S}")
    return Table(title=f"policy of {function}", columns=[text("version"), changed_at, text("by", "author")], rows=found)


def of_changes(found: Sequence[Change]) -> Table:
    """What differs between two versions."""
    return Table(
        columns=[
            text("", lambda change: _SIGNS[change.kind][0]),
            text("function"),
            text("what", lambda change: in_file(change.path) or "function"),
            text("before", lambda change: format_value(change.path.rpartition(".")[2], change.before)),
            text("after", lambda change: format_value(change.path.rpartition(".")[2], change.after)),
        ],
        rows=found,
        style=lambda change: _SIGNS[change.kind][1],
    )


def of_difference(found: Sequence[Change]) -> list[Part]:
    """The changes, and how much is added, changed and removed; functions by name of what happens to them."""
    if not found:
        return []
    functions = Counter(change.kind for change in found if not change.path)
    parts = Counter(change.kind for change in found if change.path)
    told = [f"{counted(functions[kind], 'function')} {kind}" for kind in Kind if functions[kind]]
    told += [f"{counted(parts[kind], 'part')} {kind}" for kind in Kind if parts[kind]]
    return [of_changes(found), ", ".join(told)]


def counted(count: int, what: str) -> str:
    """`1 function`, `2 functions`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


_FOLDED = {"allowed": "allow", "denied": "deny"}
_ALL_WHERE_EMPTY = frozenset({"request_headers", "answer_headers", "tenants"})
_SIGNS = {Kind.ADDED: ("+", "green"), Kind.CHANGED: ("~", "yellow"), Kind.REMOVED: ("-", "red")}
_OPERATORS = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "at_least": "at least",
    "at_most": "at most",
    "between": "between",
}


def in_file(key: str) -> str:
    """A key of the policy's document, or a change's path, by its name in `fiso.yaml`: `deny.regions`."""
    before, dot, name = key.rpartition(".")
    prefix, _, kind = name.partition("_")
    is_place = prefix in _FOLDED and kind in ("providers", "regions")
    return f"{before}{dot}{_FOLDED[prefix]}.{kind}" if is_place else key


def format_value(key: str, value: Json) -> str:
    """One value of the policy's document; `key` is its name there."""
    if value is None:
        return ""
    if key == "pin" and isinstance(value, dict):
        return _pin(value)
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {part:g}" if isinstance(part, float) else f"{name} {format_value(name, part)}"
            for name, part in value.items()
            if part is not None
        )
    if not isinstance(value, list):
        return str(value)
    if key == "tiers":
        return ", then ".join(format_value("tier", tier) for tier in value) or "none"
    if key == "strategies":
        return "; ".join(_strategy(item) for item in value if isinstance(item, dict)) or "none"
    unset = "all" if key in _ALL_WHERE_EMPTY else "any" if key.startswith("allowed") or key == "residency" else "none"
    return ", ".join(map(str, value)) or unset


def _pin(pin: dict[str, Json]) -> str:
    until = f", until {pin['until']}, then {pin['then']}" if pin["until"] else ""
    return f"by {pin['by']} at {pin['at']}" + (f": {pin['reason']}" if pin["reason"] else "") + until


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
