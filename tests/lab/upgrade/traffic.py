"""Steady traffic of every kind that a stage may be in the middle of, and what was wrong with each request."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx

from fiso.testing.rig import http_event
from fiso_cli.traffic.calls import Call, problem_of
from fiso_cli.traffic.gateway import Gateway
from fiso_client import Client, Request
from localcloud.demo import plan

PER_S, WORKERS, LARGEST_BODY = 10.0, 16, 30_000
WORDS = Request(body=b"one two two", content_type="text/plain")


@dataclass(kw_only=True)
class Traffic:
    """One request after the other at a fixed rate, whatever became of those before. `beside` invokes the earlier
    commit's orchestrator, which stays up beside the one that is updated."""

    gateway: Gateway
    beside: Callable[[dict[str, Any]], dict[str, Any]]
    sent: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    keyed: list[tuple[Call, str]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._client = self.gateway.client()
        self._calls = [call for call in plan.calls(72) if len(call.body) <= LARGEST_BODY]

    @contextmanager
    def during(self, phase: str, *, then_s: float) -> Iterator[None]:
        """Send while something is done, and for a while after it."""
        over = Event()
        self.problems[phase] = []
        with Client(self.gateway.url) as leased:
            driver = Thread(target=self._drive, args=(phase, over, leased))
            driver.start()
            try:
                yield
                time.sleep(then_s)
            finally:
                over.set()
                driver.join()
        if leased.tally.rejected:
            self.problems[phase].append(f"{leased.tally.rejected} outcomes of leases were rejected")

    def ask(self, path: str, document: object = None) -> Any:
        """The document that a GET answers, or a POST where there is something to send."""
        method = "GET" if document is None else "POST"
        return self._client.request(method, f"{self.gateway.url}{path}", json=document).raise_for_status().json()

    def _drive(self, phase: str, over: Event, leased: Client) -> None:
        kinds = [self._plain, self._keyed, self._beside, self._plain, self._record]
        kinds += [self._plain, self._replayed, lambda _: self._leased(leased), self._plain, self._health]
        began = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as pool:
            for number in count():
                if over.wait(max(0.0, began + number / PER_S - time.monotonic())):
                    return
                call = self._calls[number * 7 % len(self._calls)]
                pool.submit(self._one, phase, kinds[number % len(kinds)], call)

    def _one(self, phase: str, kind: Callable[[Call], str | None], call: Call) -> None:
        try:
            problem = kind(call)
        except Exception as error:  # noqa: BLE001 - whatever it was, a request failed
            problem = f"{type(error).__name__}: {error}"
        self.sent[phase] += 1
        if problem:
            self.problems[phase].append(f"{getattr(kind, '__name__', '')} {problem}")

    def _send(self, call: Call) -> tuple[httpx.Response, str | None]:
        answer = self._client.send(call.request(self.gateway, self._client))
        problem = problem_of(answer, call.expected)
        if problem is None:
            self.ids.append(answer.headers["x-fiso-invocation-id"])
        return answer, problem

    def _plain(self, call: Call) -> str | None:
        return self._send(call)[1]

    def _keyed(self, call: Call) -> str | None:
        call = replace(call, headers={**call.headers, "idempotency-key": str(uuid4())})
        answer, problem = self._send(call)
        if problem is None:
            self.keyed.append((call, answer.headers["x-fiso-invocation-id"]))
        return problem

    def _replayed(self, call: Call) -> str | None:
        kept, id = random.choice(self.keyed or [(call, "")])
        answer, problem = self._send(kept)
        first = answer.headers.get("x-fiso-invocation-id"), answer.headers.get("idempotent-replayed")
        return problem if problem or not id or first == (id, "true") else f"not the first answer: {first}"

    def _beside(self, _: Call) -> str | None:
        answer = self.beside(http_event(body=WORDS.body, content_type=WORDS.content_type))
        self.ids.append(answer["headers"]["x-fiso-invocation-id"])
        return None if answer["statusCode"] == 200 else json.dumps(answer)

    def _record(self, _: Call) -> str | None:
        status = self.ask(f"/v1/invocations/{random.choice(self.ids)}")["status"]
        return None if status == "final" else f"the record is {status}"

    def _leased(self, leased: Client) -> str | None:
        answer = leased.call("word-count", WORDS)
        return None if answer.status == 200 else f"status {answer.status}"

    def _health(self, _: Call) -> str | None:
        self.codes["after" if "state_age_s" in self.ask("/v1/endpoints")["endpoints"][0] else "before"] += 1
        status = self.ask("/healthz")["status"]
        return None if status == "ok" else f"health is {status}"
