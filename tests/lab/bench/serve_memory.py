"""Memory of `fiso serve` over many requests: what each of its processes holds, at marks on the way.

A process warms up: threads, connections, an application for each request that it had at once, which of several
processes the last one has late. What it holds beyond that must not depend on how many requests it has answered.
BENCH_REQUESTS makes the run shorter or longer.
"""

import json
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from fiso_cli.rendering import Table
from tests.lab.bench.doors import CALLERS, CHAT, HOST, Door, ours, stores
from tests.lab.bench.rows import Row, at_most, row

MARKS = (2_000, 10_000, 50_000, 100_000, 200_000)
FLAT_MB = 2.0
"""What a process may hold more at the end than after half of the requests: 20 bytes a request would be as much."""
_BODY = json.dumps(CHAT).encode()


def rows(say: Callable[[str | Table], None]) -> Sequence[Row]:
    """Growth of the process that grew most, alone and of three."""
    most = int(os.environ.get("BENCH_REQUESTS", MARKS[-1]))
    marks = [mark * most // MARKS[-1] for mark in MARKS]
    return [_row(workers, marks, say) for workers in (1, 3)]


def _row(workers: int, marks: Sequence[int], say: Callable[[str | Table], None]) -> Row:
    held = []
    with (
        TemporaryDirectory() as folder,
        stores(Path(folder)) as upstream,
        ours(Path(folder), upstream, workers=workers) as door,
    ):
        for done, mark in zip((0, *marks), marks, strict=False):
            load(door, mark - done)
            held.append(door.resident_mb())
            say(f"{workers} processes, {mark:,} requests: " + ", ".join(f"{each:.1f} MB" for each in held[-1]))
    warm, last = held[-2], held[-1]
    grown = max(after - before for before, after in zip(warm, last, strict=True))
    name, rival = f"serve_memory_{workers}", f"after {marks[-2]:,}"
    return row(name, grown, "MB more", rival=rival, rival_value=max(warm), n=marks[-1], gate=at_most(FLAT_MB))


def load(door: Door, requests: int) -> None:
    """So many requests from CALLERS threads, each on one connection. `AssertionError` for one that fails."""
    failed: list[bytes] = []
    threads = [Thread(target=_call, args=(door, requests // CALLERS, failed)) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, f"{len(failed)} of {requests} failed: {failed[0]!r}"


def _call(door: Door, requests: int, failed: list[bytes]) -> None:
    head = f"POST {door.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(_BODY)}"
    asked = f"{head}\r\n\r\n".encode() + _BODY
    with socket.create_connection((HOST, door.port), timeout=30) as connection:
        for _ in range(requests):
            connection.sendall(asked)
            came = connection.recv(65_536)
            while not came.endswith(b"}"):  # the end of the answer, which is one JSON object
                more = connection.recv(65_536)
                if not more:
                    break
                came += more
            if not came.startswith(b"HTTP/1.1 200"):
                failed.append(came[:200])
                return
