"""Monitored: what it costs to tell Azure Monitor and Google Cloud of attempts on their copies, by the bytes told.

List prices as of 2026-11-30 (azure.microsoft.com/pricing/details/monitor, East US, analytics logs as they come;
cloud.google.com/stackdriver/pricing): nothing is free, no commitment. Google stores an entry in the project's default
bucket and in the sink's.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from fiso.codecs import google_monitoring
from fiso.domain.endpoint import Plan, Provider
from fiso.services.log import monitored

AZURE_USD_GB, GOOGLE_USD_GIB, GOOGLE_BUCKETS = 2.30, 0.50, 2
_PLANS = {Provider.AZURE: Plan.FLEX_CONSUMPTION, Provider.GCP: Plan.REQUEST_BASED}


class Told(NamedTuple):
    """Of a million attempts on one cloud's copies."""

    cloud: str
    bytes_each: int
    usd_per_million: float


@cache
def told() -> tuple[Told, ...]:
    """Measured on a record that this code writes."""
    azure = sum(len(str(value)) for value in _row(Provider.AZURE).values() if value is not None)
    google = len(json.dumps(google_monitoring.entry(_row(Provider.GCP), "my-project"), separators=(",", ":")))
    return (
        Told("azure", azure, azure * AZURE_USD_GB / 1e3),
        Told("gcp", google, google * GOOGLE_BUCKETS * GOOGLE_USD_GIB * 1e6 / 2**30),
    )


def remarks() -> Iterator[str]:
    """Lines for whoever reads."""
    yield "Where other clouds' monitoring is told of their copies, that costs beside"
    for each in told():
        yield f"  {each.cloud}: {each.usd_per_million:.2f} USD a million attempts, {each.bytes_each} bytes each"


def _row(provider: Provider) -> monitored.Row:
    from fiso_cli.cost.measured import Meter

    record = Meter().sampled(1)[0]
    attempts = tuple(replace(each, plan=_PLANS[provider].value) for each in record.attempts)
    return monitored.rows([replace(record, attempts=attempts)], provider, stage="prod")[0]
