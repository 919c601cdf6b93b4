"""Histories: what the calls of a function came to, read from records. Pure.

A call is bad when it ended in a verdict. It stands out when it is bad, or of a kind that a copy at fault gives and that
nobody accused yet: a redirect, or a body of another kind than the siblings' (`fiso_client.core.conduct`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import InvocationId, TenantId
from fiso_client.core.attribution import usual_fault
from fiso_client.core.conduct import SETTLED_SHAPE, SHAPE_SHARE, STANDING_OUT
from fiso_client.core.failures import GIVEN_UP, NEVER_RAN, USUAL_FAULT, Failure, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt that counts. `oddity` says what stands out about it, None for nothing; `at` is when it ended."""

    endpoint: EndpointId
    at: datetime
    latency_ms: float
    invocation_id: InvocationId
    tenant: TenantId
    status: int | None
    failure: Failure | None
    verdict: Fault | None
    evidence: str
    shape: str
    oddity: str | None
    is_cold: bool

    @property
    def is_bad(self) -> bool:
        return self.verdict is not None

    @property
    def never_ran(self) -> bool:
        return self.failure in NEVER_RAN and self.failure is not Failure.REJECTED

    @property
    def told_by_itself(self) -> Fault | None:
        """The verdict, but for a provider that another function's copy there was taken for: of that alone `diagnose`
        judges anew, over all functions. A front door's answer has a status, what a vendor says a failure of its own."""
        is_inferred = self.failure is None or (
            USUAL_FAULT.get(self.failure, Fault.COPY) is Fault.COPY and self.status is None
        )
        return Fault.COPY if self.verdict is Fault.PROVIDER and is_inferred else self.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What some calls of one copy came to. `odd` counts those that stand out, the bad ones among them; the median is
    of the others."""

    calls: int
    bad: int
    odd: int
    median_ms: float | None
    verdicts: Mapping[Fault, int]

    @property
    def odd_share(self) -> float:
        return self.odd / self.calls if self.calls else 0.0


def histories(records: Iterable[InvocationRecord]) -> dict[FunctionName, list[Call]]:
    """The calls of each function, in the order in which they ended."""
    found: defaultdict[FunctionName, list[Call]] = defaultdict(list)
    for record in records:
        calls = (_call(record, attempt) for attempt in record.attempts if attempt.failure not in GIVEN_UP)
        found[record.request.function_name].extend(calls)
    return {name: _with_odd_bodies(sorted(calls, key=lambda call: call.at)) for name, calls in found.items()}


def figures(calls: Sequence[Call]) -> Figures:
    good = [call.latency_ms for call in calls if call.oddity is None]
    return Figures(
        calls=len(calls),
        bad=sum(call.is_bad for call in calls),
        odd=sum(call.oddity is not None for call in calls),
        median_ms=median(good) if good else None,
        verdicts=Counter(call.verdict for call in calls if call.verdict is not None),
    )


def by_copy(calls: Iterable[Call], copies: Iterable[EndpointId] = ()) -> dict[EndpointId, list[Call]]:
    """Each copy's calls; those of `copies` that have none are there as well."""
    found: dict[EndpointId, list[Call]] = {copy: [] for copy in copies}
    for call in calls:
        found.setdefault(call.endpoint, []).append(call)
    return found


def _call(record: InvocationRecord, attempt: AttemptSummary) -> Call:
    verdict = attempt.verdict
    if verdict is None:  # a record of before verdicts were kept
        verdict = (
            USUAL_FAULT.get(attempt.failure, Fault.COPY) if attempt.failure else usual_fault(attempt.status or 200)
        )
    return Call(
        endpoint=attempt.endpoint,
        at=attempt.started_at + timedelta(milliseconds=attempt.latency_ms),
        latency_ms=attempt.latency_ms,
        invocation_id=record.invocation_id,
        tenant=record.request.tenant,
        status=attempt.status,
        failure=attempt.failure,
        verdict=verdict,
        evidence=attempt.evidence or "",
        shape=attempt.shape or "",
        oddity=_oddity(attempt, verdict),
        is_cold=bool(attempt.cold_start),
    )


def _oddity(attempt: AttemptSummary, verdict: Fault | None) -> str | None:
    status = attempt.status
    if attempt.failure is not None:
        return str(attempt.failure).replace("_", " ")
    if status is None:
        return None
    stands_out = status in STANDING_OUT or (300 <= status < 400 and status != 304)
    if verdict is None and not stands_out:
        return None
    # of a good status its body: the evidence begins with it, as in `empty where json is usual; …`
    if status < 300:
        return (attempt.evidence or "an answer that stands out").partition(";")[0]
    body = f" {attempt.shape}" if attempt.shape not in (None, "", "empty", "json") else ""
    return f"status {status}{body}"


def _with_odd_bodies(calls: list[Call]) -> list[Call]:
    """The same, and those stand out as well whose body is of another kind than the siblings agree on."""
    settled = {copy: _settled_shape(own) for copy, own in by_copy(calls).items()}
    seen = {(call.endpoint, call.shape) for call in calls if call.oddity is None}
    usual: dict[EndpointId, str] = {}
    for copy in settled:
        theirs = [shape for other, shape in settled.items() if other != copy and shape]
        # of two copies, only one that once answered like the other can be told to be the odd one
        if len(set(theirs)) == 1 and (len(theirs) > 1 or (copy, theirs[0]) in seen):
            usual[copy] = theirs[0]
    return [_odd_by_body(call, usual.get(call.endpoint)) for call in calls]


def _odd_by_body(call: Call, usual: str | None) -> Call:
    is_said = bool(call.shape) and call.status is not None and 200 <= call.status < 300 and call.status != 204
    is_told = call.oddity is not None and not call.oddity.startswith("status 2")
    if usual is None or is_told or not is_said or call.shape == usual:
        return call
    return replace(call, oddity=f"{call.shape} where {usual} is usual")


def _settled_shape(calls: Iterable[Call]) -> str:
    """The kind of body of nearly all good answers; empty when there is none."""
    shapes = Counter(call.shape for call in calls if call.oddity is None and call.shape)
    (shape, count), *_ = [*shapes.most_common(1), ("", 0)]
    return shape if count >= max(SETTLED_SHAPE, SHAPE_SHARE * shapes.total()) else ""
