"""Diagnoses: what the console reads for one: the newest records of a time, never a whole table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fiso.codecs.typed import Document
from fiso.domain.errors import UnknownPath
from fiso.services.diagnosis.diagnose import diagnose
from fiso.services.diagnosis.documents import diagnosis_document
from fiso.services.diagnosis.findings import Diagnosis
from functions.console.sources import Sources
from functions.console.views import queries
from functions.console.views.queries import Arguments

READ = 1_000
"""How many of the newest records are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Diagnoses, the worst first, and from what they were made."""

    diagnoses: Sequence[Diagnosis]
    since: datetime
    now: datetime
    records: int

    @property
    def is_cut(self) -> bool:
        """Whether there may be more records in that time than were read."""
        return self.records >= READ

    @property
    def is_well(self) -> bool:
        return all(diagnosis.is_well for diagnosis in self.diagnoses)

    def document(self) -> Document:
        return diagnosis_document(
            self.diagnoses, since=self.since, now=self.now, records=self.records, is_cut=self.is_cut
        )


def read(sources: Sources, arguments: Arguments) -> Reading:
    """By `function` (all when not said) and `since`. `UnknownPath` for a function that is not in the catalog."""
    wanted, now = queries.function(arguments), sources.clock()
    since = now - queries.span(arguments)
    snapshot = sources.snapshots.current()
    entries = list(snapshot.at(now).values()) if snapshot else []
    if wanted is not None and wanted not in {entry.name for entry in entries}:
        raise UnknownPath(f"no function {wanted} is in the catalog")
    records = sources.log.latest(READ, after=since)
    states = {entry.name: sources.states.of_function(entry.name) for entry in entries}
    found = diagnose(entries, records, states)
    return Reading(
        diagnoses=[diagnosis for diagnosis in found if wanted in (None, diagnosis.function)],
        since=since,
        now=now,
        records=len(records),
    )
