"""Measured use: what FISO itself called of a function's copies in a month, where that changes what a call costs. Pure.

It is FISO's own part: what else an account runs is declared (`prices` in fiso.yaml). Of both the greater counts, for a
declaration is of all. A month is taken to come to at least what the month before came to, so that the price of a call
does not begin anew with each month. Exact to a fifth: prices change at few amounts, and every other one would be a
price list of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import floor, log2
from typing import NamedTuple

from fiso.billing.plans import METERING
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.state import EndpointState
from fiso.domain.terms import Terms

STEPS = 4
"""Of each doubling."""
FIRST_TIER_GB_S = 1e9
"""Below it no price falls with use, beside those of free tiers (`tariffs.json`)."""


class Use(NamedTuple):
    """One provider's, in a month."""

    requests: float = 0.0
    gb_seconds: float = 0.0
    vcpu_seconds: float = 0.0


NONE = Use()


def measured(
    endpoints: Sequence[Endpoint], states: Mapping[EndpointId, EndpointState], now: datetime
) -> Mapping[Provider, Use]:
    """By provider; those of which nothing was called are left out."""
    found: dict[Provider, Use] = {}
    for endpoint in endpoints:
        state = states.get(endpoint.id)
        if state is None or state.use is None:
            continue
        calls, billed_s = state.use.expected_at(now)
        metering, known = METERING[endpoint.sold_as], found.get(endpoint.provider, NONE)
        found[endpoint.provider] = Use(
            requests=known.requests + calls,
            gb_seconds=known.gb_seconds + billed_s * metering.gigabytes(endpoint),
            vcpu_seconds=known.vcpu_seconds + (billed_s * metering.processors(endpoint) if metering.processor else 0),
        )
    return found


def in_force(
    terms: Terms | None, endpoints: Sequence[Endpoint], states: Mapping[EndpointId, EndpointState], now: datetime
) -> tuple[tuple[Provider, Use], ...]:
    """What of it may change a price under these terms, in steps; empty for nearly everybody."""
    known = terms or Terms()
    return tuple(
        (provider, Use(*map(stepped, use)))
        for provider, use in measured(endpoints, states, now).items()
        if known.account(provider).free_tier or use.gb_seconds >= FIRST_TIER_GB_S
    )


def stepped(amount: float) -> float:
    """Down to the next of STEPS amounts in each doubling."""
    return 2.0 ** (floor(log2(amount) * STEPS) / STEPS) if amount >= 1 else 0.0
