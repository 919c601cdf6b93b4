"""Reported outcomes: a tenant's word of its own calls counts for its own decisions, for others' as a quorum. Pure.

As long as all requests of a function are one tenant's, its reports fold like what FISO saw: there is nobody to harm.
With several tenants the shared state is what FISO saw, and each tenant's reports stay in a row of their own. A decision
for a tenant rests on what FISO saw and on that tenant's row, and where FISO sees nothing on what a quorum of the others
says (`routing.quorum`). docs/decisions/0020-whose-word-counts.md
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from math import log, sqrt
from zlib import crc32

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState, LoadLevel, TenantAnswer, TenantReports
from fiso.routing import levels, quorum, totals
from fiso_client.core.failures import CALLERS_FAULT, Failure

MOST_TENANTS = 16
"""Rows of one endpoint: a state stays within a few KB."""
MOST_ANSWERS = 1 / levels.SLOWEST_WEIGHT
"""How many answers a mean remembers, so the most that it weighs."""
KEPT = timedelta(hours=6)
"""A row without news for so long makes room: what was seen has faded by then (`prediction.beliefs`)."""
OWN_ANSWERS = 5
"""A tenant's warm answers of a copy from which on its own mean is what counts, and others' word only outdates it."""
COMPARED = 20
"""Warm answers of both, a tenant's and FISO's own, before they are compared."""
SEEN_WITHIN = timedelta(minutes=10)
FARTHEST = log(2)
"""A client may be nearer to an endpoint than FISO is, or farther; beyond a factor 2, and chance, its word counts for
nobody else."""
_NO_RUN = CALLERS_FAULT | {Failure.NOT_NEEDED, Failure.THROTTLED}

States = Mapping[EndpointId, EndpointState]


def tenant_hash(tenant: str) -> str:
    """Eight characters that stand for a tenant in states."""
    return blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def is_alone(states: States, tenant: str) -> bool:
    """Whether nobody else's requests made any of these states of one function."""
    return all(state.only_of == tenant for state in states.values())


def attributed(before: States, after: States, tenant: str, *, is_reported: bool) -> dict[EndpointId, EndpointState]:
    """The states after a record, marked with whose they are."""
    marked = dict(after)
    for id, state in after.items():
        known = before.get(id)
        if state is not known:
            only_of = tenant if known is None or known.only_of == tenant else ""
            marked[id] = replace(state, only_of=only_of, holds_reports=state.holds_reports or is_reported)
    return marked


def handed_over(states: States, endpoints: Collection[EndpointId], *, to: str) -> States:
    """The states before a record of tenant `to`: what only another one reported becomes that one's row."""
    mixed = [id for id in endpoints if id in states and states[id].holds_reports and states[id].only_of != to]
    return {**states, **{id: _as_row(states[id]) for id in mixed}} if mixed else states


def folded(states: States, record: InvocationRecord, owner: EndpointId) -> dict[EndpointId, EndpointState]:
    """The states after a report of one of several tenants: its rows. `owner` is whose state counts the record."""
    after, source = dict(states), tenant_hash(record.request.tenant)
    for position, attempt in enumerate(record.attempts):
        id = attempt.endpoint
        state = after.get(id) or EndpointState(function=record.request.function_name, endpoint=id)
        state = _as_row(state) if state.holds_reports else state
        row = _with_attempt(_row_of(state, source), attempt)
        bucket = levels.load_bucket(record.decision.features.get("in_flight", 0.0))
        answer = TenantAnswer(tenant=source, bucket=bucket, at=attempt.started_at)
        if position == len(record.attempts) - 1 and _teaches(attempt):
            row = _with_latency(row, attempt, bucket, quorum.of(quorum.to(source, state.said), bucket))
            answer = replace(answer, latency_ms=attempt.latency_ms, cost_usd=attempt.cost_usd)
        said = quorum.with_answer(state.said, answer)
        after[id] = replace(state, reported=_with_row(state.reported, row, attempt.started_at), said=said)
    counted = after.get(owner) or EndpointState(function=record.request.function_name, endpoint=owner)
    return {**after, owner: totals.with_record(counted, record)}


def has_reports(states: States) -> bool:
    return any(state.holds_reports or state.reported or state.said for state in states.values())


def seen_by_fiso(states: States) -> States:
    """Without those that hold what was reported: what opens breakers in an environment holds for all tenants. The same
    mapping where none does."""
    if not any(state.holds_reports for state in states.values()):
        return states
    return {id: state for id, state in states.items() if not state.holds_reports}


def seen_by(states: States, tenant: str) -> States:
    """The states of a function as they count for a tenant (its hash)."""
    apart = handed_over(states, states.keys(), to=tenant)
    caught = frozenset(_caught(apart))
    told = {id: quorum.to(tenant, state.said, caught) for id, state in apart.items() if state.said}
    merged = {
        id: _merged(state, tenant, told.get(id, ())) if state.reported or state.said else state
        for id, state in apart.items()
    }
    # What FISO itself is called for it learns by itself.
    return merged if any(state.attempts for state in apart.values()) else _with_invitations(merged, told)


def _with_invitations(states: States, told: Mapping[EndpointId, quorum.Said]) -> dict[EndpointId, EndpointState]:
    """With a level of each copy that others praise and the tenant knows nothing of."""
    known_ms = [level.latency_ms for state in states.values() for level in state.levels.values() if level.warm]
    after = dict(states)
    for id in told if known_ms else ():
        invitation = quorum.invitation(told[id], min(known_ms))
        if invitation is not None and states[id].last_called_at is None and not states[id].levels:
            after[id] = replace(states[id], levels=dict([invitation]))
    return after


def _as_row(state: EndpointState) -> EndpointState:
    """A state that one tenant's reports made, as that tenant's row. Its calls are counted on, nothing else stays."""
    row = TenantReports(
        tenant=state.only_of,
        levels=state.levels,
        failed_in_row=state.consecutive_failures,
        last_at=state.last_called_at,
        last_failed_at=state.last_failed_at,
    )
    return EndpointState(
        function=state.function,
        endpoint=state.endpoint,
        version=state.version,
        folded=state.folded,
        equivalence=state.equivalence,
        canary=state.canary,
        reported=(row,),
        totals=state.totals,
    )


def _row_of(state: EndpointState, tenant: str) -> TenantReports:
    return next((row for row in state.reported if row.tenant == tenant), TenantReports(tenant=tenant))


def _with_row(rows: Sequence[TenantReports], row: TenantReports, now: datetime) -> tuple[TenantReports, ...]:
    """The rows with this one. Who has one where there is no room for all is drawn by tenant and day: reporting more
    often drives nobody out."""
    others = [other for other in rows if other.tenant != row.tenant]
    if len(others) >= MOST_TENANTS:
        others = [other for other in others if other.last_at is not None and now - other.last_at <= KEPT]
    drawn = sorted([*others, row], key=lambda one: crc32(f"{one.tenant} {now:%Y-%m-%d}".encode()))
    return tuple(sorted(drawn[:MOST_TENANTS], key=lambda one: one.tenant))


def _with_attempt(row: TenantReports, attempt: AttemptSummary) -> TenantReports:
    row = replace(row, last_at=_later(row.last_at, attempt.started_at))
    if attempt.failure is None:
        return replace(row, failed_in_row=0)
    if attempt.failure in _NO_RUN:
        return row
    failed_at = _later(row.last_failed_at, attempt.started_at)
    return replace(row, failed_in_row=row.failed_in_row + 1, last_failed_at=failed_at)


def _teaches(attempt: AttemptSummary) -> bool:
    """Whether it tells how long a good, warm answer takes."""
    is_good = attempt.failure is None and attempt.verdict is None and (attempt.status or 200) < 400
    return is_good and not attempt.cold_start and attempt.latency_ms > 0


def _with_latency(
    row: TenantReports, attempt: AttemptSummary, bucket: int, others: Sequence[TenantAnswer]
) -> TenantReports:
    level = levels.answered(row.levels.get(bucket, LoadLevel()), is_cold=False, unexplained=1.0)
    level = levels.warmed(
        level, latency_ms=attempt.latency_ms, cost_usd=attempt.cost_usd, raw_log=None, at=attempt.started_at
    )
    beside = quorum.beside(row.beside, others, attempt.latency_ms)
    return replace(row, levels={**row.levels, bucket: level}, beside=beside)


def _caught(states: States) -> Iterator[str]:
    """Tenants whose reports differ from what FISO saw of the same endpoint, at the same load and time, beyond chance.
    Their means forget, so trust comes back after about MOST_ANSWERS honest reports."""
    for state in states.values():
        for row in state.reported:
            if any(_differ(state.levels[key], level) for key, level in row.levels.items() if key in state.levels):
                yield row.tenant


def _differ(seen: LoadLevel, told: LoadLevel) -> bool:
    if min(seen.warm, told.warm) < COMPARED or seen.last_at is None or told.last_at is None:
        return False
    if abs(seen.last_at - told.last_at) > SEEN_WITHIN or _is_outdated(seen, told) or _is_outdated(told, seen):
        return False
    error = sqrt(sum(levels.variation(level) ** 2 / min(level.warm, MOST_ANSWERS) for level in (seen, told)))
    return abs(log(told.latency_ms / seen.latency_ms)) > FARTHEST + levels.LIMIT * error


def _is_outdated(level: LoadLevel, by: LoadLevel) -> bool:
    return level.last_at is not None and by.changed_at is not None and level.last_at < by.changed_at


def _merged(state: EndpointState, tenant: str, told: quorum.Said) -> EndpointState:
    own = _row_of(state, tenant)
    found: dict[int, LoadLevel] = {}
    for bucket in sorted({*state.levels, *own.levels, *(answer.bucket for answer in told)}):
        known = _levels_for(state, own, bucket, told)
        if known:
            found[bucket] = known[0] if len(known) == 1 else _together(known)
    latency_ms = state.latency_ms
    if latency_ms is None:
        latency_ms = next((level.latency_ms for level in found.values() if level.warm), None)
    merged = replace(state, levels=found, latency_ms=latency_ms)
    if own.last_at is None or (state.last_called_at is not None and state.last_called_at >= own.last_at):
        return merged
    return replace(
        merged,
        last_called_at=own.last_at,
        consecutive_failures=max(state.consecutive_failures, own.failed_in_row),
        attempts=max(state.attempts, own.failed_in_row, 1),
    )


def _levels_for(state: EndpointState, own: TenantReports, bucket: int, told: quorum.Said) -> list[LoadLevel]:
    """What FISO saw at a load, what the tenant did, and what the others say where that is too little or too old."""
    seen, mean = state.levels.get(bucket), own.levels.get(bucket)
    known = [level for level in (seen, mean) if level is not None]
    others = quorum.of(told, bucket)
    if not others or (seen is not None and _is_fresh(seen, quorum.heard_at(others))):
        return known
    if mean is None or mean.warm < OWN_ANSWERS:
        return [*known, quorum.level(others)]
    return [*known[:-1], quorum.updated(mean, others, own.beside)]


def _is_fresh(seen: LoadLevel, now: datetime) -> bool:
    """Whether FISO's own calls tell enough: nobody's word is asked for then."""
    return seen.warm >= COMPARED and seen.last_at is not None and now - seen.last_at <= SEEN_WITHIN


def _together(trusted: Sequence[LoadLevel]) -> LoadLevel:
    """Several means of one thing, each by the answers behind it; what ends before another's sudden change is out."""
    last = [level for level in trusted if not any(_is_outdated(level, other) for other in trusted)]
    warm = [level for level in last if level.warm]
    if not warm:
        return last[0]
    weights = [min(level.warm, MOST_ANSWERS) for level in warm]
    latency_ms = _mean([level.latency_ms for level in warm], weights)
    priced = [(level.cost_usd, weight) for level, weight in zip(warm, weights, strict=True) if level.cost_usd]
    return replace(
        warm[0],
        answers=sum(level.answers for level in last),
        cold_share=_mean([level.cold_share for level in last], [max(1, level.answers) for level in last]),
        warm=sum(level.warm for level in warm),
        latency_ms=latency_ms,
        latency_square=latency_ms**2 * (1 + _mean([levels.variation(level) ** 2 for level in warm], weights)),
        recent_ms=latency_ms,
        cost_usd=_mean([cost for cost, _ in priced], [weight for _, weight in priced]) if priced else None,
        raw_log=next((level.raw_log for level in warm if level.raw_log is not None), None),
        last_at=max((level.last_at for level in warm if level.last_at is not None), default=None),
        changed_at=max((level.changed_at for level in last if level.changed_at is not None), default=None),
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None or at > known else known
