"""Lines: one finished record as one line with its why, for `fiso tail`. Pure."""

from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord
from fiso_cli.rendering import UNKNOWN, Output, Table, figure, ms, text, usd


def header() -> Output:
    """The first line, for people."""
    return Output(shown=[Table(columns=COLUMNS, rows=[])])


def of_record(record: InvocationRecord) -> Output:
    """Time, function, place, reason, status, latency against its prediction, cost, and why it went there."""
    line = Table(columns=COLUMNS, rows=[record], has_header=False, style=_style)
    return Output(document=to_document(record), shown=[line])


def why(record: InvocationRecord) -> str:
    """Why this endpoint was called, in the decision's own numbers."""
    if len(record.attempts) > 1:
        return "tried " + " > ".join(_tried(attempt) for attempt in record.attempts)
    own = _own(record)
    if own is None or not record.decision.candidates:
        return _without_candidate(record)
    best = max(record.decision.candidates, key=lambda candidate: candidate.score)
    if record.decision.reason is Reason.EXPLORE:
        chance = f"{100 * own.propensity:.1f} %"
        return f"tried out at {chance}: score {own.score:.3f}, best was {best.endpoint} {best.score:.3f}"
    failed = f", failed: {_tried(record.attempts[0])}" if record.attempts and record.attempts[0].failure else ""
    return _standing(record, own) + failed


def predicted_ms(record: InvocationRecord) -> float | None:
    """What the endpoint that ended the request was expected to take."""
    own = _own(record)
    return own.latency_ms if own else None


def _own(record: InvocationRecord) -> CandidateSummary | None:
    return next((c for c in record.decision.candidates if c.endpoint == record.result.endpoint), None)


def _standing(record: InvocationRecord, own: CandidateSummary) -> str:
    others = [candidate for candidate in record.decision.candidates if candidate is not own]
    if not others:
        return f"the only candidate, score {own.score:.3f}"
    rival = max(others, key=lambda candidate: candidate.score)
    return f"score {own.score:.3f}, next {rival.endpoint} {rival.score:.3f}"


def _tried(attempt: AttemptSummary) -> str:
    return f"{attempt.endpoint} ({attempt.failure or attempt.status} in {ms(attempt.latency_ms)} ms)"


def _without_candidate(record: InvocationRecord) -> str:
    if record.decision.exclusions:
        return "nobody was eligible: " + "; ".join(f"{e.endpoint} {e.code}" for e in record.decision.exclusions)
    return "nobody was called" if record.result.endpoint is None else UNKNOWN


def _style(record: InvocationRecord) -> str:
    return "red" if record.result.error_occurred else ""


def _time(record: InvocationRecord) -> str:
    return f"{record.timestamp:%H:%M:%S}.{record.timestamp.microsecond // 1000:03d}"


def _place(record: InvocationRecord) -> str:
    return f"{record.result.cloud_provider}/{record.result.region}" if record.result.cloud_provider else UNKNOWN


COLUMNS = (
    text("time UTC", _time, width=12),
    text("function", "request.function_name", width=14),
    text("provider/region", _place, width=17),
    text("reason", "decision.reason", width=8, spare=1),
    figure("code", "result.response_status", str, width=4, spare=2),
    figure("ms", "result.execution_time_ms", ms, width=7),
    figure("predicted", predicted_ms, ms, width=9, spare=3),
    figure("USD", "result.cost_usd", usd, width=8, spare=4),
    text("why", why, width=20),
)
