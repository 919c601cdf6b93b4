"""Leases over HTTP: a report's JSON as items, and verdicts as an answer. Imported when the first lease is asked for."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fiso.codecs.typed import Document, Json
from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import LeaseRefused, MalformedRequest, PayloadTooLarge
from fiso.domain.lease import LeasedAttempt, LeasedOutcome
from fiso.services.leases.outcomes import Fate, Reported, Verdict
from fiso_client.core.failures import Failure
from fiso_client.core.redaction import shown

MOST_OUTCOMES = 100
MOST_ATTEMPTS = 5
LARGEST_REPORT = 1024 * 1024
"""Bytes: a hundred of the largest tokens with an outcome each take 0.9 MB. Parsed, hostile JSON takes 25 times that."""
LARGEST_REQUEST = 5 * 1024 * 1024
"""Bytes of the request that is decided for, as `/v1/invoke` takes."""
_LARGEST_WHOLE = 2**53


def request_size(headers: Mapping[str, str]) -> int | None:
    """The size that `X-Fiso-Request-Size` states, so that a client need not send a body only to have it measured."""
    text = headers.get("x-fiso-request-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 8 and int(text) <= LARGEST_REQUEST):
        raise MalformedRequest(f"x-fiso-request-size must be a whole number from 0 to {LARGEST_REQUEST}")
    return int(text)


def reported(body: bytes) -> list[Reported]:
    """The items of a report, `{"leases": [{"token": …, "outcomes": [{…}, …]}, …]}`, in its order.

    One item that does not parse is that item's problem; `MalformedRequest` when the report as a whole does not, and
    `PayloadTooLarge` for more than MOST_OUTCOMES.
    """
    if len(body) > LARGEST_REPORT:
        raise PayloadTooLarge(f"a report may have at most {LARGEST_REPORT} bytes")
    groups = _parsed(body).get("leases")
    if not isinstance(groups, list):
        raise MalformedRequest("a report is an object with a list `leases`")
    items: list[Reported] = []
    for group in groups:
        items.extend(_of_lease(group))
        if len(items) > MOST_OUTCOMES:
            raise PayloadTooLarge(f"at most {MOST_OUTCOMES} outcomes at a time")
    return items


def verdicts_document(items: Sequence[Reported], verdicts: Sequence[Verdict]) -> Document:
    """How many items met which fate, and each rejected one's problem by its position in the report, from 0."""
    fates = Counter(verdict.fate for verdict in verdicts)
    problems: list[Json] = [
        {"item": position, "number": item.number, "code": verdict.problem.code, "detail": shown(verdict.problem.detail)}
        for position, (item, verdict) in enumerate(zip(items, verdicts, strict=True))
        if verdict.problem is not None
    ]
    return {**{fate.value: fates[fate] for fate in Fate}, "problems": problems}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"))
    except RecursionError as error:
        raise MalformedRequest("the report is nested too deeply") from error
    except ValueError as error:  # also bytes that are not UTF-8
        raise MalformedRequest(f"the report is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedRequest("a report is an object with a list `leases`")
    return document


def _of_lease(group: object) -> Iterator[Reported]:
    token, outcomes = (group.get("token"), group.get("outcomes")) if isinstance(group, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(outcomes, list):
        raise MalformedRequest("each of `leases` is an object with text `token` and a list `outcomes`")
    for outcome in outcomes:
        number = outcome.get("number") if isinstance(outcome, dict) else None
        shown = number if type(number) is int and 0 <= number <= _LARGEST_WHOLE else None
        try:
            yield Reported(token=token, number=shown, outcome=_outcome(outcome))
        except (KeyError, TypeError, ValueError) as error:
            refused = LeaseRefused("malformed", f"{type(error).__name__}: {error}"[:200])
            yield Reported(token=token, number=shown, outcome=refused)


def _outcome(row: object) -> LeasedOutcome:
    if not isinstance(row, dict):
        raise TypeError("an outcome is an object")
    attempts = row["attempts"]
    if not isinstance(attempts, list) or len(attempts) > MOST_ATTEMPTS:
        raise TypeError(f"attempts is a list of at most {MOST_ATTEMPTS}")
    return LeasedOutcome(
        number=_whole(row, "number"),
        request_size_bytes=_whole(row, "request_size_bytes"),
        response_size_bytes=_whole(row, "response_size_bytes"),
        attempts=tuple(_attempt(attempt) for attempt in attempts),
        deadline_passed=_flag(row, "deadline_passed") or False,
    )


def _attempt(row: object) -> LeasedAttempt:
    if not isinstance(row, dict):
        raise TypeError("an attempt is an object")
    endpoint, failure = row["endpoint"], row.get("failure")
    if not isinstance(endpoint, str):
        raise TypeError("endpoint is text")
    return LeasedAttempt(
        endpoint=EndpointId(endpoint),
        after_ms=_number(row, "after_ms"),
        latency_ms=_number(row, "latency_ms"),
        status=None if row.get("status") is None else _whole(row, "status"),
        failure=None if failure is None else Failure(failure),
        is_function_error=_flag(row, "is_function_error") or False,
        cold_start=_flag(row, "cold_start"),
        billed_ms=_maybe_number(row, "billed_ms"),
        idle_ms=_maybe_number(row, "idle_ms"),
    )


def _whole(row: Mapping[str, object], name: str) -> int:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST_WHOLE:
        raise TypeError(f"{name} is a whole number")
    return value


def _number(row: Mapping[str, object], name: str) -> float:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number")
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        raise ValueError(f"{name} is beyond any measurement")
    return float(value)


def _maybe_number(row: Mapping[str, object], name: str) -> float | None:
    return None if row.get(name) is None else _number(row, name)


def _flag(row: Mapping[str, object], name: str) -> bool | None:
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} is true or false")
    return value
