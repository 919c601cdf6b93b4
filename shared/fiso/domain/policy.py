"""Policies: what an operator allows and prefers for one function. `Policy` is always the operator's row.

Its fields are declared here and nowhere else: `fiso.yaml`'s schema and checks, the stored document, the tables of the
commands and the one in docs/policy.md are made from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from fiso.domain.cors import HEADER, Cors
from fiso.domain.endpoint import EndpointId, Provider, Region
from fiso.domain.fields import AtMost, Impossible, Means, Place, Spelled, Within, violations
from fiso.domain.steering import Affinity, Canary, Wish
from fiso.domain.strategy import Strategy
from fiso_client.core.grammar import LONGEST_TENANT

LONGEST_OUTAGE_S = 21_600
"""Six hours: regions have been away for three."""
LARGEST_CONTROL_BLOCK_S = 604_800
"""A week: a longer block would be one day's luck."""


class Scoring(StrEnum):
    """How predictions become one number: shares of the best candidate, or the brief's reciprocals."""

    RELATIVE = "relative"
    RECIPROCAL = "reciprocal"


class Objective(StrEnum):
    """What the best candidate is: the best by the weights, or the cheapest whose p95 keeps the latency objective."""

    WEIGHTED = "weighted"
    CHEAPEST_WITHIN = "cheapest_within"


class Mode(StrEnum):
    """`route` decides and acts; `observe` decides, records and calls home; `pin` always calls one endpoint."""

    ROUTE = "route"
    OBSERVE = "observe"
    PIN = "pin"


class Idempotent(StrEnum):
    """Whether a request that may have run can be run again, on this or another cloud."""

    NO = "no"
    YES = "yes"
    DEDUPLICATES_ON_KEY = "deduplicates_on_key"


class FailOverOn(StrEnum):
    """After what another copy is tried; all but the first only for what may be repeated."""

    NOT_RUN = "not_run"  # what cannot have run
    LOST = "lost"  # it may have run, and no whole answer came
    COPY = "copy"  # an answer that this copy alone gives
    SERVER_ERROR = "server_error"  # any 5xx of the function itself


class OnKeyStoreLoss(StrEnum):
    """What a request with an idempotency key gets while the key table does not answer (docs/decisions/0024)."""

    REFUSE = "refuse"  # 503, and nothing runs
    RUN_ONCE_UNKEYED = "run_once_unkeyed"  # it runs, and its caller is told that no key protects it
    SECOND_STORE = "second_store"  # most of three regions' tables hold the key, so that one may be away


class LatencyMeasure(StrEnum):
    """Which latency is minimised."""

    MEAN = "mean"
    P95 = "p95"


class CostSource(StrEnum):
    """What prices a decision: the tariffs applied to the predicted duration, or the trained cost target."""

    TARIFF = "tariff"
    MODEL = "model"


POINTER = Spelled("^/", "must be a JSON pointer (RFC 6901), as in /items/*/created_at")
ALLOW = Means("`providers` and `regions`; an empty allow allows all", unset="all")
DENY = Means("`providers` and `regions`; deny wins", unset="nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the operator cares about. Any non-negative numbers; only their proportions matter."""

    latency: Annotated[float, Within(0)] = 0.4
    cost: Annotated[float, Within(0)] = 0.3
    reliability: Annotated[float, Within(0)] = 0.2
    region_affinity: Annotated[float, Within(0)] = 0.1

    def __post_init__(self) -> None:
        problems = list(violations(self))
        if not problems and not (self.latency or self.cost or self.reliability or self.region_affinity):
            problems = [((), "at least one weight must be positive")]
        if problems:
            raise Impossible(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """How many of the requests that may be repeated are also sent to a sibling, to compare the answers: a `share`, at
    most `per_minute` calls per execution environment and function. An answer is held back for at most `wait_ms` until
    the sibling's is there. `ignore` and `ignore_headers` are what may differ (`domain.equivalence.Ignored`);
    `quarantine` excludes a copy that differs from the majority beyond chance, until the policy's next version."""

    share: Annotated[float, Within(0, 1)] = 0.0
    per_minute: Annotated[int, Within(1, 6_000)] = 60
    wait_ms: Annotated[int, Within(0, 2_000)] = 200
    ignore: Annotated[tuple[Annotated[str, POINTER], ...], AtMost(50)] = ()
    ignore_headers: Annotated[frozenset[Annotated[str, AtMost(200)]], AtMost(50)] = frozenset()
    quarantine: bool = False

    def __post_init__(self) -> None:
        problems = list(violations(self))
        problems += [
            (("ignore", place), f"{pointer!r:.80} {POINTER.says}")
            for place, pointer in enumerate(self.ignore)
            if not pointer.startswith("/")
        ]
        if problems:
            raise Impossible(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a function's callers are promised: `availability` of 100 requests without an error, and `latency_share` of
    100 answered within `latency_ms`. How fast the rest is used up is its burn rate: 1 is just what is promised
    (Google's SRE workbook, "Alerting on SLOs")."""

    availability: Annotated[float | None, Within(50, 99.999)] = None
    latency_ms: Annotated[int | None, Within(1, 28_000)] = None
    latency_share: Annotated[float, Within(50, 99.999)] = 99.0

    def __post_init__(self) -> None:
        problems = list(violations(self))
        if self.availability is None and self.latency_ms is None:
            problems.append(((), "needs availability or latency_ms"))
        if problems:
            raise Impossible(problems)

    def is_slow(self, took_ms: float) -> bool:
        return self.latency_ms is not None and took_ms > self.latency_ms

    def burn(self, *, is_error: bool, is_slow: bool) -> float:
        """What one request uses up, of which the mean is the burn rate: by the objective that it misses most."""
        by_error = 100 / (100 - self.availability) if is_error and self.availability is not None else 0.0
        return max(by_error, 100 / (100 - self.latency_share) if is_slow else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Who pinned a function's traffic, when and why; until when, and in which mode it goes on then."""

    by: str
    at: datetime
    reason: str = ""
    until: datetime | None = None
    then: Mode = Mode.ROUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's row for one function: hard constraints, then tiers, then what scores best.

    `allowed_*`, `denied_*` and `residency` are hard and fail closed. `max_*` are hard and fail open: a prediction is no
    reason to refuse a request, so they exclude nobody when nobody would be left. They hold in mode route.

    `exploration` bounds what trying candidates other than the best scored is expected to cost: a share of the best
    one's loss (its latency, under weights that only care for that), per request and on average.
    """

    version: int
    weights: Annotated[Weights, Means("what counts how much; only proportions matter")] = field(default_factory=Weights)
    scoring: Annotated[
        Scoring, Means("`relative` (shares of the best candidate) or `reciprocal` (the brief's formula)")
    ] = Scoring.RELATIVE
    objective: Annotated[
        Objective,
        Means(
            "`weighted` (the best by the weights), or `cheapest_within`: the cheapest predicted to keep "
            "`latency_objective_ms` in 95 of 100 calls; when none does, the one with the lowest p95"
        ),
    ] = Objective.WEIGHTED
    latency_objective_ms: Annotated[
        float | None, Within(0, above=True), Means("the p95 that `cheapest_within` asks for")
    ] = None
    allowed_providers: Annotated[frozenset[Provider], ALLOW] = frozenset()
    denied_providers: Annotated[frozenset[Provider], DENY] = frozenset()
    allowed_regions: Annotated[frozenset[Region], ALLOW] = frozenset()
    denied_regions: Annotated[frozenset[Region], DENY] = frozenset()
    residency: Annotated[frozenset[Region], Means("the only regions that data may enter", unset="any")] = frozenset()
    max_p95_ms: Annotated[
        float | None, Within(0, above=True), Means("whoever is predicted slower (p95) is excluded")
    ] = None
    max_cost_usd: Annotated[
        float | None,
        Within(0, above=True),
        Means("whoever is predicted dearer, in USD per request by the tariffs, or has no price, is excluded"),
    ] = None
    tiers: Annotated[
        tuple[frozenset[EndpointId], ...],
        AtMost(10),
        Means(
            "lists of endpoints, the first tier first; those not named are the last. A later tier is called only when "
            "no endpoint of an earlier one is available (its circuit breaker is open), or for failover"
        ),
    ] = ()
    strategies: Annotated[
        tuple[Strategy, ...], AtMost(20), Means("presets by name, or conditions and a factor; see below")
    ] = ()
    mode: Annotated[Mode, Means("`route`; `observe`: decide, record, call `home`; `pin:<endpoint>`: call that one")] = (
        Mode.ROUTE
    )
    home: Annotated[EndpointId | None, Means("the endpoint that stands for life without FISO")] = None
    pinned: EndpointId | None = None
    pin: Pin | None = None
    idempotent: Annotated[
        Idempotent,
        Means(
            "may a request that may have run be run again: `no`, `yes`, `deduplicates_on_key` (the function "
            "deduplicates, and a key is there). It also lets FISO hedge, and one retry with a key take over from an "
            "orchestrator that died"
        ),
    ] = Idempotent.NO
    on_key_store_loss: Annotated[
        OnKeyStoreLoss,
        Means(
            "what a request with an idempotency key gets while the key table does not answer: `refuse` (503), "
            "`run_once_unkeyed` (it runs, and is told that no key protects it), or `second_store` (keys are always "
            "held in three regions' tables, of which one may be away); see [disaster](disaster.md)"
        ),
    ] = OnKeyStoreLoss.REFUSE
    timeout_ms: Annotated[int, Within(100, 28_000), Means("the time for all attempts")] = 28_000
    max_attempts: Annotated[int, Within(1, 5), Means("how many calls one request may come to")] = 3
    exploration: Annotated[
        float,
        Within(0, 0.5),
        Means(
            "what trying others than the best may cost, after two calls of the best that are free: at most this share "
            "of the best one's expected loss, and of the requests (docs/routing.md)"
        ),
    ] = 0.05
    hedging: Annotated[
        float,
        Within(0, 0.2),
        Means(
            "the largest share of requests for which a second copy is begun beside a slow first one; only where "
            "`idempotent` allows repetition"
        ),
    ] = 0.05
    control_share: Annotated[
        float,
        Within(0, 0.5),
        Means("the share of blocks of time that go to `home` whole, to measure what routing saves"),
    ] = 0.0
    control_block_s: Annotated[
        int,
        Within(60, LARGEST_CONTROL_BLOCK_S),
        Means("how long a block is; longer than clouds keep an idle copy warm (20 minutes)"),
    ] = 3_600
    latency_measure: Annotated[
        LatencyMeasure,
        Means("which latency copies are compared by: `mean`, long answers whole, or `p95`, what 95 of 100 keep within"),
    ] = LatencyMeasure.MEAN
    cost_source: Annotated[CostSource, Means("what prices a decision: `tariff` or `model`")] = CostSource.TARIFF
    fail_over_on: Annotated[
        frozenset[FailOverOn],
        Means(
            "after what another copy is tried: `not_run` (it cannot have run) and, only for what may be repeated, "
            "`lost` (it may have run, and no whole answer came), `copy` (an error that this copy alone shows) and "
            "`server_error` (any 5xx of the function itself)",
            unset="not_run, lost, copy",
        ),
    ] = frozenset({FailOverOn.NOT_RUN, FailOverOn.LOST, FailOverOn.COPY})
    give_up_after_ms: Annotated[
        int | None,
        Within(100, 28_000),
        Means("when a request is given up that no copy has answered, if sooner than `timeout_ms`"),
    ] = None
    repeats_safe_methods: Annotated[
        bool, Means("GET, HEAD and OPTIONS may be run again whatever `idempotent` says (RFC 9110, 9.2.1)")
    ] = True
    wishes: Annotated[
        frozenset[Wish],
        Means(
            "what a caller may wish for one request: `max_cost`, `prefer`, `exclude` (docs/steering.md); any other "
            "wish is refused",
            unset="max_cost, prefer, exclude",
        ),
    ] = frozenset(Wish)
    shadow: Annotated[
        Shadow,
        Means(
            "the `share` of repeatable requests that a sibling answers as well, to be compared: at most `per_minute` "
            "calls per execution environment, waited for at most `wait_ms`; `ignore` (JSON pointers) and "
            "`ignore_headers` may differ; `quarantine: true` excludes a copy that differs from the majority beyond "
            "chance; see equivalence.md",
            unset="nothing is shadowed",
        ),
    ] = Shadow()
    request_headers: Annotated[
        frozenset[Annotated[str, HEADER]],
        AtMost(100),
        Means(
            "of a request's headers, only these reach the function, beside those that describe its body", unset="all"
        ),
    ] = frozenset()
    answer_headers: Annotated[
        frozenset[Annotated[str, HEADER]],
        AtMost(100),
        Means("of an answer's headers, only these reach the caller, beside those that describe its body", unset="all"),
    ] = frozenset()
    cors: Annotated[
        Cors | None,
        Means("which pages of other origins may call the function from a browser; see [HTTP](http.md)", unset="none"),
    ] = None
    expose_errors: Annotated[
        bool, Means("what a Lambda raises reaches the caller with its type and message; else a plain 500 does")
    ] = False
    affinity: Annotated[
        Affinity | None,
        Means(
            "keep a session on one copy while that is well: by the value of a `header`, or by a `cookie` that FISO "
            "sets for `life_s` seconds (3600)"
        ),
    ] = None
    canary: Annotated[
        Canary | None,
        Means(
            "try a new copy, `endpoint`, on a growing share of requests (`shares`, each for `step_minutes` and "
            "`step_requests`), and stop when it does worse beyond chance; `release` names what is tried"
        ),
    ] = None
    objectives: Annotated[
        Objectives | None,
        Means(
            "what callers are promised, for alarms on how fast it is used up: `availability: 99.9` of 100 requests "
            "without an error, `latency_share: 99` of 100 within `latency_ms`; see [observability](observability.md)"
        ),
    ] = None

    sandbox: Annotated[
        bool,
        Means(
            "a browser shows the function's pages in an origin of their own, apart from the console's; see "
            "[HTTP](http.md)"
        ),
    ] = True
    leases: Annotated[
        bool,
        Means(
            "clients may call the copies themselves, by a lease, which tells them where the copies are; `false` for "
            "copies that whoever knows their address may call"
        ),
    ] = True
    lease_outage_s: Annotated[
        int,
        Within(0, LONGEST_OUTAGE_S),
        Means(
            "how long a client may go on by its last lease after that is over (60 s), while FISO cannot be reached and "
            "only then; 0: not at all. A pin or a denial that it cannot hear of reaches it that much later; see "
            "[disaster](disaster.md)"
        ),
    ] = 900
    tenants: Annotated[
        frozenset[Annotated[str, AtMost(LONGEST_TENANT)]],
        AtMost(1_000),
        Means("the only tenants that may call the function; to others it is one that there is not", unset="all"),
    ] = frozenset()

    def __post_init__(self) -> None:
        problems = [*violations(self), *self._contradictions()]
        if problems:
            raise Impossible(problems)

    @property
    def latency_weight(self) -> float:
        """What latency weighs against cost where an answer is charged for both; half where the policy weighs neither,
        or minimises one within a limit on the other."""
        both = self.weights.latency + self.weights.cost
        if self.objective is not Objective.WEIGHTED or not both:
            return 0.5
        return round(self.weights.latency / both, 4)

    def admits(self, tenant: str) -> bool:
        """Whether a tenant may call the function, and know that there is one."""
        return not self.tenants or tenant in self.tenants

    def lets_repeat(self, idempotency_key: str | None, *, is_safe: bool = False) -> bool:
        """Whether a request that may have run can be run again: declared so, of a method that changes nothing, or
        deduplicated on a key that is there."""
        if self.idempotent is Idempotent.YES or (is_safe and self.repeats_safe_methods):
            return True
        return self.idempotent is Idempotent.DEDUPLICATES_ON_KEY and idempotency_key is not None

    def at(self, now: datetime) -> Self:
        """The policy as it is in force then: a pin whose time is over is lifted."""
        if self.pin is None or self.pin.until is None or now < self.pin.until:
            return self
        return self.unpinned(self.pin.then)

    @property
    def mode_word(self) -> str:
        """`route`, `observe` or `pin:<endpoint>`, as files have it."""
        return f"{self.mode}:{self.pinned}" if self.pinned else self.mode.value

    def unpinned(self, mode: Mode) -> Self:
        return replace(self, mode=mode, pinned=None, pin=None)

    def _contradictions(self) -> Iterator[tuple[Place, str]]:
        if self.mode is Mode.PIN and self.pinned is None:
            yield ("mode",), "pin needs the endpoint to pin"
        if self.pin is not None and (self.mode is not Mode.PIN or self.pin.then is Mode.PIN):
            yield ("pin",), "says who pinned in mode pin, and which other mode comes then"
        observes = Mode.OBSERVE in (self.mode, self.pin.then if self.pin else None)
        if observes and self.home is None:
            yield ("home",), "is missing: mode observe calls it"
        if self.control_share and self.home is None:
            yield ("home",), "is missing: control_share sends its blocks there"
        if self.objective is Objective.CHEAPEST_WITHIN and self.latency_objective_ms is None:
            yield ("latency_objective_ms",), "is missing: objective cheapest_within needs it"
        yield from self._named_twice()

    def _named_twice(self) -> Iterator[tuple[Place, str]]:
        taken: set[EndpointId] = set()
        for number, tier in enumerate(self.tiers):
            if not tier:
                yield ("tiers", number), "must not be empty"
            for endpoint in sorted(tier & taken):
                yield ("tiers", number), f"{endpoint!r} already stands in a tier"
            taken |= tier
        names = [strategy.name for strategy in self.strategies]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("strategies", index), f"{name!r} is already there"
