"""What a call costs: each plan's rule for what is billed, at its provider's dated price. Standard library only.

A price is a marginal one: what one call more adds to the month's bill. Without terms of the operator's own it is the
list's first tier, without free tier or discount; capacity that is paid with or without calls is no part of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, TypeAlias

from fiso.billing import price_list
from fiso.billing.measured_use import GB, Used
from fiso.billing.plans import METERING, Metering
from fiso.billing.price_list import PriceList
from fiso.domain.endpoint import Architecture, Endpoint, Plan, Provider
from fiso.domain.terms import Terms

Place: TypeAlias = tuple[Provider, str]
MOST_TERMS = 500
STALE_DAYS = 180
"""Vendors change a price of a function now and then; who has not looked for half a year does not know."""
FILE = Path(__file__).with_name("tariffs.json")
NO_TERMS = Terms()
_Key = tuple[Provider, str, Plan | None, Architecture | None, int, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What calls of one endpoint cost, in USD: each request, each billed millisecond, and each start of an instance.
    `is_estimated` where its region has no price of its own and the neighbours' is taken."""

    plan: Plan
    request_usd: float
    ms_usd: float
    step_ms: int
    least_ms: int
    start_usd: float
    start_ms_usd: float
    is_estimated: bool

    def billed_ms(self, duration_ms: float) -> float:
        """In whole steps, and not below the least; what a sum of floats is off by begins no step."""
        return max(self.least_ms, ceil(duration_ms / self.step_ms - 1e-9) * self.step_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Dated prices of the three clouds under an operator's terms. Prices in USD; `as_of` an ISO date."""

    version: str
    as_of: str
    lists: Mapping[Provider, PriceList]
    terms: Terms = NO_TERMS
    _rates: dict[_Key, Rate | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _transfers: dict[tuple[Place, Place], float] = field(default_factory=dict, init=False, repr=False, compare=False)
    _under: dict[tuple[Terms | None, Used], "Tariff"] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def age_days(self, today: date) -> int:
        return (today - date.fromisoformat(self.as_of)).days

    def under(self, terms: Terms | None, used: Used = ()) -> "Tariff":
        """The same prices under these terms, where FISO itself used so much (`measured_use.in_force`)."""
        if not used and (terms is None or terms == self.terms):
            return self
        known = self._under.get((terms, used))
        if known is None:
            if len(self._under) >= MOST_TERMS:  # uses grow through the months, and those of before are not asked again
                self._under.clear()
            known = self._under[terms, used] = replace(self, terms=_with_use(terms or self.terms, used))
        return known

    def cost_usd(
        self, endpoint: Endpoint, duration_ms: float, *, billed_ms: float | None = None, is_cold: bool = False
    ) -> float | None:
        """What one call of `duration_ms`, or of the provider's own `billed_ms` where it said so, adds to the bill.

        None when its plan has no price here, which makes an endpoint unpriced: a missing price is never 0.
        """
        rate = self.rate(endpoint)
        if rate is None:
            return None
        ms = duration_ms if billed_ms is None else billed_ms
        return rate.request_usd + rate.billed_ms(ms) * rate.ms_usd + (rate.start_usd if is_cold else 0.0)

    def start_usd(self, endpoint: Endpoint, start_ms: float) -> float | None:
        """What the start of an instance that takes so long costs beside the call it is for; None without a price."""
        rate = self.rate(endpoint)
        return None if rate is None else rate.start_usd + rate.start_ms_usd * start_ms

    def transfer_usd(self, router: Place, there: Place, *, request_bytes: float, response_bytes: float) -> float:
        """What a call's data costs on its way out of the router's place and out of the copy's; in is free."""
        sent = request_bytes * self.gb_usd(router, there) + response_bytes * self.gb_usd(there, router)
        return sent / GB

    def gb_usd(self, origin: Place, destination: Place) -> float:
        """What the next GB costs that leaves a place for another, at the provider that it leaves."""
        known = self._transfers.get((origin, destination))
        if known is None:
            known = self._transfers[origin, destination] = self._gb_usd(origin, destination)
        return known

    def _gb_usd(self, origin: Place, destination: Place) -> float:
        if origin == destination:
            return 0.0
        link = self.terms.link_usd(origin, destination)
        if link is not None:
            return link
        provider, region = origin
        is_within = provider == destination[0]
        area = self.lists[destination[0]].area(destination[1])
        found = self.lists[provider].found(
            "region_gb" if is_within else "internet_gb", region, destination[1] if is_within else area
        )
        account = self.terms.account(provider)
        return found.row.next_usd(account.monthly_transfer_gb, has_free=account.free_tier) if found else 0.0

    def rate(self, endpoint: Endpoint) -> Rate | None:
        """By all that a price depends on; worked out once."""
        key = (
            endpoint.provider,
            endpoint.region,
            endpoint.plan,
            endpoint.architecture,
            endpoint.memory_mb,
            endpoint.vcpu,
        )
        try:
            return self._rates[key]
        except KeyError:
            found = self._rates[key] = self._rate(endpoint)
            return found

    def _rate(self, endpoint: Endpoint) -> Rate | None:
        plan = endpoint.sold_as
        metering = METERING[plan]
        prices = _Prices(self.lists[endpoint.provider], endpoint, self.terms)
        request = prices.request(metering)
        second = prices.second(metering)
        restore = prices.unit(metering.restore, 0.0) * metering.gigabytes(endpoint) if metering.restore else 0.0
        if prices.is_missing:
            return None
        paid = 1 - self.terms.account(endpoint.provider).discount
        return Rate(
            plan=plan,
            request_usd=request * paid,
            ms_usd=second * paid / 1000,
            step_ms=metering.step_ms,
            least_ms=metering.least_ms,
            start_usd=restore * paid,
            start_ms_usd=second * paid / 1000 if metering.bills_starts else 0.0,
            is_estimated=prices.is_estimated,
        )


def _with_use(terms: Terms, used: Used) -> Terms:
    """Of what is declared and what was seen the greater."""
    accounts = {provider: terms.account(provider) for provider in Provider}
    for provider, use in used:
        known = accounts[provider]
        accounts[provider] = replace(
            known,
            monthly_requests=max(known.monthly_requests, use.requests),
            monthly_gb_seconds=max(known.monthly_gb_seconds, use.gb_seconds),
            monthly_vcpu_seconds=max(known.monthly_vcpu_seconds, use.vcpu_seconds),
            monthly_transfer_gb=max(known.monthly_transfer_gb, use.transfer_gb),
        )
    return replace(terms, aws=accounts[Provider.AWS], azure=accounts[Provider.AZURE], gcp=accounts[Provider.GCP])


class _Prices:
    """An endpoint's units at its account's use of the month."""

    def __init__(self, listed: PriceList, endpoint: Endpoint, terms: Terms) -> None:
        self._listed, self._endpoint, self._account = listed, endpoint, terms.account(endpoint.provider)
        self.is_estimated = self.is_missing = False

    def unit(self, meter: str, used: float) -> float:
        found = self._listed.found(meter, self._endpoint.region)
        if found is None:
            self.is_missing = True
            return 0.0
        self.is_estimated = self.is_estimated or found.is_estimated
        return found.row.next_usd(used, has_free=self._account.free_tier)

    def request(self, metering: Metering) -> float:
        return self.unit(metering.request, self._account.monthly_requests)

    def second(self, metering: Metering) -> float:
        """What a second costs beside the capacity, or in place of it."""
        if metering.memory is None:
            return 0.0
        gigabytes, processors = metering.gigabytes(self._endpoint), metering.processors(self._endpoint)
        memory = metering.meter(self._endpoint, metering.memory)
        usd = self.unit(memory, self._account.monthly_gb_seconds) * gigabytes
        if metering.processor:
            usd += self.unit(metering.processor, self._account.monthly_vcpu_seconds) * processors
        if metering.displaces_capacity:
            idle = (self.unit(meter, 0.0) for meter in metering.capacity)
            usd -= sum(price * size for price, size in zip(idle, (gigabytes, processors), strict=True))
        return max(0.0, usd)


def read(document: Mapping[str, Any]) -> Tariff:
    """What a file of tariffs says; `ValueError` for what is none."""
    try:
        if document["currency"] != "USD":
            raise ValueError(f"prices are in {document['currency']!r}, not in USD")
        return Tariff(
            version=document["version"],
            as_of=document["as_of"],
            lists={provider: price_list.read(document[provider]) for provider in Provider},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no tariffs: {type(error).__name__} {error}") from error


@cache
def current() -> Tariff:
    """The tariff that ships with this code (`tariffs.json` beside this module)."""
    return read(json.loads(FILE.read_text(encoding="utf-8")))
