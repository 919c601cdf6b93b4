"""Views of the catalog: a function, its history, what a change would do, as tables in the words people read."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from fiso.codecs.policy import policy_to_document
from fiso.codecs.typed import Json
from fiso.domain.catalog import CatalogEntry
from fiso.ports import PolicyChange
from fiso.routing.eligibility import eligible
from fiso_cli.catalog.difference import Change, Kind


def of_entry(entry: CatalogEntry, catalog_version: int) -> Iterator[Table]:
    """Endpoints with what excludes them, then the policy."""
    excluded = {exclusion.endpoint: exclusion.detail for exclusion in eligible(entry).exclusions}
    endpoints = _table(f"{entry.name} ({entry.function_type}), catalog version {catalog_version}")
    for title in ("endpoint", "provider", "region", "memory", "address", "excluded"):
        endpoints.add_column(title, overflow="fold")
    for known in entry.endpoints:
        memory = f"{known.memory_mb} MB"
        cells = (known.id, known.provider, known.region, memory, known.address + known.path, excluded.get(known.id, ""))
        endpoints.add_row(*map(escape, cells))
    yield endpoints
    policy = _table(f"policy, changed in version {entry.policy.version}")
    policy.add_column("key")
    policy.add_column("value", overflow="fold")
    for key, value in policy_to_document(entry.policy).items():
        if key != "version":
            policy.add_row(key, escape(worded(key, value)))
    yield policy


def of_history(function: str, found: Sequence[PolicyChange]) -> Table:
    """Who changed a policy, and when."""
    rows = _table(f"policy of {function}")
    for title in ("version", "changed at (UTC)", "by"):
        rows.add_column(title)
    for each in found:
        rows.add_row(str(each.version), f"{each.changed_at:%Y-%m-%d %H:%M:%S}", escape(each.author))
    return rows


def of_changes(found: Sequence[Change]) -> Table:
    """What differs between two versions."""
    rows = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "function", "what", "before", "after"):
        rows.add_column(title, overflow="fold")
    for change in found:
        sign, style = _SIGNS[change.kind]
        key = change.path.rpartition(".")[2]
        cells = (change.function, change.path or "function", worded(key, change.before), worded(key, change.after))
        rows.add_row(sign, *map(escape, cells), style=style)
    return rows


def summary(found: Sequence[Change]) -> str:
    """How much is added, changed and removed; functions by name of what happens to them."""
    functions = Counter(change.kind for change in found if not change.path)
    parts = Counter(change.kind for change in found if change.path)
    told = [f"{functions[kind]} functions {kind}" for kind in Kind if functions[kind]]
    told += [f"{parts[kind]} parts {kind}" for kind in Kind if parts[kind]]
    return ", ".join(told)


_SIGNS = {Kind.ADDED: ("+", "green"), Kind.CHANGED: ("~", "yellow"), Kind.REMOVED: ("-", "red")}


def _table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", box=None, pad_edge=False, header_style="bold")


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
    if key == "pin" and isinstance(value, dict):
        return _pin(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:g}" for name, share in value.items() if isinstance(share, float))
    if not isinstance(value, list):
        return str(value)
    if key == "tiers":
        return ", then ".join(worded("tier", tier) for tier in value) or "none"
    if key == "strategies":
        return "; ".join(_strategy(item) for item in value if isinstance(item, dict)) or "none"
    return ", ".join(map(str, value)) or ("any" if key.startswith("allowed") or key == "residency" else "none")


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
