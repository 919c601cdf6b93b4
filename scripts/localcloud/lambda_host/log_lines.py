"""The platform's own log lines and error documents, worded as Lambda words them. Pure; standard library only."""

import json
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass

TAIL_BYTES = 4096
LogWriter = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure that the platform, not the handler, reports: a timeout, a crash, an oversized answer."""

    type: str
    message: str
    status: str = "error"
    request_id: str | None = None

    def document(self) -> bytes:
        text = f"RequestId: {self.request_id} Error: {self.message}" if self.request_id else self.message
        return json.dumps({"errorType": self.type, "errorMessage": text}).encode()


def timed_out(request_id: str, timeout_s: int) -> Fault:
    message = f"Task timed out after {timeout_s:.2f} seconds"
    return Fault(type="Sandbox.Timedout", message=message, status="timeout", request_id=request_id)


def exited(request_id: str, exit_status: int) -> Fault:
    """`exit_status` as a process reports it: negative, or above 128, for a signal."""
    return Fault(type="Runtime.ExitError", message=_exit_message(exit_status), request_id=request_id)


def answer_too_large(limit_bytes: int) -> Fault:
    message = f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
    return Fault(type="Function.ResponseSizeTooLarge", message=message)


def _exit_message(exit_status: int) -> str:
    if exit_status == 0:
        return "Runtime exited without providing a reason"
    number = -exit_status if exit_status < 0 else exit_status - 128
    if number in set(signal.Signals):
        return f"Runtime exited with error: signal: {(signal.strsignal(number) or str(number)).lower()}"
    return f"Runtime exited with error: exit status {exit_status}"


def init_start(runtime: str) -> str:
    return f"INIT_START Runtime Version: {runtime.replace('python', 'python:')}"


def init_report(init_ms: float, *, phase: str, status: str, error_type: str | None = None) -> str:
    line = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\tStatus: {status}"
    return f"{line}\tError Type: {error_type}" if error_type else line


def start(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}"


def end(request_id: str) -> str:
    return f"END RequestId: {request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one invocation used. `init_ms` only for the first one of an environment; unknown memory stays None."""

    duration_ms: float
    memory_mb: int
    max_memory_used_mb: int | None
    init_ms: float | None = None

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, rounded up. Since August 2025 AWS bills the init phase as well."""
        return math.ceil(self.duration_ms + (self.init_ms or 0.0))


def report(request_id: str, usage: Usage, fault: Fault | None = None) -> str:
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {usage.duration_ms:.2f} ms",
        f"Billed Duration: {usage.billed_ms} ms",
        f"Memory Size: {usage.memory_mb} MB",
    ]
    if usage.max_memory_used_mb is not None:
        fields.append(f"Max Memory Used: {usage.max_memory_used_mb} MB")
    if usage.init_ms is not None:
        fields.append(f"Init Duration: {usage.init_ms:.2f} ms")
    if fault is not None:
        fields.append(f"Status: {fault.status}")
        if fault.status == "error":
            fields.append(f"Error Type: {fault.type}")
    return "\t".join(fields) + "\t"


class LogTail:
    """The last 4 KB that one invocation logged."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, line: str) -> None:
        self._bytes += line.encode(errors="replace") + b"\n"
        if len(self._bytes) > 4 * TAIL_BYTES:
            del self._bytes[:-TAIL_BYTES]

    def content(self) -> bytes:
        return bytes(self._bytes[-TAIL_BYTES:])
