"""Breakers: what this execution environment holds of its endpoints' circuit breakers, and of their fault domains'.

Each endpoint of a function (a provider, a region, a size) has a breaker. A provider's region is a fault domain: when
breakers of two functions are open in it, the domain's own breaker trips, once for all functions, and one request finds
out for all of them. Where all of those failures were one tenant's, it holds for that tenant alone: whose functions fail
may be who calls them. What failed alike at every provider is the request's fault or the function's: it counts against
nobody unless it goes on without one answer in between.

What others saw comes in three ways: their transitions (`apply_remote`), calls that they still wait for
(`on_remote_slow_calls`), and failures in a row in the folded states (`learn`). The first two are shared through a table
(`BreakerSync`): written beside whatever is awaited then, read while a provider is awaited, when older than 2 s, and
before a request that would be a probe, since of a cloud that is silent each probe costs somebody's request. Without the
table each environment finds out for itself. docs/decisions/0013-when-a-call-fails.md
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import random
from typing import TypeAlias

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.state import EndpointState
from fiso.ports import Clock, SharedBreakers
from fiso.routing import canaries, reported
from fiso.routing.breaker_notices import NOTICE_VALID_FOR, Domain, Notice, SlowCall, Transition, are_too_many_slow
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso_client.core.attribution import Attribution
from fiso_client.core.breaker import CLOSED, CONSECUTIVE, Breaker, BreakerState
from fiso_client.core.failures import UNCLEAR, Failure, Fault, is_no_copys

_OF_DOMAIN = frozenset(
    {Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BROKEN, Failure.PROVIDER_FAULT, Failure.OVERTAKEN}
)
"""Failures that a provider's region can have as a whole."""
SEEN_BY_ALL, LATE = "seen_by_all", "late"
"""The causes of breakers that opened for what all environments saw together, and for calls that others wait for."""


REMOTE_FRESH_S = 2.0
"""So long others' bad news may take to be heard where all is well; each request until then may be lost."""
PROBE_FRESH_S = 0.1
"""A probe is made by what was heard so lately."""
UNIT_BYTES = 8_192
"""What one read unit of the store reads. An environment spends one a second, or a fleet would ask too much of one key;
only a probe is worth more."""
TRANSITION_BYTES, SLOW_CALL_BYTES = 300, 60
_Key: TypeAlias = tuple[FunctionName, EndpointId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    endpoint: Endpoint
    failure: Failure
    retry_after_s: float | None = None
    verdict: Fault = Fault.COPY

    @property
    def counts(self) -> bool:
        """Whether it says something of the endpoint."""
        return self.failure is not Failure.NOT_NEEDED and not is_no_copys(self.failure, self.verdict)


class Breakers:
    """The breakers of one environment: of endpoints by function, and of domains. `draw` is uniform in [0, 1); `publish`
    is told of each transition."""

    def __init__(
        self, *, draw: Callable[[], float] = random, publish: Callable[[Transition], None] = lambda _: None
    ) -> None:
        self._draw, self._publish = draw, publish
        self._own: dict[FunctionName, dict[EndpointId, Breaker]] = {}
        self._places: dict[_Key, Domain] = {}
        self._domains: dict[Domain, Breaker] = {}
        self._whose: dict[_Key, str] = {}
        """Whose requests failed since the last answer: the only tenant's hash, empty for several's; absent where nobody
        said. Of a domain whose failures tripped it."""
        self._whose_domain: dict[Domain, str] = {}
        self._everywhere: dict[FunctionName, int] = {}
        self._learnt: dict[FunctionName, Mapping[EndpointId, EndpointState]] = {}
        self._answered_at: dict[_Key, datetime] = {}

    def of(self, entry: CatalogEntry, caller: str = "") -> Mapping[EndpointId, Breaker]:
        """The breakers that hold for a function's endpoints; one that is absent is closed. A domain's that is not
        closed holds for all in it, for the callers whom it concerns."""
        own = self._own.get(entry.name, {})
        if not self._domains:
            return own
        holding = dict(own)
        for endpoint in entry.endpoints:
            place = domain_of(endpoint)
            domain = self._domains.get(place)
            if domain is not None and domain.opened_until is not None and self._concerns(place, caller):
                holding[endpoint.id] = domain
        return holding

    def started(self, function: FunctionName, endpoint: Endpoint, now: datetime, timeout_s: float) -> None:
        """A call begins: the probe of a breaker that is half open, of which the others are told so that they make none,
        and one of a capped share."""
        self._change_both(function, endpoint, lambda breaker: breaker.after_start(now, timeout_s))

    def answered(self, function: FunctionName, endpoint: Endpoint, now: datetime) -> None:
        self._everywhere.pop(function, None)
        key, domain = (function, endpoint.id), domain_of(endpoint)
        self._answered_at[key] = now
        self._whose.pop(key, None)
        self._set(key, domain, self._get(key).after_success(now))
        if domain in self._domains:
            self._domain_answered(domain, now)

    def failed(self, function: FunctionName, failures: Iterable[Failed], now: datetime, caller: str = "") -> None:
        """What failed in one request of a caller's, all of it: `function` got no answer from these endpoints."""
        ended = list(failures)
        counting = [failed for failed in ended if failed.counts]
        if counting and _is_everywhere(counting):
            self._everywhere[function] = self._everywhere.get(function, 0) + 1
            # Five such requests in a row, with no answer in between, are no poisonous request any more but an outage of
            # everything (docs/decisions/0013-when-a-call-fails.md).
            if self._everywhere[function] < CONSECUTIVE:
                counting = []
        for failed in ended:
            if failed in counting:
                self._failed(function, failed, now, caller)
            else:
                self._change_both(function, failed.endpoint, lambda breaker: breaker.after_nothing(now))

    def undecided(self, function: FunctionName, endpoints: Iterable[Endpoint], now: datetime) -> None:
        """They answered, and nobody can say from it whether they are well."""
        for endpoint in endpoints:
            self._change_both(function, endpoint, lambda breaker: breaker.after_nothing(now))

    def learn(self, entry: CatalogEntry, states: Mapping[EndpointId, EndpointState], now: datetime) -> None:
        """What all environments saw together: an endpoint whose last calls failed, CONSECUTIVE of them, is down."""
        if self._learnt.get(entry.name) is states:
            return
        self._learnt[entry.name] = states
        for endpoint in entry.endpoints:
            state = states.get(endpoint.id)
            if state is not None and state.last_failed_at is not None and state.consecutive_failures >= CONSECUTIVE:
                key = (entry.name, endpoint.id)
                known = self._get(key)
                is_news = known.changed_at is None or state.last_failed_at > known.changed_at
                if known.opened_until is None and is_news:
                    self._add_whose(key, state.only_of)
                    tripped = known.tripped(now, cause=SEEN_BY_ALL, draw=self._draw())
                    self._set(key, domain_of(endpoint), tripped)

    def apply_remote(self, transitions: Iterable[Transition], now: datetime) -> None:
        """Others' transitions, where they are newer: open as long as theirs, half open where theirs is not any more."""
        for transition in transitions:
            function, endpoint = transition.function, transition.endpoint
            if function is None or endpoint is None:
                domain, known = transition.domain, self._domains.get(transition.domain, CLOSED)
                self._domains[domain] = adopted = _adopted(known, transition.breaker, now)
                if adopted is not known:
                    is_wider = known.opened_until is not None and not self._concerns(domain, transition.whose)
                    self._whose_domain[domain] = "" if is_wider else transition.whose
                continue
            self._places[function, endpoint] = transition.domain
            self._add_whose((function, endpoint), transition.whose)
            of_function = self._own.setdefault(function, {})
            of_function[endpoint] = _adopted(of_function.get(endpoint, CLOSED), transition.breaker, now)

    def on_remote_slow_calls(self, slow: Sequence[SlowCall], now: datetime) -> None:
        """Slow calls, others' and own: too many, and the endpoint is down. Each environment judges by its own last
        answer, so nobody is told: who was answered since knows better."""
        for key in {(call.function, call.endpoint) for call in slow}:
            known = self._get(key)
            # Each judges by its own last answer: who is being served is not talked out of an endpoint by those who
            # hardly call it.
            moments = [at for at in (known.changed_at, self._answered_at.get(key)) if at is not None]
            own = [call for call in slow if (call.function, call.endpoint) == key]
            if known.opened_until is None and are_too_many_slow(own, since=max(moments, default=None), now=now):
                self._own.setdefault(key[0], {})[key[1]] = known.tripped(now, cause=LATE, draw=self._draw())

    def _concerns(self, domain: Domain, caller: str) -> bool:
        return self._whose_domain.get(domain, "") in ("", caller)

    def _add_whose(self, key: _Key, caller: str) -> None:
        if caller:
            self._whose[key] = caller if self._whose.get(key, caller) == caller else ""

    def _failed(self, function: FunctionName, failed: Failed, now: datetime, caller: str) -> None:
        endpoint, failure = failed.endpoint, failed.failure
        key, domain = (function, endpoint.id), domain_of(endpoint)
        before = self._get(key)
        self._add_whose(key, caller)
        if failure is Failure.THROTTLED:
            self._set(key, domain, before.after_throttled(now, retry_after_s=failed.retry_after_s))
            return
        is_refusal = failure is Failure.REFUSED
        after = before.after_failure(now, cause=failure.value, draw=self._draw(), is_refusal=is_refusal)
        self._set(key, domain, after)
        if failure in _OF_DOMAIN:
            self._domain_failed(key, domain, failure, now, caller)

    def _domain_failed(self, key: _Key, domain: Domain, failure: Failure, now: datetime, caller: str) -> None:
        """The domain trips when another function's breaker is open in it too, and again when its probe fails."""
        known = self._domains.get(domain, CLOSED)
        if known.opened_until is not None and self._concerns(domain, caller):
            self._set(None, domain, known.after_failure(now, cause=failure.value, draw=self._draw()))
            return
        others = [
            other
            for other, place in self._places.items()
            if place == domain and other[0] != key[0] and self._is_open(other, now)
        ]
        if others and self._is_open(key, now):
            # Of those that others told of without saying whose they were, nobody knows: they widen nothing.
            told = {self._whose[each] for each in (key, *others) if each in self._whose}
            self._whose_domain[domain] = told.pop() if len(told) == 1 else ""
            self._set(None, domain, known.tripped(now, cause=failure.value, draw=self._draw()))
        elif known.opened_until is not None:
            self._set(None, domain, known.after_nothing(now))

    def _domain_answered(self, domain: Domain, now: datetime) -> None:
        """When a domain is well again, so may be everything in it: one request each finds out."""
        before = self._domains[domain]
        after = before.after_success(now)
        self._set(None, domain, after)
        if after.changed_at == before.changed_at:
            return
        for (function, endpoint), place in self._places.items():
            of_function = self._own.get(function, {})
            if place == domain and endpoint in of_function:
                of_function[endpoint] = of_function[endpoint].half_opened(now)

    def _change_both(self, function: FunctionName, endpoint: Endpoint, change: Callable[[Breaker], Breaker]) -> None:
        """The domain's breaker and the endpoint's own, where they are known."""
        domain = domain_of(endpoint)
        if domain in self._domains:
            self._set(None, domain, change(self._domains[domain]))
        if endpoint.id in self._own.get(function, {}):
            self._set((function, endpoint.id), domain, change(self._own[function][endpoint.id]))

    def _is_open(self, key: _Key, now: datetime) -> bool:
        return self._get(key).state(now) is BreakerState.OPEN

    def _get(self, key: _Key) -> Breaker:
        return self._own.get(key[0], {}).get(key[1], CLOSED)

    def _set(self, key: _Key | None, domain: Domain, breaker: Breaker) -> None:
        """An endpoint's breaker, or with no key its domain's. Others are told when it changed its state."""
        if key is None:
            before, self._domains[domain] = self._domains.get(domain, CLOSED), breaker
        else:
            before, self._places[key] = self._get(key), domain
            self._own.setdefault(key[0], {})[key[1]] = breaker
        if breaker.changed_at != before.changed_at:
            function, endpoint = key or (None, None)
            seen = breaker.as_others_see_it()
            whose = self._whose_domain.get(domain, "") if key is None else self._whose.get(key, "")
            self._publish(Transition(function=function, endpoint=endpoint, domain=domain, breaker=seen, whose=whose))


class BreakerSync:
    """One environment's side of it. What it starts is awaited with all else that shares the budget."""

    def __init__(self, store: SharedBreakers, *, clock: Clock, budget: StoreWaitBudget) -> None:
        self._store, self._clock, self._budget = store, clock, budget
        self._remote: CachedValue[Sequence[Notice]] = CachedValue(
            "shared breakers", lambda _: store.read(), budget=budget, is_needed=False
        )
        self._applied: Sequence[Notice] | None = None
        self._last_read_units = 0.0

    def prefetch(self) -> None:
        """Start the first read, beside those of whatever else a new environment needs."""
        self._remote.prefetch()

    def publish(self, notice: Notice) -> None:
        """Write one, without waiting for it. Called from other threads too."""
        self._budget.start("notice to share", lambda: self._store.write(notice))

    def retract(self, slow: SlowCall) -> None:
        """Take a slow call back that was answered, without waiting for it."""
        self._budget.start("notice to take back", lambda: self._store.retract(slow))

    def refresh_in_background(self, *, oldest_s: float = REMOTE_FRESH_S) -> None:
        """Read what is due; call right before waiting for a provider. Where there is much to read, less often."""
        self._remote.refresh_in_background(oldest_s=max(oldest_s, self._last_read_units))

    def refresh_before_probe(self, breakers: Breakers) -> None:
        """Hear what others know by now, unless that was just heard: one of them may be probing already."""
        self._remote.get_or_wait(oldest_s=PROBE_FRESH_S)
        self.apply_remote(breakers)

    def apply_remote(self, breakers: Breakers) -> None:
        """Let what was heard since the last time hold here too."""
        remote = self._remote.value
        if remote is not None and remote is not self._applied:
            self._applied, now = remote, self._clock()
            transitions = [notice for notice in remote if isinstance(notice, Transition)]
            slow = [
                notice
                for notice in remote
                if isinstance(notice, SlowCall) and now - notice.began_at <= NOTICE_VALID_FOR
            ]
            self._last_read_units = (TRANSITION_BYTES * len(transitions) + SLOW_CALL_BYTES * len(slow)) / UNIT_BYTES
            breakers.apply_remote(transitions, now)
            breakers.on_remote_slow_calls(slow, now)


def effective_breakers(
    breakers: Breakers,
    attribution: Attribution,
    sync: BreakerSync | None,
    entry: CatalogEntry,
    states: Mapping[EndpointId, EndpointState],
    now: datetime,
    caller: str = "",
) -> Mapping[EndpointId, Breaker]:
    """The breakers that hold for a function, with what others told and all environments saw together, and those of
    copies that are suspected of what their siblings do not do, by more than other callers' requests."""
    if sync is not None:
        sync.apply_remote(breakers)
    # What opens here holds for all tenants of this environment (docs/decisions/0020-whose-word-counts.md).
    seen = reported.seen_by_fiso(states)
    breakers.learn(entry, seen, now)
    attribution.learn(entry.name, seen)
    found = breakers.of(entry, caller)
    if sync is not None and any(breaker.state(now) is BreakerState.HALF_OPEN for breaker in found.values()):
        sync.refresh_before_probe(breakers)
        found = breakers.of(entry, caller)
    ids = [endpoint.id for endpoint in entry.endpoints]
    return attribution.held_back(entry.name, ids, found, now, canary=_under_test(entry, states, now), caller=caller)


def _under_test(entry: CatalogEntry, states: Mapping[EndpointId, EndpointState], now: datetime) -> EndpointId | None:
    """The copy that is a canary still."""
    canary = entry.policy.canary
    if canary is None:
        return None
    known = states.get(canary.endpoint)
    stands = canaries.standing(canary, known.canary if known else None, now)
    return None if stands is None else canary.endpoint


def domain_of(endpoint: Endpoint) -> Domain:
    return Domain(endpoint.provider, endpoint.region)


def _is_everywhere(failures: list[Failed]) -> bool:
    """Whether a request failed alike at several providers, in a way that it can have caused itself."""
    kinds = {failed.failure for failed in failures}
    providers = {failed.endpoint.provider for failed in failures}
    return len(providers) > 1 and len(kinds) == 1 and kinds <= UNCLEAR


def _adopted(known: Breaker, theirs: Breaker, now: datetime) -> Breaker:
    if known.changed_at is not None and theirs.changed_at is not None and known.changed_at >= theirs.changed_at:
        return known
    return theirs if theirs.state(now) is BreakerState.OPEN else known.half_opened(now)
