"""Preparation: what is asked for on the command line, checked and made into a plan. Reads files, simulates nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TypeVar

from fiso.billing import tariff
from fiso_cli.worlds.clouds import arrivals as arriving
from fiso_cli.worlds.clouds import cold_curves as idleness
from fiso_cli.worlds.clouds import incidents, published
from fiso_cli.worlds.clouds.arrivals import Arrival, Extent, InvalidCounts
from fiso_cli.worlds.clouds.calibration import Calibration, calibrated
from fiso_cli.worlds.clouds.cold_curves import InvalidCurves
from fiso_cli.worlds.clouds.fit import TooFewCalls
from fiso_cli.worlds.clouds.incidents import InvalidOutage
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.clouds.world import Setting
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import InvalidTrace
from fiso_cli.worlds.trace import read as read_trace

FUNCTIONS, REQUESTS, RATE = 12, 3_000, 1.0
MOST_REQUESTS = 1_000_000
PUBLISHED = "published facts"

Read = TypeVar("Read")


class BadInput(Exception):
    """What was asked for cannot be simulated. The message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The command line. None: not stated. `arrivals`, `coldstarts` and `trace` are files."""

    functions: int | None
    requests: int | None
    minutes: float | None
    rate: float | None
    objective: Objective
    seeds: int
    outages: tuple[str, ...]
    arrivals: Path | None
    coldstarts: Path | None
    trace: Path | None
    is_idempotent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What will be simulated: the setting, arrivals per seed, and the calibration where there is one."""

    setting: Setting
    arrivals: Sequence[Sequence[Arrival]]
    calibration: Calibration | None

    @property
    def requests(self) -> int:
        """Over all seeds."""
        return sum(len(of_seed) for of_seed in self.arrivals)


def prepare(wanted: Wanted) -> Prepared:
    """Read and check everything. `BadInput`."""
    if wanted.requests is not None and wanted.minutes is not None:
        raise BadInput("--requests and --minutes exclude each other")
    for name, value in (("--minutes", wanted.minutes), ("--rate", wanted.rate)):
        if value is not None and not isfinite(value):
            raise BadInput(f"{name} must be a finite number, not {value}")
    calibration = _calibration(wanted)
    setting = _setting(wanted, calibration)
    arrivals = _arrivals(wanted, list(setting.services))
    span_s = min(of_seed[-1].at_s if of_seed else 0.0 for of_seed in arrivals)
    if span_s <= 0:
        raise BadInput("no request arrives in that time: ask for more of it, or for a higher --rate")
    outages = _outages(wanted, setting, span_s)
    return Prepared(setting=replace(setting, outages=outages), arrivals=arrivals, calibration=calibration)


def _calibration(wanted: Wanted) -> Calibration | None:
    if wanted.trace is None:
        return None
    try:
        return calibrated(_read(wanted.trace, read_trace), tariff.current())
    except TooFewCalls as error:
        raise BadInput(f"{wanted.trace}: {error}") from error


def _setting(wanted: Wanted, calibration: Calibration | None) -> Setting:
    curves = idleness.shipped() if wanted.coldstarts is None else _read(wanted.coldstarts, idleness.read)
    if calibration is None:
        services = published.services(wanted.functions or FUNCTIONS)
        return Setting(name=PUBLISHED, services=services, arms=published.arms(), curves=curves, tariff=tariff.current())
    known = calibration.fitted.services
    count = wanted.functions or len(known)
    if count > len(known):
        raise BadInput(f"{calibration.trace} has {len(known)} functions, --functions asks for {count}")
    return Setting(
        name=calibration.trace,
        services={name: known[name] for name in list(known)[:count]},
        arms=calibration.fitted.arms,
        curves=curves,
        tariff=tariff.current(),
    )


def _arrivals(wanted: Wanted, functions: Sequence[str]) -> list[list[Arrival]]:
    by_count = wanted.minutes is None
    extent = Extent(requests=(wanted.requests or REQUESTS) if by_count else None, minutes=wanted.minutes)
    if wanted.arrivals is None:
        rate = wanted.rate or RATE
        _bounded(rate * 60 * (wanted.minutes or 0.0))
        return [arriving.poisson(functions, rate, extent, seed=seed) for seed in range(wanted.seeds)]
    counts = _read(wanted.arrivals, arriving.read)
    try:
        chosen = counts.of(functions, rate=wanted.rate)
    except InvalidCounts as error:
        raise BadInput(f"{wanted.arrivals}: {error}") from error
    _bounded(sum(sum(row) for row in chosen.values()) if wanted.minutes else max(map(max, chosen.values())))
    return [arriving.counted(chosen, extent, seed=seed) for seed in range(wanted.seeds)]


def _bounded(requests: float) -> None:
    if requests > MOST_REQUESTS:
        raise BadInput(f"{requests:,.0f} requests would arrive, at most {MOST_REQUESTS:,} are simulated: lower --rate")


def _outages(wanted: Wanted, setting: Setting, span_s: float) -> tuple[Outage, ...]:
    try:
        found = [incidents.outage(text, list(setting.arms.values()), span_s=span_s) for text in wanted.outages]
    except InvalidOutage as error:
        raise BadInput(f"--outage: {error}") from error
    except OSError as error:
        raise BadInput(f"--outage: {error.filename}: {error.strerror}") from error
    late = next((outage for outage in found if outage.start_s >= span_s), None)
    if late is not None:
        raise BadInput(f"--outage: it begins at {late.start_s:g} s, the simulation ends at {span_s:.0f} s")
    return tuple(found)


def _read(path: Path, read: Callable[[Path], Read]) -> Read:
    try:
        return read(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except (InvalidTrace, InvalidCounts, InvalidCurves) as error:
        raise BadInput(f"{path}: {error}") from error
