"""Invoices: what a month of calls comes to, meter by meter, as a provider would write it. Pure.

Tiers are counted by meter and region, free tiers by meter over all regions and processors, in the order in which the
uses are given. A decision's price is the step of this sum: `Tariff.cost_usd` at `monthly_*` is one call more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor

from fiso.billing.plans import METERING, Metering
from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, Provider

TRANSFER = ("internet_gb", "region_gb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A month of one endpoint: `calls` of `call_ms` each, `starts` of `start_ms`, `capacity_s` seconds of instances
    that were kept ready (instances times time), `internet_gb` and `region_gb` that it sent."""

    endpoint: Endpoint
    calls: float = 0.0
    call_ms: float = 0.0
    starts: float = 0.0
    start_ms: float = 0.0
    capacity_s: float = 0.0
    internet_gb: float = 0.0
    region_gb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: `quantity` units of a meter in a region; `free` of them are not billed."""

    provider: Provider
    region: str
    meter: str
    quantity: float
    free: float
    usd: float
    is_estimated: bool


def lines(uses: Sequence[Use], tariff: Tariff) -> list[Line]:
    """By provider, region and meter, in the order of the uses; meters that did not run are left out. `ValueError` for
    a plan without a price."""
    quantities: dict[tuple[Provider, str, str], float] = {}
    for use in uses:
        for meter, quantity in _metered(use, tariff):
            key = (use.endpoint.provider, use.endpoint.region, meter)
            quantities[key] = quantities.get(key, 0.0) + quantity
    taken: dict[tuple[Provider, str], float] = {}
    found: list[Line] = []
    for (provider, region, meter), quantity in quantities.items():
        price = tariff.lists[provider].found(meter, region)
        if price is None:
            raise ValueError(f"no price for {meter} on {provider}")
        account, family = tariff.terms.account(provider), (provider, meter.removesuffix("_arm64"))
        share = taken.get(family, 0.0)  # of the free tier, used up elsewhere
        free = min(quantity, (1 - share) * price.row.free) if account.free_tier else 0.0
        taken[family] = share + (free / price.row.free if price.row.free else 0.0)
        paid = 1.0 if meter in TRANSFER else 1 - account.discount
        found.append(
            Line(
                provider=provider,
                region=region,
                meter=meter,
                quantity=quantity,
                free=free,
                usd=paid * price.row.total_usd(quantity - free),
                is_estimated=price.is_estimated,
            )
        )
    return [line for line in found if line.quantity]


def total_usd(found: Sequence[Line]) -> float:
    """To the cent; half a cent is one, whatever floats make of it."""
    return floor(100 * sum(line.usd for line in found) + 0.5 + 1e-6) / 100


def _metered(use: Use, tariff: Tariff) -> Iterator[tuple[str, float]]:
    """The meters that a use runs, and how far."""
    endpoint = use.endpoint
    metering, rate = METERING[endpoint.sold_as], tariff.rate(endpoint)
    if rate is None:
        raise ValueError(f"no price for {endpoint.sold_as} on {endpoint.provider}")
    seconds = use.calls * rate.billed_ms(use.call_ms) / 1000
    if metering.bills_starts:
        seconds += use.starts * use.start_ms / 1000
    yield metering.request, use.calls
    if metering.memory:
        yield metering.meter(endpoint, metering.memory), seconds * metering.gigabytes(endpoint)
    if metering.processor:
        yield metering.processor, seconds * metering.processors(endpoint)
    if metering.restore:
        yield metering.restore, use.starts * metering.gigabytes(endpoint)
    yield from _capacity(use, metering, seconds)
    yield "internet_gb", use.internet_gb
    yield "region_gb", use.region_gb


def _capacity(use: Use, metering: Metering, busy_s: float) -> Iterator[tuple[str, float]]:
    endpoint = use.endpoint
    ready_s = max(0.0, use.capacity_s - busy_s) if metering.displaces_capacity else use.capacity_s
    sizes = (metering.gigabytes(endpoint), metering.processors(endpoint))
    for meter, size in zip(metering.capacity, sizes, strict=False):
        yield metering.meter(endpoint, meter), ready_s * size
