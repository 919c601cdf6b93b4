"""Lines: one finished record as one line with its why, for `fiso tail`. Pure."""

from fiso.domain.decision import Reason
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord
from fiso_cli.traffic.terminal import UNKNOWN, ms, usd

WIDTHS = ("<12", "<14", "<22", "<8", ">4", ">7", ">9", ">8")


def row(*cells: object) -> str:
    """Cells in columns that hold still while lines come one by one; what follows the last width is free text."""
    padded = [f"{cell!s:{width}}" for cell, width in zip(cells, WIDTHS, strict=False)]
    return "  ".join([*padded, *map(str, cells[len(WIDTHS) :])])


HEADER = row("time UTC", "function", "provider/region", "reason", "code", "ms", "predicted", "USD", "why")


def line_of(record: InvocationRecord) -> str:
    """Time, function, place, reason, status, latency against its prediction, cost, and why it went there."""
    return row(
        f"{record.timestamp:%H:%M:%S}.{record.timestamp.microsecond // 1000:03d}",
        record.request.function_name,
        f"{record.result.cloud_provider}/{record.result.region}" if record.result.cloud_provider else UNKNOWN,
        record.decision.reason or UNKNOWN,
        record.result.response_status,
        ms(record.result.execution_time_ms),
        ms(predicted_ms(record)),
        usd(record.result.cost_usd),
        why(record),
    )


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
