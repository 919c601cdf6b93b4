"""Outages: when which endpoints do not work, and how: stated, or incidents that happened, as dated facts or as rows of
a file, placed into a simulation.

refuse    connections are refused at once; the function did not run.
time_out  connections are taken and never answered; the function does not run, but nobody can know.
slow      everything takes 20 times as long.

An incident begins after a third of the simulated time and lasts as long as it did, at most a third: a longer one is
scaled, and says so. What is not stated in a row, how calls failed, is taken as `refuse`. An incident hits all calls to
where it was; that only a part of them failed is not simulated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.worlds.inputs import csv_records
from fiso_cli.worlds.world import Arm

SLOWER = 20.0
PART = 1 / 3
UNSTATED_HOURS = 1.0
LONGEST_TEXT = 100
_WINDOW = re.compile(
    r"(?P<provider>[a-z]+)(/(?P<region>[a-z0-9-]+))?:(?P<start>[0-9.]+):(?P<end>[0-9.]+)(:(?P<kind>[a-z_]+))?"
)
_FILE = re.compile(r"(?P<path>.+)#(?P<row>[0-9]+)(:(?P<kind>[a-z_]+))?")


class Kind(StrEnum):
    """How an endpoint fails."""

    REFUSE = "refuse"
    TIME_OUT = "time_out"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One window, in seconds of the simulation. `region` None: everywhere. `source`: whose incident it replays."""

    provider: Provider
    start_s: float
    end_s: float
    kind: Kind = Kind.REFUSE
    region: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(
                f"an outage must begin at 0 or later and end after it begins: {self.start_s}, {self.end_s}"
            )

    def hits(self, arm: Arm) -> bool:
        """Whether the arm is within it, at any time."""
        return arm.provider is self.provider and self.region in (None, arm.region)


def kind_at(outages: Sequence[Outage], arm: Arm, now: float) -> Kind | None:
    """What is wrong with the arm now; of several outages the first."""
    return next((o.kind for o in outages if o.hits(arm) and o.start_s <= now < o.end_s), None)


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

    `span_s` is the simulated time. `BadInput`.
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
    raise BadInput(
        f"{text}: not FILE#ROW, not provider[/region]:start_s:end_s[:kind], and none of {', '.join(BUILT_IN)}"
    )


def placed(incident: Incident, arms: Sequence[Arm], *, span_s: float, kind: Kind | None = None) -> Outage:
    """The incident in the simulated time, where the arms are: in its regions, else on the provider's every arm."""
    mine = [arm for arm in arms if arm.provider is incident.provider]
    if not mine:
        raise BadInput(f"there is no arm on {incident.provider}")
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


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a file of status events has what. `{}` in `what` is a column; the provider is named, or in a column."""

    began: str
    hours: str
    what: str
    regions: str = ""
    id: str = ""
    provider: Provider | None = None
    vendor: str = ""

    def are_in(self, row: Mapping[str, str]) -> bool:
        named = (self.began, self.hours, self.regions, self.id, self.vendor, *re.findall(r"{(\w+)}", self.what))
        return all(name in row for name in named if name)

    def incident(self, row: Mapping[str, str], source: str) -> Incident:
        regions = row[self.regions].split(";") if self.regions else ()
        what = self.what.format(**row)
        return Incident(
            provider=self.provider or Provider(row[self.vendor].lower()),
            began=_day(row[self.began]),
            hours=_hours(row[self.hours]),
            regions=tuple(word.strip() for word in regions if word.strip()),
            what=what if self.provider is Provider.AWS else _short(what),
            source=f"{source}, {row[self.id]}" if self.id else source,
        )


_SHAPES = (
    _Columns(
        "start_utc", "hours_first_to_last_update", "{service_name}: {summary}", regions="region", provider=Provider.AWS
    ),
    _Columns("begin", "hours", "{desc}", regions="locations", id="id", provider=Provider.GCP),
    _Columns("start", "hours", "{title}", id="tracking_id", provider=Provider.AZURE),
    _Columns("event_start_time", "hours", "{service_name}", regions="location", vendor="vendor"),
)


def read(path: Path, number: int) -> Incident:
    """Row `number` (1 is the first under the header) of a file of status events; which file it is, its columns say."""
    rows = csv_records(path)
    shape = next((shape for shape in _SHAPES if rows and shape.are_in(rows[0])), None)
    if shape is None:
        raise BadInput(f"{path}: its columns are not those of a file of incidents")
    if not 1 <= number <= len(rows):
        raise BadInput(f"{path}: there is no row {number}")
    try:
        return shape.incident(rows[number - 1], f"{path.name} row {number}")
    except ValueError as error:
        raise BadInput(f"{path}: row {number}: {error}") from error


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
        raise BadInput(f"{window.string}: {error}") from error
    if not any(found.hits(arm) for arm in arms):
        raise BadInput(f"{window.string}: no arm is there; the arms are {', '.join(arm.id for arm in arms)}")
    return found


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError as error:
        raise BadInput(f"{name} is no kind of outage; there are {', '.join(Kind)}") from error


def _hours(text: str) -> float | None:
    hours = float(text) if text.strip() else None
    return hours if hours is None or 0 < hours < float("inf") else None


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC" if text.strip() else "at an unknown time"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_TEXT else words[: LONGEST_TEXT - 3] + "..."
