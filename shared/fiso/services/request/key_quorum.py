"""Keys by quorum: three regions' key tables hold each claim and each answer, and any two of them decide.

Two majorities of three share a table, so of two requests with one key only one can claim it, whichever table is away
for whom, and however often that changes. docs/decisions/0024-when-the-key-store-is-lost.md
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from typing import TypeVar

from fiso.domain.errors import AllowanceSpent, StoreError, StoreUnavailable, WriteConflict
from fiso.domain.idempotency import Entry, EntryId
from fiso.domain.request import InvocationId
from fiso.ports import IdempotencyKeys

T = TypeVar("T")

STORES = 3


class KeyQuorum:
    """`IdempotencyKeys` over three others. `executor` asks them beside each other."""

    def __init__(self, stores: Sequence[IdempotencyKeys], *, executor: Executor) -> None:
        if len(stores) != STORES:
            raise ValueError(f"keys are held in {STORES} tables, not in {len(stores)}")
        self._stores, self._executor = tuple(stores), executor
        self._most = len(stores) // 2 + 1

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        """None once most tables hold the claim; the others may still be being written then."""
        claimed, standing = 0, []
        for reply in self._replies(lambda store: store.claim(entry, over=over)):
            if isinstance(reply, Entry):
                standing.append(reply)
            elif reply is None:
                claimed += 1
            if claimed >= self._most:
                return None
        if not standing:
            # Nothing is released here: a claim is asked for again, and a release that lands after it would free the key
            # of a request that runs. Who gives up releases, and never claims under this id again.
            raise StoreUnavailable(f"claim of {entry.invocation_id}: fewer than {self._most} of the key tables answer")
        if claimed:
            self._free(entry)
        return _weightiest(standing)

    def complete(self, entry: Entry) -> None:
        """Return once most tables have the answer."""
        replies = []
        for reply in self._replies(lambda store: store.complete(entry)):
            replies.append(reply)
            if replies.count(None) >= self._most:
                return
        conflicts = sum(isinstance(reply, WriteConflict) for reply in replies)
        if conflicts >= self._most:
            raise WriteConflict("the claim is another one's in most key tables")
        spent = next((reply for reply in replies if isinstance(reply, AllowanceSpent)), None)
        raise spent or StoreUnavailable(f"complete the key of {entry.invocation_id}: not kept in {self._most} tables")

    def find(self, id: EntryId) -> Entry | None:
        replies = list(self._replies(lambda store: store.find(id)))
        standing = [reply for reply in replies if isinstance(reply, Entry)]
        if not standing and replies.count(None) < self._most:
            raise StoreUnavailable(f"find a key: fewer than {self._most} of the key tables answer")
        return _weightiest(standing) if standing else None

    def release(self, entry: Entry) -> None:
        """From every table that can be reached; `StoreUnavailable` when one cannot."""
        failed = self._free(entry)
        if failed is not None:
            raise StoreUnavailable(f"release the key of {entry.invocation_id}: {failed}") from failed

    def _free(self, entry: Entry) -> StoreError | None:
        replies = list(self._replies(lambda store: store.release(entry)))
        return next((reply for reply in replies if isinstance(reply, StoreError)), None)

    def _replies(self, ask: Callable[[IdempotencyKeys], T]) -> Iterator[T | StoreError]:
        """What each table says, as it comes, or how it failed."""
        pending = [self._executor.submit(_reply, ask, store) for store in self._stores]
        while pending:
            done = [future for future in pending if future.done()]
            for future in done:
                pending.remove(future)
                yield future.result()
            if not done:
                wait(pending, return_when=FIRST_COMPLETED)


def _reply(ask: Callable[[IdempotencyKeys], T], store: IdempotencyKeys) -> T | StoreError:
    try:
        return ask(store)
    except StoreError as error:
        return error


def _weightiest(standing: Sequence[Entry]) -> Entry:
    """Of what stands in the tables: an answer, since whoever gave it ran; else what most of them hold. What one alone
    holds may be left of a request that got no majority."""
    held = Counter(entry.invocation_id for entry in standing)
    return max(standing, key=lambda entry: (entry.answer is not None, held[entry.invocation_id], entry.invocation_id))
