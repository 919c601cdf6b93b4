"""Preparation: what is asked for on the command line, checked and made into clouds. Reads files, simulates nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from fiso.billing import tariff
from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds import arrivals as arriving
from fiso_cli.worlds.clouds import cold_curves, published
from fiso_cli.worlds.clouds.arrivals import Extent
from fiso_cli.worlds.clouds.calibration import Calibration, calibrated
from fiso_cli.worlds.clouds.clouds import Clouds
from fiso_cli.worlds.clouds.outages import Outage, outage
from fiso_cli.worlds.trace import read
from fiso_cli.worlds.virtual_time import Arrival

FUNCTIONS, REQUESTS, RATE = 12, 3_000, 1.0
MOST_REQUESTS = 1_000_000
PUBLISHED = "published facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The command line. None: not stated. `arrivals`, `coldstarts` and `trace` are files."""

    functions: int | None
    requests: int | None
    minutes: float | None
    rate: float | None
    seeds: int
    outages: tuple[str, ...]
    arrivals: Path | None
    coldstarts: Path | None
    trace: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The clouds that will be simulated, and the calibration where they were fitted to a trace."""

    clouds: Clouds
    calibration: Calibration | None


def prepare(wanted: Wanted) -> Prepared:
    """Read and check everything. `BadInput`."""
    if wanted.requests is not None and wanted.minutes is not None:
        raise BadInput("--requests and --minutes exclude each other")
    for name, value in (("--minutes", wanted.minutes), ("--rate", wanted.rate)):
        if value is not None and not isfinite(value):
            raise BadInput(f"{name} must be a finite number, not {value}")
    calibration = None if wanted.trace is None else calibrated(read(wanted.trace), tariff.current())
    clouds = _clouds(wanted, calibration)
    arrivals = _arrivals(wanted, list(clouds.services))
    span_s = min(of_seed[-1].at_s if of_seed else 0.0 for of_seed in arrivals)
    if span_s <= 0:
        raise BadInput("no request arrives in that time: ask for more of it, or for a higher --rate")
    outages = _outages(wanted, clouds, span_s)
    return Prepared(clouds=replace(clouds, outages=outages, requests=arrivals), calibration=calibration)


def _clouds(wanted: Wanted, calibration: Calibration | None) -> Clouds:
    curves = cold_curves.shipped() if wanted.coldstarts is None else cold_curves.read(wanted.coldstarts)
    if calibration is None:
        services = published.services(wanted.functions or FUNCTIONS)
        return Clouds(name=PUBLISHED, services=services, arms=published.arms(), curves=curves, tariff=tariff.current())
    known = calibration.fitted.services
    count = wanted.functions or len(known)
    if count > len(known):
        raise BadInput(f"{calibration.trace} has {len(known)} functions, --functions asks for {count}")
    return Clouds(
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
    chosen = arriving.read(wanted.arrivals).of(functions, rate=wanted.rate)
    _bounded(sum(sum(row) for row in chosen.values()) if wanted.minutes else max(map(max, chosen.values())))
    return [arriving.counted(chosen, extent, seed=seed) for seed in range(wanted.seeds)]


def _bounded(requests: float) -> None:
    if requests > MOST_REQUESTS:
        raise BadInput(f"{requests:,.0f} requests would arrive, at most {MOST_REQUESTS:,} are simulated: lower --rate")


def _outages(wanted: Wanted, clouds: Clouds, span_s: float) -> tuple[Outage, ...]:
    try:
        found = [outage(text, list(clouds.arms.values()), span_s=span_s) for text in wanted.outages]
    except BadInput as error:
        raise BadInput(f"--outage: {error}") from error
    late = next((outage for outage in found if outage.start_s >= span_s), None)
    if late is not None:
        raise BadInput(f"--outage: it begins at {late.start_s:g} s, the simulation ends at {span_s:.0f} s")
    return tuple(found)
