"""Catalog versions as a store makes them: one more than the version they replace.

A policy carries the version at which it last changed, so a decision's `policy_version` moves only with its own policy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import InvalidCatalog

Entries = Mapping[FunctionName, CatalogEntry]


def stamped(entries: Iterable[CatalogEntry], *, replaced: Entries, version: int) -> dict[FunctionName, CatalogEntry]:
    """The entries as `version` holds them, by name. `InvalidCatalog` when a function stands in them twice."""
    result: dict[FunctionName, CatalogEntry] = {}
    for entry in entries:
        if entry.name in result:
            raise InvalidCatalog(f"function {entry.name!r} stands in the catalog twice")
        old = replaced.get(entry.name)
        unchanged = old is not None and replace(entry.policy, version=old.policy.version) == old.policy
        kept = old.policy.version if old is not None and unchanged else version
        result[entry.name] = replace(entry, policy=replace(entry.policy, version=kept))
    return result
