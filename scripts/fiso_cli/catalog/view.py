"""Views of one function: its endpoints and its policy as tables."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from fiso.codecs.policy import policy_to_document
from fiso.domain.catalog import CatalogEntry
from fiso.routing.eligibility import eligible
from fiso_cli.catalog.wording import worded


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


def _table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
