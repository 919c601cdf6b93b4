"""Idempotency keys in memory, safe to use from several threads; it keeps the same promises as the table does."""

from collections import Counter
from threading import Lock

from fiso.domain.errors import AllowanceSpent, WriteConflict
from fiso.domain.idempotency import DAY, FREE_BYTES, MOST_KEPT_BYTES, Entry, EntryId, tenant_in
from fiso.domain.request import InvocationId
from fiso.ports import Clock
from fiso.testing.memory import InMemoryStore


class InMemoryIdempotencyKeys(InMemoryStore):
    """Entries by id."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__()
        self._clock, self._lock = clock, Lock()
        self.entries: dict[EntryId, Entry] = {}
        self.kept: Counter[tuple[str, int]] = Counter()

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        self.used("claim")
        with self._lock:
            standing = self._unexpired(entry.id)
            is_free = standing is None or (
                standing.answer is None and standing.invocation_id in (entry.invocation_id, over)
            )
            if not is_free:
                return standing
            self.entries[entry.id] = entry
            return None

    def complete(self, entry: Entry) -> None:
        self.used("complete")
        with self._lock:
            standing = self._unexpired(entry.id)
            if standing is None or standing.invocation_id != entry.invocation_id:
                raise WriteConflict("the claim is another one's")
            if standing.answer not in (None, entry.answer):
                raise WriteConflict("the claim has another answer")
            if standing.answer is None and entry.answer is not None:
                self._count(tenant_in(entry.id), len(entry.answer.body))
            self.entries[entry.id] = entry

    def _count(self, tenant: str, size: int) -> None:
        if size <= FREE_BYTES:
            return
        place = tenant, int(self._clock().timestamp() // DAY.total_seconds())
        if self.kept[place] + size > MOST_KEPT_BYTES:
            raise AllowanceSpent("the tenant keeps as much as it may")
        self.kept[place] += size

    def find(self, id: EntryId) -> Entry | None:
        self.used("find")
        with self._lock:
            return self._unexpired(id)

    def release(self, entry: Entry) -> None:
        self.used("release")
        with self._lock:
            standing = self.entries.get(entry.id)
            if standing is not None and standing.answer is None and standing.invocation_id == entry.invocation_id:
                del self.entries[entry.id]

    def _unexpired(self, id: EntryId) -> Entry | None:
        standing = self.entries.get(id)
        return standing if standing is not None and standing.expires_at > self._clock() else None
