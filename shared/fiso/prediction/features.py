"""Features: what a model sees of one candidate for one request. The one definition for serving and training.

The snapshot made here is what the model predicts from, what the record logs and what training reads, so the two cannot
drift apart. Codes are the same in every environment without a shared table: they depend on nothing but the words.
Standard library only.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from math import exp
from zlib import crc32

from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.state import UNKNOWN_LATENCY_MS, EndpointState

NAMES = (
    "cloud_provider_encoded",
    "function_type_encoded",
    "request_size_bytes",
    "day_of_week",
    "hour_of_day",
    "region_encoded",
    "historical_avg_latency",
    "current_load_factor",
    "in_flight",
    "idle_seconds",
    "memory_mb",
)
"""The brief's eight, then ours: requests in flight, idle time (cold starts) and memory carry most of the gain."""

IN_FLIGHT_AT = NAMES.index("in_flight")

DEFAULT_LATENCY_MS = UNKNOWN_LATENCY_MS
LONGEST_IDLE_S = 86_400.0
"""`idle_seconds` at most, and of an endpoint never called: a day is cold on every cloud."""
KEPT_S = 600.0
"""How long an idle instance is kept, of the order of the clouds' 5 to 20 minutes."""
STATE_LAG_S = 10.0
"""A state may be this old, so a silence this short says nothing about load."""

_PROVIDERS = {Provider.AWS: 0.0, Provider.AZURE: 1.0, Provider.GCP: 2.0}

PLACES = (
    ("us-east-1", "us-east-2", "ca-central-1", "eastus", "eastus2", "us-east1", "us-east4"),
    ("us-west-1", "us-west-2", "westus", "westus2", "westus3", "us-west1"),
    ("centralus", "us-central1"),
    ("eu-west-1", "eu-west-2", "eu-west-3", "northeurope", "uksouth", "europe-west2"),
    ("eu-central-1", "westeurope", "germanywestcentral", "europe-west1", "europe-west3", "europe-west4"),
    ("eu-north-1", "swedencentral", "europe-north1"),
    ("ap-northeast-1", "japaneast", "asia-northeast1", "asia-east1"),
    ("ap-southeast-1", "southeastasia", "asia-southeast1"),
    ("ap-south-1", "centralindia", "asia-south1"),
    ("sa-east-1", "brazilsouth", "southamerica-east1"),
)
_REGIONS = {region: code for code, regions in enumerate(PLACES) for region in regions}
_OTHER_REGIONS = 1024
_FUNCTION_TYPES = 1024


def snapshot(
    *,
    function_type: str,
    endpoint: Endpoint,
    request_size_bytes: int,
    now: datetime,
    state: EndpointState | None,
    in_flight: float,
) -> tuple[float, ...]:
    """The features of one candidate, in the order of NAMES; always finite. `now` is aware and UTC.

    `in_flight` is the load it is under, from `in_flight` below or stated.
    """
    level_ms = state.latency_ms if state is not None else None
    idle_s = idle_seconds(now, state)
    return (
        _PROVIDERS[endpoint.provider],
        function_type_code(function_type),
        float(request_size_bytes),
        float(now.isoweekday()),
        float(now.hour),
        region_code(endpoint.region),
        DEFAULT_LATENCY_MS if level_ms is None else float(level_ms),
        in_flight / endpoint.concurrency_limit,
        in_flight,
        idle_s,
        float(endpoint.memory_mb),
    )


@lru_cache(maxsize=4096)
def function_type_code(function_type: str) -> float:
    """A label as a number in 0..1023 by CRC-32; five labels share one about once in a hundred catalogs."""
    return float(crc32(function_type.encode("utf-8", "surrogatepass")) % _FUNCTION_TYPES)


def place(region: str) -> int | None:
    """The index in PLACES of where a region lies; None for one that is not listed."""
    return _REGIONS.get(region)


@lru_cache(maxsize=4096)
def region_code(region: str) -> float:
    """The place a region lies in, 0..9 whatever the cloud; regions not listed get 10..1033 by CRC-32."""
    known = place(region)
    if known is not None:
        return float(known)
    return float(len(PLACES) + crc32(region.encode("utf-8", "surrogatepass")) % _OTHER_REGIONS)


def idle_seconds(now: datetime, state: EndpointState | None) -> float:
    """Seconds since the last call, at most LONGEST_IDLE_S, which also stands for never."""
    if state is None or state.last_called_at is None:
        return LONGEST_IDLE_S
    idle_s = (now - state.last_called_at).total_seconds()
    return idle_s if 0.0 <= idle_s <= LONGEST_IDLE_S else min(LONGEST_IDLE_S, max(0.0, idle_s))


def in_flight(now: datetime, state: EndpointState | None) -> float:
    """Requests in flight by Little's law, across all environments that the stream hears of; 0 while unknown."""
    return 0.0 if state is None or state.latency_ms is None else state.latency_ms * _arrivals_per_ms(now, state)


def stay(now: datetime, states: Iterable[EndpointState]) -> float:
    """How many calls of its function an instance is expected to answer once it was started: at least 1.

    It is kept while no silence is longer than KEPT_S; with arrivals at random (Poisson, all copies together) the calls
    until one is are geometric, with the mean exp(rate * KEPT_S). A function whose rate is not known yet is taken for
    one that is called once a minute.
    """
    known = [_arrivals_per_ms(now, state) for state in states if state.arrival_interval_ms is not None]
    return exp(min(_LONGEST_STAY_LOG, KEPT_S * 1000 * (sum(known) if known else _UNKNOWN_PER_MS)))


def unfolded(now: datetime, states: Iterable[EndpointState], lag_s: float) -> float:
    """How many requests are expected to be decided before the outcome of one is known."""
    return lag_s * 1000 * sum(_arrivals_per_ms(now, state) for state in states)


def _arrivals_per_ms(now: datetime, state: EndpointState) -> float:
    """The interval is at least the silence since the last call: a burst that is over is no load."""
    interval_ms, last_at = state.arrival_interval_ms, state.last_called_at
    if interval_ms is None or last_at is None:
        return 0.0
    # The stream folds a record seconds after its call, so a short silence is no sign that a burst is over.
    silence_ms = ((now - last_at).total_seconds() - STATE_LAG_S) * 1000
    return 1 / max(interval_ms, silence_ms, _SHORTEST_INTERVAL_MS)


_SHORTEST_INTERVAL_MS = 0.001
_UNKNOWN_PER_MS = 1 / 60_000
_LONGEST_STAY_LOG = 20.0
