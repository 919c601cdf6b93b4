"""Following: the log of finished invocations as it grows, read by polling the console's API."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from fiso.codecs.record import from_document, instant
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso_cli.errors import CommandError
from fiso_cli.traffic.documents import items, mapping
from fiso_cli.traffic.gateway import Gateway

OVERLAP = timedelta(seconds=30)
"""A record carries the time of its arrival and is written when it ends, at most a deadline later."""
REMEMBERED = 20_000


class Follower:
    """Reads what is new, oldest first, each record once. `function` narrows it to one function."""

    def __init__(self, gateway: Gateway, function: str | None, *, page: int) -> None:
        self._gateway, self._function, self._page = gateway, function, page
        self._seen: dict[str, None] = {}
        self._order: deque[str] = deque()
        self._newest: datetime | None = None
        self.may_have_skipped = False

    def latest(self, count: int) -> list[InvocationRecord]:
        """The last `count` records before now, oldest first. A whole page counts as seen."""
        page = self._new(self._read(limit=self._page, after=None))
        return page[-count:] if count else []

    def poll(self) -> list[InvocationRecord]:
        """The records that came since the last call."""
        after = self._newest - OVERLAP if self._newest else None
        page = self._read(limit=self._page, after=after)
        fresh = self._new(page)
        self.may_have_skipped = len(fresh) == self._page
        return fresh

    def _read(self, *, limit: int, after: datetime | None) -> Sequence[InvocationRecord]:
        query = {"limit": str(limit)}
        if after is not None:
            query["after"] = instant(after)
        if self._function is not None:
            query["function"] = self._function
        rows = items(self._gateway.get("api", "invocations", query=query).get("invocations"))
        try:
            records = [from_document(mapping(row)) for row in rows]
        except InvalidRecord as error:
            raise CommandError(f"the log holds a record that this version of fiso cannot read: {error}") from error
        return [record for record in records if isinstance(record, InvocationRecord)]

    def _new(self, page: Sequence[InvocationRecord]) -> list[InvocationRecord]:
        fresh = [record for record in page if record.invocation_id not in self._seen]
        for record in fresh:
            self._seen[record.invocation_id] = None
            self._order.append(record.invocation_id)
            if self._newest is None or record.timestamp > self._newest:
                self._newest = record.timestamp
        while len(self._order) > REMEMBERED:
            del self._seen[self._order.popleft()]
        return sorted(fresh, key=lambda record: record.timestamp)
