"""Phases of the experiment on idempotency keys: what is sent, what is broken meanwhile, and what would be right."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from fiso.domain.idempotency import GRACE
from fiso_client.core.transport import HttpTransport
from tests.lab.chaos.emulator import EmulatorProcess
from tests.lab.chaos.keyed.function import CountingFunction
from tests.lab.chaos.keyed.judging import Answered, answered
from tests.lab.chaos.keyed.world import AGAIN, ONCE, TIMEOUT_MS, Place, Sent, ask, orchestrator

CALLERS = 10
"""Concurrent requests, each at an execution environment of its own."""
DEAD_AFTER_S = TIMEOUT_MS / 1000 + GRACE.total_seconds() + 0.5
KILLED_WITHIN_S = 0.15
"""A request takes about half as long: some die before their claim, some within the run, some not at all."""
SLOW_S = 0.6
"""How long a run takes that the store is stopped in."""

Say = Callable[[str], None]


class Callers:
    """CALLERS environments side by side, and their threads for as long as the context lasts."""

    def __init__(self, place: Place) -> None:
        self._transports = [HttpTransport() for _ in range(CALLERS)]
        self._rigs = [orchestrator(place, transport) for transport in self._transports]
        self._pool = ThreadPoolExecutor(max_workers=CALLERS)

    def start(self, requests: Sequence[Sent], allowed: Iterable[int]) -> list[Future[Answered]]:
        """Send at most CALLERS requests at once, each from an environment of its own."""
        right = frozenset(allowed)

        def one(position: int) -> Answered:
            return answered(requests[position], ask(self._rigs[position], requests[position]), right)

        if len(requests) > CALLERS:
            raise ValueError(f"at most {CALLERS} at once")
        return [self._pool.submit(one, position) for position in range(len(requests))]

    def send(self, requests: Sequence[Sent], allowed: Iterable[int]) -> list[Answered]:
        """The answers to any number of requests, CALLERS at a time."""
        right, found = frozenset(allowed), []
        for first in range(0, len(requests), CALLERS):
            found += [future.result() for future in self.start(requests[first : first + CALLERS], right)]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for transport in self._transports:
            transport.close()


def bursts(callers: Callers, keys: int, say: Say) -> list[Answered]:
    """Every key from all callers at once, a fifth of them with two payloads; then again, and with another payload."""
    history: list[Answered] = []
    for number in range(keys):
        key = f"burst-{number}"
        mixed = number % 5 == 0
        payloads = ["b" if mixed and caller % 3 == 2 else "a" for caller in range(CALLERS)]
        history += callers.send([Sent(key=key, payload=payload) for payload in payloads], {200, 409})
        history += callers.send([Sent(key=key, payload=payload) for payload in ("a", "a", "b", "c")], {200})
        if number % 25 == 24:
            say(f"{number + 1} of {keys} keys, {len(history)} answers")
    return history


def crashes(place: Place, callers: Callers, count: int, rng: random.Random) -> tuple[list[Answered], list[Sent]]:
    """Requests whose orchestrator is killed at a random moment, each asked for once more at once.

    Gives the answers so far, and the requests that were killed before they answered.
    """
    command = [sys.executable, "-m", "tests.lab.chaos.keyed.worker", place.store_url, place.function_url]
    history: list[Answered] = []
    killed: list[Sent] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        if worker.stdin is None or worker.stdout is None:
            raise ValueError("the worker was started without pipes")
        for number in range(count):
            sent = Sent(key=f"crash-{number}", payload="a", function=(ONCE, AGAIN)[number % 2])
            order = {"key": sent.key, "payload": sent.payload, "function": sent.function}
            line = json.dumps(order | {"kill_after_s": rng.uniform(0, KILLED_WITHIN_S)})
            worker.stdin.write(line + "\n")
            worker.stdin.flush()
            response = json.loads(worker.stdout.readline())
            if response is None:
                killed.append(sent)
            else:
                history.append(answered(sent, response, {200}))
            history += callers.send([sent], {200, 409})
        worker.stdin.close()
    return history, killed


def asked_for_dead(callers: Callers, killed: Sequence[Sent]) -> list[Answered]:
    """All callers at once for each request that was killed, when it is known to be dead; then once more."""
    history: list[Answered] = []
    for sent in killed:
        finally_right = {200} if sent.function == AGAIN else {200, 504}
        at_once = finally_right | {409} if sent.function == AGAIN else finally_right
        history += callers.send([sent] * CALLERS, at_once)
        history += callers.send([sent], finally_right)
    return history


def stopped_store(
    callers: Callers, emulator: EmulatorProcess, function: CountingFunction, rounds: int
) -> tuple[list[Answered], list[Answered]]:
    """The store stops answering while functions run. Gives what their callers got, and what everyone else got."""
    caught: list[Answered] = []
    refused: list[Answered] = []
    usual_s, function.takes_s = function.takes_s, SLOW_S
    for number in range(rounds):
        running = [Sent(key=f"caught-{number}-{caller}", payload="a") for caller in range(CALLERS)]
        fresh = [Sent(key=f"refused-{number}-{caller}", payload="a") for caller in range(CALLERS)]
        awaited = callers.start(running, {200})
        _await_runs(function, [sent.key or "" for sent in running])
        emulator.stop()
        caught += [future.result() for future in awaited]
        refused += callers.send(running[: CALLERS // 2] + fresh[CALLERS // 2 :], {503})
        emulator.go_on()
        emulator.await_answer()
    function.takes_s = usual_s
    return caught, refused


def asked_after_the_stop(
    callers: Callers, caught: Sequence[Answered], refused: Sequence[Answered]
) -> tuple[list[Answered], list[Answered]]:
    """What those keys give when the store is back and every claim is dead or answered: twice the same."""
    first = callers.send([answer.sent for answer in caught], {200, 504})
    keys = {answer.sent.key for answer in caught}
    fresh = [answer.sent for answer in refused if answer.sent.key not in keys]
    return first + callers.send([answer.sent for answer in caught], {200, 504}), callers.send(fresh * 2, {200, 504})


def killed_store(callers: Callers, emulator: EmulatorProcess) -> tuple[list[Answered], list[Answered]]:
    """The store is killed: what keyed requests get, and what others get."""
    emulator.kill()
    keyed = callers.send([Sent(key=f"killed-{number}", payload="a") for number in range(5 * CALLERS)], {503})
    unkeyed = callers.send([Sent(key=None, payload=str(number)) for number in range(5 * CALLERS)], {200})
    return keyed, unkeyed


def _await_runs(function: CountingFunction, keys: Sequence[str]) -> None:
    limit = time.monotonic() + TIMEOUT_MS / 1000
    while time.monotonic() < limit and not set(keys) <= function.executions().keys():
        time.sleep(0.005)
