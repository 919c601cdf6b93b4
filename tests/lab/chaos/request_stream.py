"""A stream of requests from a process of its own: open loop, over the snapshot in a bucket, until its input ends.

Run as `python -m tests.lab.chaos.request_stream FOLDER RATE`: writes one JSON line a request. It has no database driver
loaded and says so: what it does cannot depend on PostgreSQL.
"""

import json
import select
import sys
import time
from pathlib import Path

from fiso_client.core.answers import FunctionAnswer
from tests.lab.chaos import small_router
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.lab.chaos.small_router import Outside, SmallRouter

FUNCTION_S = 0.002
"""How long a function takes, so that a refresh has a wait to happen in."""


def main(folder: Path, rate: float) -> None:
    """Requests at intended times; a late one is sent at once and its lateness counts."""
    router = _router(folder)
    router.invoke()  # the cold start is no part of this
    start, number = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        intended = start + number / rate
        time.sleep(max(0.0, intended - time.monotonic()))
        reply = router.invoke()
        line = {
            "at": time.time(),
            "status": reply.status,
            "own_ms": reply.own_ms,
            "provider": reply.headers.get("x-fiso-provider"),
            "snapshot": _snapshot_version(router),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        number += 1
    sys.stdout.write(json.dumps({"has_driver": "psycopg2" in sys.modules, "requests": number}) + "\n")


def _router(folder: Path) -> SmallRouter:
    bucket = FolderBucket(folder=folder)

    def respond(*_: object) -> FunctionAnswer:
        time.sleep(FUNCTION_S)
        return small_router.ANSWER

    return small_router.build(Outside(snapshots=small_router.snapshots_in(bucket), respond=respond))


def _snapshot_version(router: SmallRouter) -> int:
    return router.edge.sources.snapshot().version


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
