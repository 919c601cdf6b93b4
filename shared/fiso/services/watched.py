"""Watched: the log, with whether its store took the last write."""

from collections.abc import Sequence
from datetime import datetime

from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId
from fiso.ports import InvocationLog


class WatchedLog:
    """An `InvocationLog` that passes everything on."""

    def __init__(self, log: InvocationLog) -> None:
        self._log = log
        self.is_spilling = False

    def open(self, record: OpenRecord) -> None:
        """Passed on."""
        try:
            self._log.open(record)
        except StoreUnavailable:
            self.is_spilling = True
            raise
        self.is_spilling = False

    def close(self, record: InvocationRecord) -> bool:
        """Passed on."""
        try:
            is_new = self._log.close(record)
        except StoreUnavailable:
            self.is_spilling = True
            raise
        self.is_spilling = False
        return is_new

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """Passed on."""
        return self._log.find(invocation_id)

    def latest(self, limit: int, *, after: datetime | None = None) -> Sequence[InvocationRecord]:
        """Passed on."""
        return self._log.latest(limit, after=after)

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Passed on."""
        return self._log.overdue(before, limit)
