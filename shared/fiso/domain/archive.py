"""How much of the archive was read."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True, kw_only=True)
class Extent:
    """Of one reading, filled in while it goes on.

    `records` were given out, of about `standing` that the hours read hold. `oldest` is where the oldest hour that was
    read begins; `hours` are all that hold records, `hours_read` those that were got to. `left_out` objects could not be
    read or held something damaged.
    """

    records: int = 0
    standing: float = 0.0
    hours: int = 0
    hours_read: int = 0
    left_out: int = 0
    oldest: datetime | None = None

    @property
    def records_each(self) -> float:
        """How many of the archive's records stand for each one that was read."""
        return max(1.0, self.standing / self.records) if self.records else 1.0
