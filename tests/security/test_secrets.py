"""Canary secrets in requests, in what providers say when they fail, in errors of stores and of FISO itself: none may be
in a log line, a metric, a record or an answer of FISO; a function's own answer passes as it is (decision 12)."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from fiso.codecs.record import open_to_document, to_document
from fiso.domain.endpoint import Provider
from fiso.domain.record import InvocationRecord
from fiso.testing.memory import answering, away
from fiso.testing.rig import LambdaContext, Rig, http_event
from fiso_cli.log_redirect import lines_to
from functions.orchestrator import handler
from tests.builders import an_entry
from tests.security.canaries import Canaries, function_says, http_spills, lambda_spills
from tests.security.genuine_clouds import answering_with, at, rig_over

SECRET_HEADERS = (
    "authorization",
    "cookie",
    "x-functions-key",
    "x-api-key",
    "x-amz-security-token",
    "proxy-authorization",
)
OK = function_says("ok", "-")


class Spilling:
    """The orchestrator among those who spill: what it logged, recorded and answered, and what functions said."""

    def __init__(self, rig: Rig, waiting: list[bytes], lines: io.StringIO, seed: int) -> None:
        self.log, self.canaries = rig.stores.log, Canaries(Random(seed))
        self.functions_said: list[bytes] = []
        self._rig, self._waiting, self._lines = rig, waiting, lines
        self._records, self._answers = list[str](), list[str]()
        self.requests = self.calls = 0

    def send(self, answer: bytes, path: str, body: str = "{}", query: str = "", **headers: str) -> None:
        """One request, whose call a cloud answers so."""
        self._waiting[:] = [answer]
        response = self._rig.send(
            http_event(path=path, body=body, **headers) | {"rawQueryString": query}, LambdaContext(3_000)
        )
        headers = response["headers"]
        if "x-fiso-provider" in headers and headers.get("content-type") != "application/problem+json":
            said = response["body"]
            self.functions_said.append(base64.b64decode(said) if response.get("isBase64Encoded") else said.encode())
            own = {name: text for name, text in headers.items() if name.startswith(("x-fiso", "server"))}
            response = response | {"body": "", "headers": own, "cookies": []}
        self._answers.append(json.dumps(response, ensure_ascii=False))
        for record in self.log.records.values():
            document = to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record)
            self._records.append(json.dumps(document, ensure_ascii=False))
        self.log.records.clear()
        self.requests += 1
        self.calls += not self._waiting
        self._rig.clock.advance(60)  # no breaker is open for the next

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return [line for line in self._lines.getvalue().split("\n") if line]

    def leaks(self) -> dict[str, list[str]]:
        """The canaries found in each sink."""
        metrics = repr(self._rig.metrics.values)
        sinks = {"log": self._lines.getvalue(), "metrics": metrics}
        sinks |= {"records": "\n".join(self._records), "answers": "\n".join(self._answers)}
        return {name: self.canaries.found_in(text) for name, text in sinks.items()}


@contextmanager
def spilling(seed: int) -> Iterator[Spilling]:
    """One function on Lambda and one on plain HTTP, both at a server that says what it is told to."""
    waiting, lines = list[bytes](), io.StringIO()
    policy = {"max_attempts": 1, "timeout_ms": 2_000}
    with answering_with(waiting) as url, lines_to(lines):
        entries = [
            an_entry(at(url, Provider.AWS), name="by-lambda", **policy),
            an_entry(at(url, Provider.GCP), name="by-http", **policy),
        ]
        with rig_over(url, *entries) as rig:
            yield Spilling(rig, waiting, lines, seed)


def providers_spill(fiso: Spilling) -> None:
    for text in (*fiso.canaries.in_forms(), fiso.canaries.plain()):
        for function, spills in (("by-http", http_spills), ("by-lambda", lambda_spills)):
            for answer in spills(text):
                fiso.send(answer, f"/v1/invoke/{function}")


def callers_spill(fiso: Spilling) -> None:
    canaries = fiso.canaries
    headers = {name: canaries.plain() for name in SECRET_HEADERS}
    for text in canaries.in_forms():
        body = json.dumps({"text": text, "password": canaries.plain()})
        tries: list[tuple[str, dict[str, Any]]] = [
            ("/v1/invoke/by-http", {"query": f"code={canaries.plain()}"}),
            ("/v1/explain/by-http", {}),
            ("/v1/decide/by-http", {}),
            (f"/v1/invoke/{text}", {}),
            (f"/v1/nowhere/{text}", {}),
            ("/v1/invoke/by-http", {"content_type": text}),
            ("/v1/invoke/by-http", {"x_fiso_user_region": text, "traceparent": text}),
            ("/v1/invoke/by-http", {"x_fiso_timeout_ms": text}),
            ("/v1/outcomes", {}),
            ("/v1/invoke/by-http", {"body": f"not JSON: {text}"}),
        ]
        for path, changes in tries:
            fiso.send(OK, path, **{"body": body} | headers | changes)


def stores_spill(fiso: Spilling) -> None:
    for text in fiso.canaries.in_forms():
        fiso.log.before = away(f"dynamodb: {text}")
        fiso.send(OK, "/v1/invoke/by-http")
        fiso.log.before = answering
        try:
            raise ValueError(f"unexpected: {text}")
        except ValueError:  # as the handler's outer boundary does
            handler.logger.exception(
                "unexpected error", extra={"invocation_id": "i", "headers": {"authorization": text}}
            )


def functions_answer(fiso: Spilling) -> None:
    """They may answer what they like, which their callers get as it is; FISO keeps none of it."""
    fiso.functions_said.clear()
    wanted = list(fiso.canaries.in_forms())
    for text in wanted:
        fiso.send(function_says(text, fiso.canaries.plain()), "/v1/invoke/by-http")
    assert fiso.functions_said == [text.encode() for text in wanted]


def is_one_document(line: str) -> bool:
    return line.isprintable() and isinstance(json.loads(line), dict)


@pytest.mark.parametrize("rounds", [1, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_no_canary_reaches_a_log_a_metric_a_record_or_an_answer(rounds: int) -> None:
    with spilling(seed=rounds) as fiso:
        for _ in range(rounds):
            providers_spill(fiso)
            callers_spill(fiso)
            stores_spill(fiso)
        functions_answer(fiso)
    assert fiso.leaks() == {"log": [], "metrics": [], "records": [], "answers": []}
    assert [line for line in fiso.lines if not is_one_document(line)] == []
    assert min(fiso.requests, fiso.calls, len(fiso.lines)) > 480 * rounds
    assert len(fiso.canaries.made) > 100 * rounds


def test_a_line_has_allowed_fields_only_and_names_those_left_out() -> None:
    lines = io.StringIO()
    with lines_to(lines):
        logging.getLogger("fiso.test").info("hello", extra={"endpoint": "e\x1b", "body": "{}"})
    line = json.loads(lines.getvalue())
    assert line["message"] == "hello"
    assert line["endpoint"] == r"e\x1b"
    assert line["fields_left_out"] == ["body"]
    assert "body" not in line
