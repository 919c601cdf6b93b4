"""What FISO adds to a warm request on the local cloud, beside one DynamoDB put measured in the same run.

Both go through the same emulator on the same machine: the ratio says how much work FISO does, not how fast a cloud is.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from uuid import uuid4

import httpx

from fiso_cli.bench.rows import Row, within_ratio
from fiso_cli.demo import plan
from fiso_cli.demo.counting import Counts
from fiso_cli.demo.local_machine import LocalMachine
from fiso_cli.local.components import Options
from fiso_cli.stage import Stage

REQUESTS = 400
WARM_UP = 60
BATCH = 20
MOST_PUTS = 3.0
BODY = b'{"text": "the quick brown fox"}'
PORT = "6566"


def overhead_over_put() -> Row:
    """Boot a local cloud of its own, then requests and puts in turn, one client."""
    overheads: list[float] = []
    puts: list[float] = []
    with _own_cloud() as stage, httpx.Client(base_url=stage.api_url, timeout=30) as client:
        _overheads_ms(client, WARM_UP)
        for _ in range(REQUESTS // BATCH):
            overheads.extend(_overheads_ms(client, BATCH))
            puts.extend(_puts_ms(stage, BATCH))
    return within_ratio(
        "overhead_over_put",
        median(overheads),
        "ms",
        rival="one DynamoDB put with boto3",
        rival_value=median(puts),
        n=len(overheads),
        at_most=MOST_PUTS,
    )


def _overheads_ms(client: httpx.Client, requests: int) -> list[float]:
    taken = []
    for _ in range(requests):
        answer = client.post("/v1/invoke/word-count", content=BODY, headers={"content-type": "application/json"})
        answer.raise_for_status()
        taken.append(float(answer.headers["x-fiso-overhead-ms"]))
    return taken


def _puts_ms(stage: Stage, count: int) -> list[float]:
    """Puts of an item the size of a record, into a table that nothing reads."""
    client, taken = stage.client("dynamodb"), []
    for _ in range(count):
        item = {"idempotency_id": {"S": f"bench#{uuid4()}"}, "detail": {"S": "x" * 1200}}
        start = perf_counter()
        client.put_item(TableName=f"fiso-idempotency-{stage.name}", Item=item)
        taken.append((perf_counter() - start) * 1000)
    return taken


@contextmanager
def _own_cloud() -> Iterator[Stage]:
    """A local cloud beside any that runs, with everything deployed and no emulated distance."""
    with tempfile.TemporaryDirectory(prefix="fiso-bench-") as folder:
        environ = {**os.environ, "FISO_LOCAL_DIR": folder, "FISO_LOCAL_PORT": PORT}
        stage = Stage.named("local", environ)
        counts = Counts(stage=stage, functions=plan.functions())
        machine = LocalMachine(stage=stage, counts=counts, options=Options(has_distance=False))
        try:
            for step in (machine.boot, machine.train, machine.deploy, machine.apply):
                step()
            yield stage
        finally:
            machine.shut_down()
