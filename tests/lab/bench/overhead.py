"""What FISO adds to a warm request on the local cloud, beside one DynamoDB put measured in the same run.

Both go through the same emulator on the same machine: the ratio says how much work FISO does, not how fast a cloud is.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from uuid import uuid4

import httpx

from fiso_cli.stage import Stage
from localcloud.demo.machine import Machine
from localcloud.parts import Options
from tests.lab.bench.rows import Row, at_most_of_rival, row

REQUESTS = 400
WARM_UP = 60
MOST_PUTS = 3.0
BODY = b'{"text": "the quick brown fox"}'
PORT = "6566"


def overhead_over_put() -> Row:
    """Boot a local cloud of its own, then requests and puts in turn, one client."""
    overheads: list[float] = []
    puts: list[float] = []
    with _own_cloud() as stage, httpx.Client(base_url=stage.api_url, timeout=30) as client:
        put = _putter(stage)
        for _ in range(WARM_UP):
            _overhead_ms(client)
            put()
        for _ in range(REQUESTS):
            overheads.append(_overhead_ms(client))
            puts.append(put())
    return row(
        "overhead_over_put",
        median(overheads),
        "ms",
        rival="one DynamoDB put with boto3",
        rival_value=median(puts),
        n=len(overheads),
        gate=at_most_of_rival(MOST_PUTS),
    )


def _overhead_ms(client: httpx.Client) -> float:
    answer = client.post("/v1/invoke/word-count", content=BODY, headers={"content-type": "application/json"})
    answer.raise_for_status()
    return float(answer.headers["x-fiso-overhead-ms"])


def _putter(stage: Stage) -> Callable[[], float]:
    """Puts an item the size of a record into a table that nothing reads; gives the milliseconds it took."""
    client, table = stage.client("dynamodb"), f"fiso-idempotency-{stage.name}"

    def put() -> float:
        item = {"idempotency_id": {"S": f"bench#{uuid4()}"}, "detail": {"S": "x" * 1200}}
        start = perf_counter()
        client.put_item(TableName=table, Item=item)
        return (perf_counter() - start) * 1000

    return put


@contextmanager
def _own_cloud() -> Iterator[Stage]:
    """A local cloud beside any that runs, with everything deployed and no emulated distance."""
    with tempfile.TemporaryDirectory(prefix="fiso-bench-") as folder:
        environ = {**os.environ, "FISO_LOCAL_DIR": folder, "FISO_LOCAL_PORT": PORT}
        machine = Machine.from_environ(environ, Options(has_distance=False))
        try:
            for step in (machine.boot, machine.train, machine.deploy, machine.apply):
                step()
            yield machine.stage
        finally:
            machine.shut_down()
