"""The catalog's store in memory, for tests and for running without PostgreSQL. Keeps every version of one process."""

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Lock

from fiso.domain.catalog import CatalogEntry
from fiso.domain.catalog_version import stamped
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import InvalidCatalog, WriteConflict
from fiso.ports import CatalogVersion, Clock, PolicyChange
from fiso.testing.memory import InMemoryStore

NOTHING_APPLIED = CatalogVersion(version=0, changed_at=datetime(1970, 1, 1, tzinfo=UTC), entries={})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class InMemoryCatalogStore(InMemoryStore):
    """`CatalogStore` with the same promises as PostgreSQL's."""

    def __init__(self, clock: Clock = _utc_now) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._versions = [NOTHING_APPLIED]
        self.authors: list[str] = []

    def load(self, version: int | None = None) -> CatalogVersion:
        self.used("load")
        if version is None:
            return self._versions[-1]
        if not 0 <= version < len(self._versions):
            raise InvalidCatalog(f"the catalog has no version {version}")
        return self._versions[version]

    def history(self, function: FunctionName) -> Sequence[PolicyChange]:
        self.used("history")
        return [
            PolicyChange(version=made.version, changed_at=made.changed_at, author=self.authors[made.version - 1])
            for made in reversed(self._versions)
            if function in made.entries and made.entries[function].policy.version == made.version
        ]

    def replace(self, entries: Sequence[CatalogEntry], *, based_on: int, author: str) -> CatalogVersion:
        self.used("replace")
        with self._lock:
            newest = self._versions[-1]
            if based_on != newest.version:
                raise WriteConflict(f"the catalog is at version {newest.version}, not {based_on}")
            version = newest.version + 1
            stamped_entries = stamped(entries, replaced=newest.entries, version=version)
            made = CatalogVersion(version=version, changed_at=self._clock(), entries=stamped_entries)
            self._versions.append(made)
            self.authors.append(author)
            return made
