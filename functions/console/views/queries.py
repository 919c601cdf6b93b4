"""Queries: what a browser or program may ask, parsed and bounded. Anything else is a `MalformedRequest`.

An empty value counts as absent, since that is how a form sends a field that was left alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from werkzeug.datastructures import MultiDict

from fiso.codecs.record import instant, parse_instant
from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName, Provider
from fiso.domain.errors import MalformedRequest, UnknownPath
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
EARLIEST_YEAR = 2000
DEFAULT_SPAN = "1h"
LONGEST_SPAN = timedelta(days=7)
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

Arguments = MultiDict[str, str]
Choice = TypeVar("Choice", bound=StrEnum)


class Ending(StrEnum):
    """How an invocation ended, as the list is filtered."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"


class CalledProvider(StrEnum):
    """The provider that ended an invocation, or none when nothing was called."""

    AWS = Provider.AWS.value
    AZURE = Provider.AZURE.value
    GCP = Provider.GCP.value
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationFilter:
    """Which invocations to show. None means any. `before` is an instant, exclusive, to the millisecond."""

    function: FunctionName | None = None
    provider: CalledProvider | None = None
    status: Ending | None = None
    reason: Reason | None = None
    before: str | None = None

    @classmethod
    def parse(cls, arguments: Arguments) -> "InvocationFilter":
        """From a query string."""
        before = moment(arguments, "before")
        return cls(
            function=function(arguments),
            provider=_choice(arguments, "provider", CalledProvider),
            status=_choice(arguments, "status", Ending),
            reason=_choice(arguments, "reason", Reason),
            before=instant(before) if before else None,
        )

    def admits(self, record: InvocationRecord) -> bool:
        """Whether a record is to be shown."""
        return (
            self.function in (None, record.request.function_name)
            and self.provider in (None, record.result.cloud_provider or CalledProvider.NONE)
            and self.status in (None, ending_of(record))
            and self.reason in (None, record.decision.reason)
            and (self.before is None or instant(record.timestamp) < self.before)
        )

    def arguments(self) -> Mapping[str, str]:
        """The same filter as a query string would give it, `before` left out."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "before"}
        return {name: str(value) for name, value in chosen.items() if value is not None}


def ending_of(record: InvocationRecord) -> Ending:
    """How an invocation ended."""
    if record.status is RecordStatus.UNKNOWN:
        return Ending.UNKNOWN
    return Ending.ERROR if record.result.error_occurred else Ending.OK


def invocation_id(text: str) -> InvocationId:
    """An id from a path; nothing can stand under one that is not formed like an id."""
    if not NAME.fullmatch(text):
        raise UnknownPath("no invocation has an id like that")
    return InvocationId(text)


def function(arguments: Arguments) -> FunctionName | None:
    """The function asked for, if any. It need not be in the catalog: its records outlive it."""
    text = _one(arguments, "function")
    if text is None:
        return None
    if not NAME.fullmatch(text):
        raise MalformedRequest("function must be a name of letters, digits, '.', '_', ':' and '-'")
    return FunctionName(text)


def limit(arguments: Arguments) -> int:
    """How many records, 1..200; 50 when not said."""
    text = _one(arguments, "limit")
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise MalformedRequest(f"limit must be a whole number within 1..{LARGEST_LIMIT}")
    return int(text)


def moment(arguments: Arguments, name: str) -> datetime | None:
    """An instant in ISO 8601 with its time zone, as UTC."""
    text = _one(arguments, name)
    if text is None:
        return None
    try:
        parsed = parse_instant(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedRequest(
            f"{name} must be an ISO 8601 instant with a time zone, as 2025-01-31T12:00:00Z"
        ) from error
    if parsed.year < EARLIEST_YEAR:
        raise MalformedRequest(f"{name} must not lie before the year {EARLIEST_YEAR}")
    return parsed


def span(arguments: Arguments) -> timedelta:
    """How far back, as in 30m, 1h or 7d, at most a week; an hour when not said."""
    found = _SPAN.fullmatch(_one(arguments, "since") or DEFAULT_SPAN)
    length = int(found[1]) * _UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < length <= LONGEST_SPAN:
        raise MalformedRequest("since must be minutes, hours or days, at most 7d, as in 30m or 1h")
    return length


def _choice(arguments: Arguments, name: str, choices: type[Choice]) -> Choice | None:
    text = _one(arguments, name)
    if text is None:
        return None
    try:
        return choices(text)
    except ValueError as error:
        raise MalformedRequest(f"{name} must be one of {', '.join(choices)}") from error


def _one(arguments: Arguments, name: str) -> str | None:
    values = arguments.getlist(name)
    if len(values) > 1:
        raise MalformedRequest(f"{name} is given {len(values)} times")
    return values[0].strip() or None if values else None
