"""Measured use: what FISO itself called of a function's copies in a month, where that changes what a call costs. Pure.

It is FISO's own part: what else an account runs is declared (`prices` in fiso.yaml). Of both the greater counts, for a
declaration is of all. A month is taken to come to at least what the month before came to, so that the price of a call
does not begin anew with each month. Exact to a fifth: prices change at few amounts, and every other one would be a
price list of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import floor, log2
from operator import add
from typing import NamedTuple, TypeAlias

from fiso.billing.plans import METERING
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.state import EndpointState, month_of
from fiso.domain.terms import Terms

STEPS = 4
"""Of each doubling."""
FIRST_TIER_GB_S, FIRST_TIER_GB = 1e9, 1024.0
"""Below them no price falls with use, beside those of free tiers (`tariffs.json`)."""
GB = 2**30
"""Bytes of a GB of data sent, as all three meter it."""


class Use(NamedTuple):
    """One provider's, in a month."""

    requests: float = 0.0
    gb_seconds: float = 0.0
    vcpu_seconds: float = 0.0
    transfer_gb: float = 0.0


NONE = Use()
Used: TypeAlias = tuple[tuple[Provider, Use], ...]


def measured(
    endpoints: Sequence[Endpoint],
    states: Mapping[EndpointId, EndpointState],
    now: datetime,
    *,
    terms: Terms | None = None,
    router_region: str | None = None,
) -> Mapping[Provider, Use]:
    """By provider; those of which nothing was called are left out.

    Data is what leaves for the internet: answers out of the copy's cloud, requests out of the router's, and every
    answer once more, to the caller. What goes over a link of the terms is not on that meter.
    """
    found: dict[Provider, Use] = {}
    for endpoint in endpoints:
        state = states.get(endpoint.id)
        if state is None or state.use is None:
            continue
        calls, billed_s = state.use.expected_at(now)
        metering = METERING[endpoint.sold_as]
        more = Use(
            requests=calls,
            gb_seconds=billed_s * metering.gigabytes(endpoint),
            vcpu_seconds=billed_s * metering.processors(endpoint) if metering.processor else 0.0,
        )
        found[endpoint.provider] = _sum(found.get(endpoint.provider, NONE), more)
        if state.sent is not None:
            requests, answers = state.sent.expected_at(now)
            for sent in transfers(endpoint, requests, answers, terms=terms or Terms(), router_region=router_region):
                found[sent[0]] = _sum(found.get(sent[0], NONE), Use(transfer_gb=sent[1] / GB))
    return found


def transfers(
    endpoint: Endpoint, requests: float, answers: float, *, terms: Terms, router_region: str | None
) -> Iterator[tuple[Provider, float]]:
    """The bytes that leave each cloud for the internet with requests and answers of so many bytes."""
    router, copy = (Provider.AWS, router_region or ""), (endpoint.provider, endpoint.region)
    yield Provider.AWS, answers
    if endpoint.provider is not Provider.AWS:
        if terms.link_usd(router, copy) is None:
            yield Provider.AWS, requests
        if terms.link_usd(copy, router) is None:
            yield endpoint.provider, answers


def _sum(one: Use, other: Use) -> Use:
    return Use(*map(add, one, other))


def in_force(
    terms: Terms | None,
    endpoints: Sequence[Endpoint],
    states: Mapping[EndpointId, EndpointState],
    now: datetime,
    *,
    router_region: str | None = None,
) -> Used:
    """What of it may change a price under these terms, in steps; empty for nearly everybody."""
    known = terms or Terms()
    return tuple(
        (provider, Use(*map(stepped, use)))
        for provider, use in measured(endpoints, states, now, terms=known, router_region=router_region).items()
        if known.account(provider).free_tier or use.gb_seconds >= FIRST_TIER_GB_S or use.transfer_gb >= FIRST_TIER_GB
    )


class UseKept:
    """What is in force of each function, worked out once for its states as they were read: a request waits for it."""

    def __init__(self) -> None:
        self._kept: dict[FunctionName, tuple[CatalogEntry, Mapping[EndpointId, EndpointState], int, Used]] = {}

    def of(
        self,
        entry: CatalogEntry,
        states: Mapping[EndpointId, EndpointState],
        now: datetime,
        router_region: str | None,
    ) -> Used:
        """`in_force` of an entry's terms and endpoints."""
        month, kept = month_of(now), self._kept.get(entry.name)
        if kept is not None and kept[0] is entry and kept[1] is states and kept[2] == month:
            return kept[3]
        used = in_force(entry.prices, entry.endpoints, states, now, router_region=router_region)
        self._kept[entry.name] = (entry, states, month, used)
        return used


def stepped(amount: float) -> float:
    """Down to the next of STEPS amounts in each doubling."""
    return 2.0 ** (floor(log2(amount) * STEPS) / STEPS) if amount >= 1 else 0.0
