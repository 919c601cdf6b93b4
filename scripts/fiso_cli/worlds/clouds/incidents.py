"""Incidents: outages that happened, as dated facts or as rows of a file, and how they are placed into a simulation.

An incident begins after a third of the simulated time and lasts as long as it did, at most a third: a longer one is
scaled, and says so. What is not stated in a row, how calls failed, is taken as `refuse`. An incident hits all calls to
where it was; that only a part of them failed is not simulated.
"""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso_cli.worlds.clouds.outages import Kind, Outage
from fiso_cli.worlds.trace import Arm

PART = 1 / 3
UNSTATED_HOURS = 1.0
_WINDOW = re.compile(
    r"(?P<provider>[a-z]+)(/(?P<region>[a-z0-9-]+))?:(?P<start>[0-9.]+):(?P<end>[0-9.]+)(:(?P<kind>[a-z_]+))?"
)
_FILE = re.compile(r"(?P<path>.+)#(?P<row>[0-9]+)(:(?P<kind>[a-z_]+))?")


class InvalidOutage(Exception):
    """An outage that cannot be simulated. The message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. `hours` None: not stated."""

    provider: Provider
    began: str
    hours: float | None
    regions: tuple[str, ...]
    what: str
    source: str
    kind: Kind = Kind.REFUSE


BUILT_IN: Mapping[str, Incident] = {
    "aws-2023-06-13": Incident(
        provider=Provider.AWS,
        began="2023-06-13 18:49 UTC",
        hours=3.8,
        regions=("us-east-1",),
        what="Lambda in Northern Virginia: errors from 11:49 AM PDT, all recovered by 3:37 PM",
        source="aws.amazon.com/message/061323",
    ),
    "azure-2023-07-05": Incident(
        provider=Provider.AZURE,
        began="2023-07-05 07:22 UTC",
        hours=8.6,
        regions=("westeurope",),
        what="fibre cut in West Europe, 07:22 to 16:00 UTC",
        source="Azure post-incident review FVHB-188, azure.status.microsoft/status/history",
        kind=Kind.TIME_OUT,
    ),
    "gcp-2025-06-12": Incident(
        provider=Provider.GCP,
        began="2025-06-12 17:51 UTC",
        hours=7.45,
        regions=(),
        what="Service Control rejected API requests in all regions, 17:51 to 01:18 UTC",
        source="status.cloud.google.com/incidents/ow5i3PPK96RduMcb1SsW",
    ),
}


def outage(text: str, arms: Sequence[Arm], *, span_s: float) -> Outage:
    """What `--outage` says: FILE#ROW[:kind], a built-in name, or provider[/region]:start_s:end_s[:kind].

    `span_s` is the simulated time. `InvalidOutage`, `OSError`.
    """
    if text in BUILT_IN:
        return placed(BUILT_IN[text], arms, span_s=span_s)
    window, in_file = _WINDOW.fullmatch(text), _FILE.fullmatch(text)
    if window:
        return _explicit(window, arms)
    if in_file:
        incident = read(Path(in_file["path"]), int(in_file["row"]))
        kind = _kind(in_file["kind"]) if in_file["kind"] else incident.kind
        return placed(incident, arms, span_s=span_s, kind=kind)
    raise InvalidOutage(
        f"{text}: not FILE#ROW, not provider[/region]:start_s:end_s[:kind], and none of {', '.join(BUILT_IN)}"
    )


def placed(incident: Incident, arms: Sequence[Arm], *, span_s: float, kind: Kind | None = None) -> Outage:
    """The incident in the simulated time, where the arms are: in its regions, else on the provider's every arm."""
    mine = [arm for arm in arms if arm.provider is incident.provider]
    if not mine:
        raise InvalidOutage(f"there is no arm on {incident.provider}")
    region = next((arm.region for arm in mine if arm.region in incident.regions), None)
    lasted_s = 3600 * (UNSTATED_HOURS if incident.hours is None else incident.hours)
    duration_s = min(lasted_s, span_s * PART)
    notes = [f"{incident.what} ({incident.source}; began {incident.began})"]
    if incident.hours is None:
        notes.append(f"its duration is not stated, taken as {UNSTATED_HOURS:g} h")
    if duration_s < lasted_s:
        notes.append(f"{lasted_s / 3600:.3g} h scaled to {duration_s:.0f} s")
    if region is None and incident.regions:
        notes.append(f"no arm is in {', '.join(incident.regions[:3])}: all of {incident.provider} is hit instead")
    return Outage(
        provider=incident.provider,
        region=region,
        start_s=span_s * PART,
        end_s=span_s * PART + duration_s,
        kind=kind or incident.kind,
        source="; ".join(notes),
    )


def read(path: Path, number: int) -> Incident:
    """Row `number` (1 is the first under the header) of a file of status events; which file it is, its columns say."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            columns = set(reader.fieldnames or ())
            row = next((row for at, row in enumerate(reader, start=1) if at == number), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidOutage(f"{path}: {' '.join(str(error).split())}") from error
    shape = next((shape for wanted, shape in _SHAPES if wanted <= columns), None)
    if shape is None:
        raise InvalidOutage(f"{path}: its columns are not those of a file of incidents")
    if row is None:
        raise InvalidOutage(f"{path}: there is no row {number}")
    try:
        return shape(row, f"{path.name} row {number}")
    except ValueError as error:
        raise InvalidOutage(f"{path}: row {number}: {error}") from error


def _aws(row: Mapping[str, str], source: str) -> Incident:
    return Incident(
        provider=Provider.AWS,
        began=_day(row["start_utc"]),
        hours=_hours(row["hours_first_to_last_update"]),
        regions=_words(row["region"]),
        what=f"{row['service_name']}: {row['summary']}",
        source=source,
    )


def _gcp(row: Mapping[str, str], source: str) -> Incident:
    return Incident(
        provider=Provider.GCP,
        began=_day(row["begin"]),
        hours=_hours(row["hours"]),
        regions=_words(row["locations"]),
        what=_short(row["desc"]),
        source=f"{source}, {row['id']}",
    )


def _azure(row: Mapping[str, str], source: str) -> Incident:
    return Incident(
        provider=Provider.AZURE,
        began=_day(row["start"]),
        hours=_hours(row["hours"]),
        regions=(),
        what=_short(row["title"]),
        source=f"{source}, {row['tracking_id']}",
    )


def _vendors(row: Mapping[str, str], source: str) -> Incident:
    return Incident(
        provider=Provider(row["vendor"].lower()),
        began=_day(row["event_start_time"]),
        hours=_hours(row["hours"]),
        regions=_words(row["location"]),
        what=_short(row["service_name"]),
        source=source,
    )


_SHAPES: tuple[tuple[frozenset[str], Callable[[Mapping[str, str], str], Incident]], ...] = (
    (frozenset({"start_utc", "region", "summary", "service_name", "hours_first_to_last_update"}), _aws),
    (frozenset({"id", "begin", "locations", "desc", "hours"}), _gcp),
    (frozenset({"tracking_id", "title", "start", "hours"}), _azure),
    (frozenset({"vendor", "service_name", "location", "event_start_time", "hours"}), _vendors),
)


def _explicit(window: re.Match[str], arms: Sequence[Arm]) -> Outage:
    try:
        found = Outage(
            provider=Provider(window["provider"]),
            region=window["region"],
            start_s=float(window["start"]),
            end_s=float(window["end"]),
            kind=_kind(window["kind"] or Kind.REFUSE),
            source="stated on the command line",
        )
    except ValueError as error:
        raise InvalidOutage(f"{window.string}: {error}") from error
    if not any(found.hits(arm) for arm in arms):
        raise InvalidOutage(f"{window.string}: no arm is there; the arms are {', '.join(arm.id for arm in arms)}")
    return found


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError as error:
        raise InvalidOutage(f"{name} is no kind of outage; there are {', '.join(Kind)}") from error


def _hours(text: str) -> float | None:
    hours = float(text) if text.strip() else None
    return hours if hours is None or 0 < hours < float("inf") else None


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC" if text.strip() else "at an unknown time"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(";") if word.strip())


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 100 else words[:97] + "..."
