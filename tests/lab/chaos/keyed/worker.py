"""Orchestrators to be killed: for each line on standard input a forked one that serves one request, or dies at it.

A line is `{"key", "payload", "function", "kill_after_s"}`; the answer is the response, or null if it was killed first.
Forking spares each of them the start of an interpreter; nothing here runs a thread before it forks.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from fiso_client.core.transport import HttpTransport
from tests.lab.chaos.keyed.world import Place, Sent, ask, orchestrator, silence


def main(place: Place) -> None:
    """Serve until standard input ends."""
    with silence():
        for line in sys.stdin:
            order = json.loads(line)
            sent = Sent(key=order["key"], payload=order["payload"], function=order["function"])
            response = _served_or_killed(place, sent, order["kill_after_s"])
            sys.stdout.write(json.dumps(response) + "\n")
            sys.stdout.flush()


def _served_or_killed(place: Place, sent: Sent, kill_after_s: float) -> dict[str, Any] | None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(ask(orchestrator(place, HttpTransport()), sent), pipe)
        os._exit(0)
    os.close(writing)
    time.sleep(kill_after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    response: dict[str, Any] | None = json.loads(text) if text.endswith("}") else None
    return response


if __name__ == "__main__":
    main(Place(store_url=sys.argv[1], function_url=sys.argv[2]))
