"""Copying: each batch of the log goes to another region's archive as well, seconds after it was written here.

Both archives then hold what both regions served, each record once by its id, so whoever reads one reads all: learning,
reports, and whoever is left when a region is lost. docs/decisions/0025-a-second-region.md
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.ports import ArchiveSink, Metrics

REST_S = 10.0
"""How long the other region is left alone after it took nothing: what is here is folded on time, whatever is there."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class CopiedArchive:
    """An archive, and the one that it is copied to. `stopwatch` counts seconds."""

    own: ArchiveSink
    other: ArchiveSink
    metrics: Metrics
    stopwatch: Callable[[], float]
    silent_until: float = field(default=float("-inf"))

    def append(self, records: Sequence[InvocationRecord], *, batch_id: str) -> None:
        """Store a batch here, then there. What the other region does not take is counted and left behind: it has the
        same name in both, so whoever copies the one archive over the other has it all (docs/disaster.md)."""
        self.own.append(records, batch_id=batch_id)
        if self.stopwatch() < self.silent_until:
            self._left_behind(records)
            return
        try:
            self.other.append(records, batch_id=batch_id)
        except StoreError as error:
            logger.warning("the other region's archive took nothing, it is left alone for %g s: %s", REST_S, error)
            self.silent_until = self.stopwatch() + REST_S
            self._left_behind(records)

    def _left_behind(self, records: Sequence[InvocationRecord]) -> None:
        self.metrics.add("RecordsNotCopied", len(records), "Count")
