"""Leases over HTTP: a report's JSON as items, and verdicts as an answer. Imported when the first lease is asked for."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.errors import LeaseRefused, MalformedRequest, PayloadTooLarge
from fiso.domain.lease import LeasedAttempt, LeasedOutcome
from fiso.domain.record import LONGEST_EVIDENCE
from fiso.services.leases.outcomes import Fate, Reported, Verdict
from fiso_client.core.redaction import redact

MOST_OUTCOMES = 100
MOST_ATTEMPTS = 5
LARGEST_REPORT = 1024 * 1024
"""Bytes: a hundred of the largest tokens with an outcome each take 0.9 MB. Parsed, hostile JSON takes 25 times that."""
LARGEST_REQUEST = 5 * 1024 * 1024
"""Bytes of the request that is decided for, as `/v1/invoke` takes."""
LONGEST_SHAPE = 40
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
    for item in chain.from_iterable(map(_of_lease, groups)):
        if len(items) == MOST_OUTCOMES:  # what is past it is not even looked at
            raise PayloadTooLarge(f"at most {MOST_OUTCOMES} outcomes at a time")
        items.append(item)
    return items


def verdicts_document(items: Sequence[Reported], verdicts: Sequence[Verdict]) -> Document:
    """How many items met which fate, and each rejected one's problem by its position in the report, from 0."""
    fates = Counter(verdict.fate for verdict in verdicts)
    problems: list[Json] = [
        {
            "item": position,
            "number": item.number,
            "code": verdict.problem.code,
            "detail": redact(verdict.problem.detail),
        }
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
        known = number if type(number) is int and 0 <= number <= _LARGEST_WHOLE else None
        try:
            yield Reported(token=token, number=known, outcome=_outcome(outcome))
        except Malformed as error:
            yield Reported(token=token, number=known, outcome=LeaseRefused("malformed", str(error)[:200]))


def _outcome(row: object) -> LeasedOutcome:
    outcome = _REPORTS.from_document(LeasedOutcome, row)
    if len(outcome.attempts) > MOST_ATTEMPTS:
        raise Malformed(f"at most {MOST_ATTEMPTS}", "attempts")
    return outcome


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST_WHOLE:
        raise Malformed("must be a whole number")
    return value


def _number(value: object) -> float:
    """Any number, not a finite one only: what cannot be true is told as such, in `services.leases.outcomes`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed("must be a number")
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        raise Malformed("is beyond any measurement")
    return float(value)


def _flag(value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Malformed("must be true or false")
    return value is True


def _shape(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) <= LONGEST_SHAPE and value.isprintable()):
        raise Malformed("must be a media type")
    return value


def _evidence(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Malformed("must be text")
    return redact(value, limit=LONGEST_EVIDENCE) if value else None


_FLAG = Form(bool, _flag)
_REPORTS = Codec(
    forms={int: Form(int, _whole), float: Form(float, _number)},
    shapes={
        LeasedAttempt: Shape(
            forms={"is_function_error": _FLAG, "shape": Form(str, _shape), "evidence": Form(str, _evidence)}
        ),
        LeasedOutcome: Shape(forms={"deadline_passed": _FLAG}),
    },
)
