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
from fiso.domain.record import InvocationRecord, RecordStatus, Trouble
from fiso.domain.request import InvocationId, TenantId
from fiso_client.core.failures import Fault

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
DEFAULT_LIMIT = 50
LONGEST_TENANT = 256
LARGEST_LIMIT = 200
EARLIEST_YEAR = 2000
DEFAULT_SPAN = "1h"
LONGEST_SPAN = timedelta(days=7)
LONGEST_HISTORY = timedelta(days=90)
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
    verdict: Fault | None = None
    code: int | None = None
    tenant: TenantId | None = None
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
            verdict=_choice(arguments, "verdict", Fault),
            code=_code(arguments),
            tenant=_tenant(arguments),
            before=instant(before) if before else None,
        )

    def admits(self, record: InvocationRecord) -> bool:
        """Whether a record is to be shown."""
        return (
            self.function in (None, record.request.function_name)
            and self.provider in (None, record.result.cloud_provider or CalledProvider.NONE)
            and self.status in (None, ending_of(record))
            and self.reason in (None, record.decision.reason)
            and (self.verdict is None or any(attempt.verdict is self.verdict for attempt in record.attempts))
            and self.code in (None, record.result.response_status)
            and self.tenant in (None, record.request.tenant)
            and (self.before is None or instant(record.timestamp) < self.before)
        )

    @property
    def is_of_trouble(self) -> bool:
        """Whether nothing that went well is admitted: then the list of what went wrong is looked through alone."""
        is_bad = self.code is not None and not 200 <= self.code < 400
        return self.status in (Ending.ERROR, Ending.UNKNOWN) or self.verdict is not None or is_bad

    def admits_trouble(self, trouble: Trouble) -> bool:
        """Whether a record may be admitted, by what the list says of it."""
        return (
            self.function in (None, trouble.function)
            and self.code in (None, trouble.status)
            and (self.verdict is None or self.verdict.value in trouble.verdicts)
            and (self.before is None or instant(trouble.timestamp) < self.before)
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


def span(arguments: Arguments, *, longest: timedelta = LONGEST_SPAN) -> timedelta:
    """How far back, as in 30m, 1h or 7d; an hour when not said."""
    found = _SPAN.fullmatch(_one(arguments, "since") or DEFAULT_SPAN)
    length = int(found[1]) * _UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < length <= longest:
        raise MalformedRequest(f"since must be minutes, hours or days, at most {longest.days}d, as in 30m or 1h")
    return length


def span_of(arguments: Arguments) -> str:
    """The same as it was asked for."""
    return _one(arguments, "since") or DEFAULT_SPAN


def version(arguments: Arguments, name: str) -> int | None:
    """A version of the catalog."""
    text = _one(arguments, name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise MalformedRequest(f"{name} must be a version's number")
    return int(text)


def function_name(text: str) -> FunctionName:
    """A function's name from a path."""
    if not NAME.fullmatch(text):
        raise UnknownPath("no function has a name like that")
    return FunctionName(text)


def sought(arguments: Arguments) -> InvocationId | None:
    """The invocation that is looked for by its id; spaces around a pasted one do not count."""
    text = _one(arguments, "id")
    if text is None:
        return None
    if not NAME.fullmatch(text):
        raise MalformedRequest("id must be an invocation's id, as answers carry it in x-fiso-invocation-id")
    return InvocationId(text)


def _code(arguments: Arguments) -> int | None:
    text = _one(arguments, "code")
    if text is None:
        return None
    if not re.fullmatch(r"[1-5][0-9]{2}", text, re.ASCII):
        raise MalformedRequest("code must be an HTTP status within 100..599")
    return int(text)


def _tenant(arguments: Arguments) -> TenantId | None:
    text = _one(arguments, "tenant")
    if text is None:
        return None
    if len(text) > LONGEST_TENANT or not text.isprintable():
        raise MalformedRequest(f"tenant must be a name of at most {LONGEST_TENANT} characters")
    return TenantId(text)


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
