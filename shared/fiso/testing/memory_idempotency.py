"""Idempotency keys in memory, safe to use from several threads; it keeps the same promises as the table does."""

from threading import Lock

from fiso.domain.errors import WriteConflict
from fiso.domain.idempotency import Entry, EntryId
from fiso.domain.request import InvocationId
from fiso.ports import Clock
from fiso.testing.memory import InMemoryStore


class InMemoryIdempotencyKeys(InMemoryStore):
    """Entries by id."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__()
        self._clock, self._lock = clock, Lock()
        self.entries: dict[EntryId, Entry] = {}

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
            self.entries[entry.id] = entry

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
