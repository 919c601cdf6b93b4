"""Steady traffic of every kind that an update may fall into the middle of, and what was wrong with each request."""

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

PER_S, WORKERS, LARGEST_BODY, TRIES = 10.0, 16, 30_000, 5
WORDS = Request(body=b"one two two", content_type="text/plain")
SPILLED_S = 150.0
"""A record that the table did not take in time is brought to it by the keeper, which comes once a minute."""


@dataclass(kw_only=True)
class Traffic:
    """Requests at a fixed rate, whatever became of those before. `beside` invokes the earlier commit's orchestrator,
    which stays up beside the one that is updated."""

    gateway: Gateway
    beside: Callable[[dict[str, Any]], dict[str, Any]]
    sent: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    keyed: list[tuple[Call, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = self.gateway.client()
        self._calls = [call for call in plan.calls(72) if len(call.body) <= LARGEST_BODY]

    @contextmanager
    def during(self, phase: str, *, then_s: float) -> Iterator[None]:
        """Send while something is done, and for a while after it."""
        over, wrong = Event(), self.problems.setdefault(phase, [])
        with Client(self.gateway.url) as leased:
            driver = Thread(target=self._drive, args=(phase, over, leased))
            driver.start()
            try:
                yield
                time.sleep(then_s)
            finally:
                over.set()
                driver.join()
        wrong += [f"{leased.tally.rejected} outcomes of leases were rejected"] * bool(leased.tally.rejected)

    def ask(self, path: str, document: object = None) -> Any:
        """What a GET answers, or a POST where there is something to send. A store that is busy for 200 ms is a 503 with
        Retry-After, which clients obey."""
        method = "GET" if document is None else "POST"
        for _ in range(TRIES):
            answer = self._client.request(method, self.gateway.url + path, json=document)
            if answer.status_code != 503:
                return answer.json() if answer.status_code == 200 else None
            self.notes["reads that a busy store put off"] += 1
            time.sleep(float(answer.headers.get("retry-after", 1)))
        return None

    def records(self) -> dict[str, Any]:
        """Each record there must be, as it is read now; None for one that is not there in time."""
        ends_at, found = time.monotonic() + SPILLED_S, {}
        for id in dict.fromkeys(self.ids):
            while (record := self.ask(f"/v1/invocations/{id}")) is None and time.monotonic() < ends_at:
                self.notes["seconds waited for spilled records"] += 5
                time.sleep(5)
            found[id] = record
        self.known = [id for id, record in found.items() if record]
        return found

    def _drive(self, phase: str, over: Event, leased: Client) -> None:
        kinds = [self._plain, self._keyed, self._beside, self._plain, self._keyed, self._plain, self._keyed]
        kinds += [self._record, lambda _: f"{leased.call('word-count', WORDS).status}".replace("200", ""), self._health]
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
        self.problems[phase] += [f"{kind.__name__} {problem}"] * bool(problem)

    def _send(self, call: Call) -> tuple[httpx.Headers, str | None]:
        answer = self._client.send(call.request(self.gateway, self._client))
        problem = problem_of(answer, call.expected)
        self.ids += [] if problem else [answer.headers["x-fiso-invocation-id"]]
        return answer.headers, problem

    def _plain(self, call: Call) -> str | None:
        return self._send(call)[1]

    def _keyed(self, call: Call) -> str | None:
        """A new key, or one of the whole run again."""
        known = random.choice(self.keyed) if self.keyed and random.random() < 0.5 else None
        sent = known[0] if known else replace(call, headers={**call.headers, "idempotency-key": str(uuid4())})
        headers, problem = self._send(sent)
        if problem is None and known is None:
            self.keyed.append((sent, headers["x-fiso-invocation-id"]))
        got = headers.get("idempotent-replayed"), headers.get("x-fiso-invocation-id")
        is_first = known is None or got == ("true", known[1])
        return problem or (None if is_first else f"a known key did not get its first answer {known}, but {got}")

    def _beside(self, _: Call) -> str | None:
        answer = self.beside(http_event(body=WORDS.body, content_type=WORDS.content_type))
        self.ids.append(answer["headers"]["x-fiso-invocation-id"])
        return None if answer["statusCode"] == 200 else str(answer)

    def _record(self, call: Call) -> str | None:
        if not self.known:
            return self._plain(call)
        record = self.ask(f"/v1/invocations/{random.choice(self.known)}")
        return None if record and record["status"] == "final" else f"the record is {record}"

    def _health(self, _: Call) -> str | None:
        is_new = "state_age_s" in self.ask("/v1/endpoints")["endpoints"][0]
        self.notes[f"lists of endpoints by the code {'after' if is_new else 'before'}"] += 1
        self.notes[f"health {self.ask('/healthz')['status']}"] += 1
        return None
