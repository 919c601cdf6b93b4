"""A function's answer to a batch, read as an outcome of the delivery rules.

Pure. Follows the success and failure conditions that AWS documents for `ReportBatchItemFailures`.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus

from localcloud.stream_pump.rules import FAILED, NOT_INVOKED, Batch, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the Invoke API returned. `status` is None when it could not be reached."""

    status: int | None
    payload: bytes = b""
    function_error: str | None = None
    request_id: str | None = None
    executed_version: str | None = None


def outcome_of(answer: Answer, batch: Batch, *, reports_item_failures: bool) -> Outcome:
    """Only a 200 says that the function ran; throttles, refusals and a host that is away do not."""
    if answer.status != HTTPStatus.OK:
        return NOT_INVOKED
    if answer.function_error is not None:
        return FAILED
    if not reports_item_failures:
        return Outcome(resolved=len(batch.records))
    return Outcome(resolved=_lowest_failure(answer.payload, batch))


def _lowest_failure(payload: bytes, batch: Batch) -> int:
    """The index of the lowest failed record: the batch's length when none failed, 0 when the answer is not valid."""
    try:
        body = json.loads(payload) if payload.strip() else None
    except ValueError:
        return 0
    if body is None or body == {}:
        return len(batch.records)
    if not isinstance(body, dict):
        return 0
    failures = body.get("batchItemFailures")
    if failures is None or failures == []:
        return len(batch.records)
    if not isinstance(failures, list):
        return 0
    index = {record.sequence_number: i for i, record in enumerate(batch.records)}
    identifiers = [f.get("itemIdentifier") if isinstance(f, dict) else None for f in failures]
    return min(index.get(i, 0) if isinstance(i, str) else 0 for i in identifiers)
