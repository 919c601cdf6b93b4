"""A stream of requests from a process of its own: open loop, over the snapshot in a bucket, until its input ends.

Run as `python -m tests.lab.chaos.request_stream FOLDER RATE`: writes one JSON line a request. It has no database driver
loaded and says so: what it does cannot depend on PostgreSQL.
"""

import json
import select
import sys
import time
from dataclasses import replace
from pathlib import Path

from fiso.testing.endpoints import OK
from fiso.testing.rig import Rig
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator.wiring import utc_now
from tests.lab.chaos import denying
from tests.lab.chaos.folder_bucket import FolderBucket, snapshots_in

FUNCTION_S = 0.002
"""How long a function takes, so that a refresh has a wait to happen in."""


def main(folder: Path, rate: float) -> None:
    """Requests at intended times; a late one is sent at once and its lateness counts."""
    rig = _rig(folder)
    denying.invoke(rig)  # the cold start is no part of this
    start, number = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        intended = start + number / rate
        time.sleep(max(0.0, intended - time.monotonic()))
        answer = denying.invoke(rig)
        line = {
            "at": time.time(),
            "status": answer.status,
            "own_ms": answer.own_ms,
            "provider": answer.headers.get("x-fiso-provider"),
            "snapshot": rig.app.sources.snapshot().version,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        number += 1
    sys.stdout.write(json.dumps({"has_driver": "psycopg2" in sys.modules, "requests": number}) + "\n")


def _rig(folder: Path) -> Rig:
    snapshots = snapshots_in(FolderBucket(folder=folder))

    def respond(*_: object) -> FunctionAnswer:
        time.sleep(FUNCTION_S)
        return OK

    denying.silence()
    return Rig(
        respond=respond,
        ports=lambda ports: replace(ports, snapshots=snapshots, copy=None, clock=utc_now, ticks=time.monotonic),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
