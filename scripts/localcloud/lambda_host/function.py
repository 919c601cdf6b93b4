"""A deployed function as the control plane tells it, and one invocation of it: values. Standard library only."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

LATEST = "$LATEST"
_REFERENCE = re.compile(
    r"(?:arn:aws[\w-]*:lambda:[\w-]+:)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)


class UnusableReferenceError(Exception):
    """The text names no function: neither a name, nor a partial, nor a full ARN."""


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """Which function and which of its versions a caller means."""

    name: str
    qualifier: str = LATEST

    @classmethod
    def parse(cls, text: str, qualifier: str | None = None) -> Self:
        """Read a name, `account:function:name` or a full ARN, each with an optional `:qualifier`."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise UnusableReferenceError(text)
        return cls(match["name"], qualifier or match["qualifier"] or LATEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One function's configuration at one moment. `revision` differs whenever an environment has to be replaced."""

    name: str
    arn: str
    version: str
    revision: str
    runtime: str
    handler: str
    timeout_s: int
    memory_mb: int
    ephemeral_mb: int
    variables: Mapping[str, str]
    layer_arns: Sequence[str]
    code_sha256: str
    code_location: str
    log_group: str
    log_format: str
    log_level: str | None
    reserved_concurrency: int | None

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A deployment's unpacked files: what becomes `/var/task`, and its merged layers, which become `/opt`."""

    code: Path
    layers: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableFunction:
    """A deployment together with its files: all that a new execution environment needs."""

    deployment: Deployment
    package: Package


def deployment_of(answer: Mapping[str, object]) -> Deployment:
    """Translate a `GetFunction` answer."""
    configuration = _mapping(answer["Configuration"])
    name = str(configuration["FunctionName"])
    logging_config = _mapping(configuration.get("LoggingConfig"))
    concurrency = _mapping(answer.get("Concurrency")).get("ReservedConcurrentExecutions")
    level = logging_config.get("ApplicationLogLevel")
    return Deployment(
        name=name,
        arn=str(configuration["FunctionArn"]),
        version=str(configuration.get("Version", LATEST)),
        revision=_revision(configuration),
        runtime=str(configuration.get("Runtime", "")),
        handler=str(configuration.get("Handler", "")),
        timeout_s=_whole(configuration.get("Timeout"), default=3),
        memory_mb=_whole(configuration.get("MemorySize"), default=128),
        ephemeral_mb=_whole(_mapping(configuration.get("EphemeralStorage")).get("Size"), default=512),
        variables={k: str(v) for k, v in _mapping(_mapping(configuration.get("Environment")).get("Variables")).items()},
        layer_arns=tuple(str(_mapping(layer)["Arn"]) for layer in _sequence(configuration.get("Layers"))),
        code_sha256=str(configuration["CodeSha256"]),
        code_location=str(_mapping(answer.get("Code")).get("Location", "")),
        log_group=str(logging_config.get("LogGroup") or f"/aws/lambda/{name}"),
        log_format=str(logging_config.get("LogFormat") or "Text"),
        log_level=str(level) if level else None,
        reserved_concurrency=concurrency if isinstance(concurrency, int) else None,
    )


def _revision(configuration: Mapping[str, object]) -> str:
    """Every change of code or configuration changes at least one of these."""
    return "|".join(str(configuration.get(k, "")) for k in ("CodeSha256", "RevisionId", "LastModified", "Version"))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _whole(value: object, *, default: int) -> int:
    return value if isinstance(value, int) else default


def new_request_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a caller wants done: the payload is valid JSON, already checked."""

    payload: bytes
    request_id: str = field(default_factory=new_request_id)
    invoked_arn: str | None = None
    trace_id: str | None = None
    client_context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationResult:
    """The function's answer, or its error under `error` (`Unhandled`), with the end of its log (at most 4 KB)."""

    request_id: str
    payload: bytes
    version: str
    log_tail: bytes
    error: str | None = None


class ThrottledError(Exception):
    """No execution environment may be used now. `reason` is the word AWS uses in its 429."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


FUNCTION_LIMIT = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_LIMIT = "ConcurrentInvocationLimitExceeded"
