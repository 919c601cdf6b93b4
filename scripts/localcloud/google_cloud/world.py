"""World: what there is in the local Google cloud, what goes wrong there on purpose, and how time passes.

Time is counted in requests: an operation is done that many requests after it began, whoever sends them, so that a test
needs no clock.
"""

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from localcloud.managed_postgres import Servers

Document: TypeAlias = dict[str, Any]
Finish: TypeAlias = Callable[[], Document]


class Refused(Exception):
    """An error in Google's form. `details` are google.rpc messages, `headers` go with it."""

    def __init__(
        self,
        code: int,
        status: str,
        message: str,
        details: list[Document] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message
        self.details, self.headers = details or [], dict(headers or {})

    @property
    def document(self) -> Document:
        if not self.status.isupper():  # storage has its own form, in which the reason tells
            reason = {"domain": "global", "reason": self.status, "message": self.message}
            return {"error": {"code": self.code, "message": self.message, "errors": [reason]}}
        error: Document = {"code": self.code, "message": self.message, "status": self.status}
        return {"error": {**error, "details": self.details} if self.details else error}


def not_found(what: str) -> Refused:
    return Refused(404, "NOT_FOUND", f"Resource '{what}' was not found")


def exists(what: str) -> Refused:
    return Refused(409, "ALREADY_EXISTS", f"Resource '{what}' already exists.")


def error_info(reason: str, domain: str = "googleapis.com", **metadata: str) -> Document:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata,
    }


def throttled(seconds: int = 1) -> Refused:
    details = [
        error_info("RATE_LIMIT_EXCEEDED", quota_metric="run.googleapis.com/write_requests"),
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"},
    ]
    return Refused(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Write requests'", details)


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong at a method: `refused` in its place; `after` it was carried out all the same; the connection
    `dropped`; an operation that `hangs` or ends as `failed`. It happens `times` times, from the `skip`th call on."""

    method: str
    refused: Refused | None = None
    after: bool = False
    dropped: bool = False
    hangs: bool = False
    failed: Document | None = None
    times: int = 1
    skip: int = 0


@dataclass(slots=True, kw_only=True)
class Operation:
    """A long-running operation. `due` is the count of requests at which it is done; None: never."""

    name: str
    due: int | None
    finish: Finish
    metadata: Document | None = None
    failed: Document | None = None
    result: Document | None = None

    def document(self) -> Document:
        shown: Document = {"name": self.name, "done": self.result is not None}
        if self.metadata:
            shown["metadata"] = self.metadata
        return {**shown, **(self.result or {})}


@dataclass(kw_only=True)
class World:
    """One Google cloud. `things` are all resources by API and full name, as their documents."""

    projects: dict[str, str] = field(default_factory=lambda: {"fiso-local": "123456789012"})
    folder: Path
    things: dict[str, Document] = field(default_factory=dict)
    policies: dict[str, Document] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    enabled: dict[str, set[str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    lag: int = 0
    """For how many requests a thing that was just made is not yet seen (IAM is eventually consistent)."""
    takes: int = 1
    """How many requests an operation takes."""
    page: int = 50
    """The most that one page of a list holds."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    databases: Servers = field(default_factory=Servers)
    serving: dict[str, Any] = field(default_factory=dict)
    """Containers of deployed models, by the id of the deployment."""
    requests: int = 0
    aws_url: str = ""
    """Where AWS is, which a federated caller's signed request is sent on to."""
    bearers: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)
    """Federated access tokens: the principals that each stands for, and until when."""
    clock: Callable[[], float] = time.time
    lives_s: int = 3600
    """How long tokens live."""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    made_at: dict[str, int] = field(default_factory=dict)
    enabled_at: int = 0
    series: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str, Document]] = field(default_factory=dict)
    """Log entries by bucket."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    removed: Callable[[str], None] = field(default=lambda name: None)
    started: Callable[[str, Document], str] = field(default=lambda name, service: f"https://{name}.run.local")

    def tick(self) -> None:
        """One more request: what is due is done."""
        self.requests += 1
        for operation in [*self.operations.values()]:
            if operation.result is None and operation.due is not None and self.requests >= operation.due:
                self._finish(operation)

    def _finish(self, operation: Operation) -> None:
        try:
            if operation.failed is not None:
                operation.result = {"error": operation.failed}
                return
            operation.result = {"response": operation.finish()}
        except Refused as refused:
            codes = {400: 3, 403: 7, 404: 5, 409: 6, 429: 8}
            status: Document = {"code": codes.get(refused.code, 13), "message": refused.message}
            operation.result = {"error": {**status, "details": refused.details} if refused.details else status}

    def fault(self, method: str) -> Fault | None:
        """The fault that strikes this call, used up by it."""
        for fault in self.faults:
            if fault.method not in (method, "*"):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times:
                fault.times -= 1
                return fault
        return None

    def operate(self, parent: str, finish: Finish, fault: Fault | None, metadata: Document | None = None) -> Document:
        """Begin an operation; its document."""
        hangs = fault is not None and fault.hangs
        operation = Operation(
            name=f"{parent}/operations/{next(self.numbers):08x}".lstrip("/"),
            due=None if hangs else self.requests + self.takes,
            finish=finish,
            metadata=metadata,
            failed=fault.failed if fault else None,
        )
        self.operations[operation.name] = operation
        return operation.document()

    def put(self, name: str, document: Document) -> Document:
        """Make or replace a thing, with a new etag."""
        self.made_at.setdefault(name, self.requests)
        self.things[name] = {**document, "etag": self.etag(document)}
        return self.things[name]

    def drop(self, name: str) -> None:
        """Remove a thing and its policy."""
        self.things.pop(name, None)
        self.policies.pop(name, None)
        self.made_at.pop(name, None)
        self.removed(name)

    def get(self, name: str) -> Document:
        """A thing; 404."""
        if name not in self.things:
            raise not_found(name.partition("/")[2])
        return self.things[name]

    def is_seen(self, name: str) -> bool:
        """Whether other parts of the cloud know of it by now."""
        return name in self.things and self.requests >= self.made_at[name] + self.lag

    def etag(self, document: Document) -> str:
        """Differs each time."""
        return hashlib.sha256(f"{next(self.numbers)}{json.dumps(document, sort_keys=True)}".encode()).hexdigest()[:12]

    def listed(self, names: list[str], query: Mapping[str, str], key: str, size: str = "pageSize") -> Document:
        """One page of things, with a token for the next."""
        start, most = int(query.get("pageToken") or 0), min(int(query.get(size) or self.page), self.page)
        shown: Document = {key: [self.things[name] for name in names[start : start + most]]}
        return {**shown, "nextPageToken": str(start + most)} if start + most < len(names) else shown
