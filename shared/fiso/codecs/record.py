"""Records as plain documents and back: one form for the table, the archive, the spilled lines and the HTTP API.

Flat, with the brief's names, and compact where it counts: a record stays within 2 KB. What does not parse raises
`InvalidRecord`; so does what parses but cannot be (NaN, a negative time, a name that no store takes as a key): what is
read can always be folded, stored and archived, and nothing else gets into the states that decisions are made on.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from fiso.codecs.typed import USUAL, Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.decision import Exclusion, Purpose, Reason
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import (
    SHORTEST_MS,
    AttemptSummary,
    CandidateSummary,
    DecisionSummary,
    InvocationRecord,
    OpenRecord,
    RecordStatus,
    RequestSummary,
    ResultSummary,
    ShadowOutcome,
    ShadowSummary,
)
from fiso.domain.request import InvocationId
from fiso.domain.steering import CanaryDraw
from fiso.domain.trace import Traced, WrittenBefore
from fiso_client.core.failures import Failure, Fault

LARGEST = 1e15
"""No measurement, size or count here is larger, and sums of their squares stay within a float."""
LONGEST_NAME = 200
YEARS = range(2000, 2200)
_OPEN_KEYS = "invocation_id timestamp status tenant function_name deadline_at request_size_bytes".split()
_CLOSED_KEYS = (
    "invocation_id function_name request_size_bytes response_size_bytes execution_time_ms cost_usd region day_of_week "
    "hour_of_day cpu_utilization memory_utilization cold_start error_occurred user_region prediction_accuracy status "
    "tenant endpoint reason response_status billed_ms overhead_ms raw_latency_ms prediction_source policy_version "
    "snapshot_version model_version tariff_version cloud_provider lease_id timestamp features candidates exclusions "
    "attempts"
).split()
"""The order of an archived line: equal records have equal bytes, whichever version wrote them."""
_LATER_KEYS = (
    "wish",
    "is_sticky",
    "canary",
    "shadow",
    "tried_for",
    "is_unkeyed",
    "is_slow",
    "traced",
    "written_before",
    "claimed_ms",
    "kept_before_ms",
    "arm",
)
"""Of a request that was steered, shadowed, a try, too slow, traced, or run without its key; else they are not
written."""


def open_to_document(record: OpenRecord) -> Document:
    document = _CODEC.to_document(record) | {"status": RecordStatus.OPEN.value}
    return {key: document[key] for key in _OPEN_KEYS}


def to_document(record: InvocationRecord) -> Document:
    document = _CODEC.to_document(record)
    document |= {"day_of_week": record.day_of_week, "hour_of_day": record.hour_of_day}
    later = {key: value for key in _LATER_KEYS if (value := document[key]) is not None}
    return {key: document[key] for key in _CLOSED_KEYS} | later


def from_document(document: Mapping[str, Json]) -> InvocationRecord | OpenRecord:
    """What `to_document` or `open_to_document` made; unknown keys are ignored."""
    try:
        if document["status"] == RecordStatus.OPEN:
            return _CODEC.from_document(OpenRecord, document)
        return _CODEC.from_document(InvocationRecord, document)
    except (Malformed, KeyError, TypeError) as error:
        raise InvalidRecord(f"record does not parse: {error}") from error


def instant(moment: datetime) -> str:
    """An aware datetime as ISO 8601 in UTC with milliseconds; sorts as text."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def parse_instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment


def _name(value: object) -> str:
    """Text that a store takes as a key."""
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()):
        raise Malformed(f"not a name: {value!r:.80}")
    return value


def _moment(value: Json) -> datetime:
    moment = parse_instant(str(value)).astimezone(UTC)
    if moment.year not in YEARS:
        raise Malformed(f"not a time that a record can have: {value!r:.80}")
    return moment


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"must be a number, not {value!r:.80}")
    if not -LARGEST <= value <= LARGEST:  # false for NaN as well
        raise Malformed(f"not a number that a record can have: {value!r:.80}")
    return float(value)


def _amount(value: Json) -> float:
    amount = _number(value)
    if amount < 0:
        raise Malformed(f"must not be negative: {amount!r}")
    return amount


def _time(value: Json) -> float:
    time_ms = _amount(value)
    if 0 < time_ms < SHORTEST_MS:
        raise Malformed(f"not a time: {time_ms!r} ms")
    return time_ms


def _short(value: float | None) -> float | None:
    """Seven significant digits: more than any measurement here has, and half the bytes."""
    return None if value is None else float(f"{value:.7g}")


def _maybe(read: Callable[[Json], float]) -> Form:
    return Form(_short, lambda value: None if value is None else read(value))


Word = TypeVar("Word", bound=StrEnum)


def _open(words: type[Word]) -> Form:
    """A word that this code does not know is newer code's: kept as it is, equal to none of ours, and written back."""

    def read(value: Json) -> Word:
        try:
            return words(str(value))
        except ValueError as error:
            if not (isinstance(value, str) and _WORD.fullmatch(value)):
                raise Malformed(f"no {words.__name__}: {value!r:.80}") from error
        word = str.__new__(words, value)
        word._name_, word._value_ = value, value
        return word

    return Form(str, read)


_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_AMOUNT = _maybe(_amount)
_KEY = Form(str, _name)
_CODEC = Codec(
    forms={
        InvocationId: _KEY,
        EndpointId: _KEY,
        FunctionName: _KEY,
        datetime: Form(instant, _moment),
        float: Form(_short, _number),
        int: Form(int, lambda value: int(_number(value))),
        Reason: _open(Reason),
        Purpose: _open(Purpose),
        Failure: _open(Failure),
        Fault: _open(Fault),
        ShadowOutcome: _open(ShadowOutcome),
    },
    shapes={
        OpenRecord: Shape(inline=frozenset({"request"})),
        InvocationRecord: Shape(inline=frozenset({"request", "decision", "result"})),
        RequestSummary: Shape(),
        DecisionSummary: Shape(forms={"raw_latency_ms": _maybe(_time)}),
        ResultSummary: Shape(
            forms=dict.fromkeys("execution_time_ms cost_usd billed_ms overhead_ms".split(), _AMOUNT),
            required=frozenset({"response_size_bytes"}),
        ),
        AttemptSummary: Shape(
            forms={"latency_ms": Form(_short, _time), "billed_ms": _AMOUNT, "cost_usd": _AMOUNT}, omits_none=True
        ),
        ShadowSummary: Shape(forms={"cost_usd": _AMOUNT}, omits_none=True),
        CandidateSummary: Shape(is_row=True, forms={"propensity": USUAL[float]}),
        Exclusion: Shape(is_row=True),
        CanaryDraw: Shape(is_row=True),
        Traced: Shape(is_row=True),
        WrittenBefore: Shape(is_row=True),
    },
)
