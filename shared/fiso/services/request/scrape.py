"""What `GET /metrics` tells: of each function and copy from the folded states, of this environment its knowledge's age.

A process of Lambda's counts what it happened to serve, so nothing is counted here: each series is of one state, whose
sums only grow, whichever environment is asked. It is all or nothing: who misses a state would see a part for the whole.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from fiso.codecs.exposition import Family, Labels, written
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId
from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState
from fiso_client.core.breaker import CLOSED, Breaker, BreakerState

FRESH_S = 5.0
"""A rendering is given again for so long: shorter than the time between two scrapes, or a counter of one environment
could be behind another's."""
_BOUNDS_S = tuple(bound / 1000 for bound in LATENCY_BOUNDS_MS)


class Scraped(NamedTuple):
    """A function, its copies' states, and what is known here of their breakers."""

    entry: CatalogEntry
    states: Mapping[EndpointId, EndpointState]
    breakers: Mapping[EndpointId, Breaker]


class Knowledge(NamedTuple):
    """What this environment decides on. Ages in seconds."""

    catalog_version: int
    catalog_age_s: float
    tariff_age_days: float
    model: str
    is_spilling: bool


class _Families:
    def __init__(self) -> None:
        def family(name: str, type: str, help: str) -> Family:
            made = Family(f"fiso_{name}", type, help)
            self.all.append(made)
            return made

        self.all = list[Family]()
        self.invocations = family("invocations_total", "counter", "Requests that this endpoint ended.")
        self.durations = family("invocation_duration_seconds", "histogram", "Latency of the answers, as FISO saw it.")
        self.cost = family("invocation_cost_usd", "gauge", "Mean estimated cost of an attempt in USD.")
        self.cost_total = family("cost_usd_total", "counter", "Estimated cost of all attempts in USD.")
        self.attempts = family("attempts_total", "counter", "Calls of this endpoint, retries and hedges as well.")
        self.failures = family("attempt_failures_total", "counter", "Attempts that failed.")
        self.cold_starts = family("cold_starts_total", "counter", "Answers that were cold starts.")
        self.slow = family("objective_slow_total", "counter", "Requests slower than their function's objective.")
        self.overhead = family("overhead_seconds", "summary", "FISO's own time per request.")
        self.foretold = family("predicted_answers_total", "counter", "Answers whose latency had been predicted.")
        self.error = family("prediction_error_seconds_total", "counter", "How far off predictions were, in all.")
        self.mean_error = family(
            "recent_mean_error_seconds_total", "counter", "How far off the endpoint's recent mean was, in all."
        )
        self.in_flight = family("in_flight_requests", "gauge", "Requests in flight, by Little's law.")
        self.breaker = family("breaker_open", "gauge", "1 while this environment holds the breaker for open.")
        self.promised = family("objective_ratio", "gauge", "Share of requests that is promised to be good.")
        self.policy_version = family("policy_version", "gauge", "Version of the function's policy.")
        self.catalog_version = family("catalog_version", "gauge", "Version of the catalog in force here.")
        self.policy_age = family("policy_age_seconds", "gauge", "Since the catalog was last read.")
        self.tariff_age = family("tariff_age_seconds", "gauge", "Since the prices were last checked.")
        self.spilling = family("log_spilling", "gauge", "1 while records go to this environment's log, not the table.")
        self.model = family("model_info", "gauge", "Which model predicts; baseline for none.")


def render(scraped: Iterable[Scraped], knowledge: Knowledge, now: datetime) -> str:
    """The whole exposition. `scraped` has each function once, with all of its copies' states."""
    families = _Families()
    for function in scraped:
        families.policy_version.add(function.entry.policy.version, function=function.entry.name)
        _add_objectives(families, function.entry)
        for endpoint in function.entry.endpoints:
            labels = {
                "provider": endpoint.provider.value,
                "function": function.entry.name,
                "endpoint": endpoint.id,
                "region": endpoint.region,
            }
            is_open = function.breakers.get(endpoint.id, CLOSED).state(now) is BreakerState.OPEN
            families.breaker.add(is_open, **labels)
            if (state := function.states.get(endpoint.id)) is not None:
                _add_state(families, state, labels)
    families.catalog_version.add(knowledge.catalog_version)
    families.policy_age.add(knowledge.catalog_age_s)
    families.tariff_age.add(86_400 * knowledge.tariff_age_days)
    families.spilling.add(knowledge.is_spilling)
    families.model.add(1, version=knowledge.model)
    return written(families.all)


def _add_objectives(families: _Families, entry: CatalogEntry) -> None:
    promised = entry.policy.objectives
    if promised is not None and promised.availability is not None:
        families.promised.add(promised.availability / 100, function=entry.name, objective="availability")
    if promised is not None and promised.latency_ms is not None:
        families.promised.add(promised.latency_share / 100, function=entry.name, objective="latency")


def _add_state(families: _Families, state: EndpointState, labels: Labels) -> None:
    totals = state.totals
    families.invocations.add(totals.requests - totals.errors, **labels, status="success")
    families.invocations.add(totals.errors, **labels, status="error")
    if totals.latencies:
        families.durations.add_histogram(_BOUNDS_S, totals.latencies, totals.latency_us / 1e6, **labels)
    if state.attempts:
        families.cost.add(state.cost_usd / state.attempts, **labels)
    families.cost_total.add(state.cost_usd, **labels)
    families.attempts.add(state.attempts, **labels)
    families.failures.add(state.failures, **labels)
    families.cold_starts.add(state.cold_starts, **labels)
    families.slow.add(totals.slow, **labels)
    families.overhead.add_sum(totals.overhead_us / 1e6, totals.overheads, **labels)
    families.foretold.add(totals.foretold, **labels)
    families.error.add(totals.error_us / 1e6, **labels)
    families.mean_error.add(totals.mean_error_us / 1e6, **labels)
    families.in_flight.add(state.in_flight, **labels)
