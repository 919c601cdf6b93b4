"""Event source mappings: the settings under which a stream is delivered, as the Lambda control plane tells them.

Pure. What the pump cannot follow is refused with one line: delivering otherwise would not be what AWS does. Of filter
patterns it knows exact values, `exists`, `prefix` and `anything-but`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from localcloud.stream_pump.rules import DeliveryPolicy

OPERATORS = frozenset({"exists", "prefix", "anything-but"})


class PatternError(ValueError):
    """A filter pattern that this pump does not follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One parsed pattern: objects nest as in the record, leaves are lists of alternatives."""

    fields: Mapping[str, object]

    def matches(self, record: Mapping[str, object]) -> bool:
        return _matches_object(self.fields, record)


def parse_pattern(text: str) -> Pattern:
    """A pattern from its JSON text. Raises `PatternError` with one line."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise PatternError(f"filter pattern is not JSON: {text!r}") from error
    if not isinstance(fields, dict):
        raise PatternError(f"filter pattern is not an object: {text!r}")
    _check(fields, text)
    return Pattern(fields=fields)


def _check(fields: Mapping[str, object], text: str) -> None:
    for name, value in fields.items():
        if isinstance(value, dict):
            _check(value, text)
        elif not isinstance(value, list) or not value or name.startswith("$"):
            raise PatternError(f"filter pattern: {name!r} must be a list of values in {text!r}")
        else:
            unknown = {str(key) for item in value if isinstance(item, dict) for key in item} - OPERATORS
            if unknown:
                raise PatternError(f"filter pattern: {', '.join(sorted(unknown))} is not supported in {text!r}")


def _matches_object(fields: Mapping[str, object], record: Mapping[str, object]) -> bool:
    for name, wanted in fields.items():
        value = record.get(name)
        if isinstance(wanted, dict):
            if not _matches_object(wanted, value if isinstance(value, dict) else {}):
                return False
        elif isinstance(wanted, list) and not any(_matches_leaf(w, value, name in record) for w in wanted):
            return False
    return True


def _matches_leaf(wanted: object, value: object, is_present: bool) -> bool:
    if isinstance(wanted, dict):
        return all(_applies(operator, operand, value, is_present) for operator, operand in wanted.items())
    return is_present and type(wanted) is type(value) and wanted == value


def _applies(operator: str, operand: object, value: object, is_present: bool) -> bool:
    if operator == "exists":
        # AWS: `exists` sees leaf nodes only, an object is not one.
        return (is_present and not isinstance(value, dict)) is operand
    if operator == "anything-but":
        # AWS: a field that is not there is not "anything", it matches nothing.
        return (
            is_present
            and not isinstance(value, dict)
            and value not in (operand if isinstance(operand, list) else [operand])
        )
    return isinstance(value, str) and isinstance(operand, str) and value.startswith(operand)


FUNCTION_ARN_PART = ":function:"
S3_ARN_PREFIX = "arn:aws:s3:::"
DEFAULT_BATCH_SIZE = 100
MAX_BATCH_SIZE = 10_000
HORIZON = "TRIM_HORIZON"


class MappingError(ValueError):
    """A mapping that this pump cannot deliver as AWS would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """One stream, one function, and how the first reaches the second."""

    uuid: str
    function_arn: str
    stream_arn: str
    batch_size: int = DEFAULT_BATCH_SIZE
    batching_window_s: float = 0
    reports_item_failures: bool = False
    policy: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    patterns: tuple[Pattern, ...] = ()
    on_failure_bucket: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise MappingError(f"mapping {self.uuid}: BatchSize {self.batch_size} is not within 1..{MAX_BATCH_SIZE}")

    @property
    def function_name(self) -> str:
        return self._target.partition(":")[0]

    @property
    def qualifier(self) -> str | None:
        """The version or alias, if the mapping names one."""
        return self._target.partition(":")[2] or None

    @property
    def _target(self) -> str:
        return self.function_arn.partition(FUNCTION_ARN_PART)[2]

    def wants(self, event: Mapping[str, object]) -> bool:
        """Patterns are alternatives; without any, every record is wanted."""
        return not self.patterns or any(pattern.matches(event) for pattern in self.patterns)


def reads_a_table_stream(document: Mapping[str, object]) -> bool:
    arn = str(document.get("EventSourceArn", ""))
    return arn.startswith("arn:aws:dynamodb:") and "/stream/" in arn


def is_left_to_the_pump(document: Mapping[str, object]) -> bool:
    """Whether the control plane says that the emulator itself does not deliver this mapping.

    A mapping created disabled through CloudFormation is reported as Enabled by the emulator although it delivers
    nothing, so the pump disables what is reported enabled before it takes it: one deliverer, and a true report.
    """
    return document.get("State") in {"Disabled", "Disabling"}


def from_document(document: Mapping[str, object]) -> EventSourceMapping:
    """A mapping as `ListEventSourceMappings` describes it. Raises `MappingError` with one line."""
    uuid = str(document.get("UUID", ""))
    function_arn = str(document.get("FunctionArn", ""))
    if not uuid or FUNCTION_ARN_PART not in function_arn:
        raise MappingError(f"mapping {uuid or '?'}: UUID or FunctionArn is missing")
    if (position := document.get("StartingPosition") or HORIZON) != HORIZON:
        raise MappingError(f"mapping {uuid}: StartingPosition {position} is not served here, only {HORIZON}")
    try:
        return EventSourceMapping(
            uuid=uuid,
            function_arn=function_arn,
            stream_arn=str(document["EventSourceArn"]),
            batch_size=_number(document, "BatchSize", DEFAULT_BATCH_SIZE),
            batching_window_s=_number(document, "MaximumBatchingWindowInSeconds", 0),
            reports_item_failures="ReportBatchItemFailures" in _list(document.get("FunctionResponseTypes")),
            policy=_policy(document),
            patterns=_patterns(document),
            on_failure_bucket=_bucket(document),
        )
    except ValueError as error:
        raise MappingError(f"mapping {uuid}: {error}") from error


def _policy(document: Mapping[str, object]) -> DeliveryPolicy:
    retries = _number(document, "MaximumRetryAttempts", -1)
    age_s = _number(document, "MaximumRecordAgeInSeconds", -1)
    return DeliveryPolicy(
        bisect=document.get("BisectBatchOnFunctionError") is True,
        max_retries=retries if retries >= 0 else None,
        max_age=timedelta(seconds=age_s) if age_s >= 0 else None,
    )


def _patterns(document: Mapping[str, object]) -> tuple[Pattern, ...]:
    listed = _list(_child(document, "FilterCriteria").get("Filters"))
    return tuple(parse_pattern(str(item.get("Pattern", ""))) for item in listed if isinstance(item, dict))


def _bucket(document: Mapping[str, object]) -> str | None:
    destination = _child(_child(document, "DestinationConfig"), "OnFailure").get("Destination")
    if not destination:
        return None
    if not str(destination).startswith(S3_ARN_PREFIX):
        raise ValueError(f"OnFailure destination {destination} is not a bucket; only S3 keeps the whole record")
    return str(destination).removeprefix(S3_ARN_PREFIX)


def _number(document: Mapping[str, object], name: str, default: int) -> int:
    value = document.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{name} is not a number: {value!r}")
    return int(value)


def _child(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []
