"""Watching: send an event to the worker, and say which promises its answer breaks."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.chaos.bad_input.provider import Provider, serving

SHORT_MS = 1000
"""A caller whose own deadline is shorter may be told 504."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One event's answer. `invoked` counts the calls that reached the provider, `recorded` the records it left."""

    response: Mapping[str, Any]
    took_ms: float
    invoked: int
    recorded: int
    peak_kb: int

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.response["statusCode"])


class WorkerDied(Exception):
    """The process is gone: an input killed it."""


class Worker:
    """The watched process, as its parent sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", provider: Provider) -> None:
        self._process, self._provider = process, provider

    def send(self, event: object) -> Sent:
        """One event. `WorkerDied` when no answer came."""
        before = self._provider.hits
        told = self._ask(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return Sent(**told, invoked=self._provider.hits - before)

    def mark(self) -> int:
        """Forget the peak of memory; returns what is resident now, in kB."""
        return int(self._ask(b"")["peak_kb"])

    def _ask(self, line: bytes) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the worker has no pipes")
        try:
            stdin.write(line + b"\n")
            stdin.flush()
            told: dict[str, Any] = json.loads(stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            raise WorkerDied(f"after {line[:200]!r}") from error
        return told


@contextmanager
def working(log: Path, *, seed: int) -> Iterator[Worker]:
    """A worker and its provider while the context lasts. What it logs goes to `log`."""
    with serving() as provider, log.open("wb") as logged:
        command = [sys.executable, "-m", "tests.lab.chaos.bad_input.worker", provider.url, str(seed)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=logged)
        try:
            yield Worker(process, provider)
        finally:
            process.kill()
            process.communicate()  # closes the pipes and waits, also for a process that died by itself


def broken_promises(event: object, sent: Sent) -> list[str]:
    """What an answer to bad input must not be; empty when it keeps every promise."""
    broken = []
    if sent.status >= 500 and not (sent.status == 504 and _asks_for_haste(event)):
        broken.append("5xx")
    if 400 <= sent.status < 500 and (sent.invoked or sent.recorded):
        broken.append("invoked")
    if not _is_well_formed(sent):
        broken.append("malformed")
    return broken


def _asks_for_haste(event: object) -> bool:
    headers = event.get("headers") if isinstance(event, dict) else None
    given = {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    text = str(given.get("x-fiso-timeout-ms", ""))
    return text.isdecimal() and int(text) < SHORT_MS


def _is_well_formed(sent: Sent) -> bool:
    """A problem is a whole problem document, and no header breaks out of its line."""
    headers = sent.response["headers"]
    if not all(str(value).isascii() and str(value).isprintable() for value in headers.values()):
        return False
    if sent.status < 400:
        return True
    document = json.loads(sent.response["body"])
    is_problem = headers.get("content-type") == "application/problem+json"
    return is_problem and bool(document["invocation_id"]) and int(document["status"]) == sent.status
