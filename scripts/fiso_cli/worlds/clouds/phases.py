"""Phases: how requests fared before, during and after an outage, by when they arrived. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.clouds.results import Served
from fiso_cli.worlds.figures import percentile


class Phase(StrEnum):
    """When, beside an outage."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fared:
    """The requests of one phase. Latencies are in ms, of all requests and as they were; None where there were none."""

    requests: int
    success: float | None
    mean: float | None
    p95: float | None


def fared(runs: Sequence[Sequence[Served]], outage: Outage) -> Mapping[Phase, Fared]:
    """One contender's runs, one per seed, taken together."""
    found: dict[Phase, list[Served]] = {phase: [] for phase in Phase}
    for request in (request for run in runs for request in run):
        found[_phase(request.at_s, outage)].append(request)
    return {phase: _fared(requests) for phase, requests in found.items()}


def _phase(at_s: float, outage: Outage) -> Phase:
    if at_s < outage.start_s:
        return Phase.BEFORE
    return Phase.DURING if at_s < outage.end_s else Phase.AFTER


def _fared(requests: Sequence[Served]) -> Fared:
    if not requests:
        return Fared(requests=0, success=None, mean=None, p95=None)
    latencies = sorted(request.latency_ms for request in requests)
    return Fared(
        requests=len(requests),
        success=fmean(request.ok for request in requests),
        mean=fmean(latencies),
        p95=percentile(latencies, 0.95),
    )
