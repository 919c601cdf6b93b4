"""What a day of the archive holds, by the hour, in few requests however many objects there are."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from math import inf

from fiso.adapters.aws.archive import Span, compact_prefix, day_prefix, named
from fiso.adapters.aws.s3 import Bucket, Entry


@dataclass(slots=True, eq=False)
class Hour:
    """What stands of one span. `smalls` are listed when they are asked for, and `compacts_then` after them: what was
    compacted meanwhile is in one of the two. `hours` it stands for."""

    span: Span
    compacts: list[Entry] = field(default_factory=list)
    smalls: Callable[[], Iterable[Entry]] = tuple
    compacts_then: Callable[[], Iterable[Entry]] | None = None
    has_smalls: bool = False
    hours: int = 1
    has_vanished: bool = False

    @property
    def supply(self) -> float:
        """How many records there are; infinite where listing does not tell."""
        return inf if self.has_smalls else sum(records_of(entry) for entry in self.compacts)


def listed(objects: Bucket, day: date) -> list[Hour]:
    """The hours of a day, newest first; what older code wrote of the whole day comes last."""
    prefix = day_prefix(day)
    page = objects.page(prefix)
    if page.then is None:
        hours = _hours(page.entries)
    else:
        # Many small objects: what compact ones and hours there are is asked for by itself.
        hours = _hours(objects.entries(f"{prefix}compact/"))
        for folder in _folders(objects, f"{prefix}hour="):
            hour = hours.setdefault(int(folder[-3:-1]), Hour(Span(day, int(folder[-3:-1]))))
            hour.smalls, hour.has_smalls = partial(objects.entries, folder), True
        if next(_of_older_code(objects, prefix), None) is not None:
            hour = hours.setdefault(None, Hour(Span(day, None)))
            hour.smalls, hour.has_smalls = partial(_of_older_code, objects, prefix), True
        for hour in hours.values():
            hour.compacts_then = partial(objects.entries, compact_prefix(hour.span)) if hour.has_smalls else None
    for hour in hours.values():
        hour.hours = 1 if hour.span.hour is not None else max(1, 25 - len(hours))
    return sorted(hours.values(), key=lambda hour: -1 if hour.span.hour is None else hour.span.hour, reverse=True)


def _folders(objects: Bucket, prefix: str) -> Iterator[str]:
    then: str | None = None
    while True:
        page = objects.page(prefix, then=then, folders=True)
        yield from (folder for folder in page.folders if folder[-3:-1].isdigit())
        then = page.then
        if then is None:
            return


def _of_older_code(objects: Bucket, prefix: str) -> Iterator[Entry]:
    """A day's small objects without an hour; those with one come after them."""
    for entry in objects.entries(prefix):
        if entry.key.startswith(f"{prefix}hour="):
            return
        found = named(entry.key)
        if found is not None and found.records is None:
            yield entry


def _hours(entries: Iterable[Entry]) -> dict[int | None, Hour]:
    hours: dict[int | None, Hour] = {}
    smalls: dict[int | None, list[Entry]] = {}
    for entry in entries:
        found = named(entry.key)
        if found is None:
            continue
        hour = hours.setdefault(found.span.hour, Hour(found.span))
        if found.records is not None:
            hour.compacts.append(entry)
        else:
            smalls.setdefault(found.span.hour, []).append(entry)
    for of, own in smalls.items():
        hours[of].smalls, hours[of].has_smalls = partial(iter, own), True
    return hours


def records_of(entry: Entry) -> int:
    found = named(entry.key)
    return (found.records or 0) if found is not None else 0
