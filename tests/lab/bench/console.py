"""How long the console's pages take over a million records, warm: `python -m tests.lab.bench.console`.

The emulator holds what pages read: a day of minutes of ten functions with ten copies each, 90 days of hours, the lists
that name a million records, and the newest thousand of these. Pages read no other record, so no other is written.
"""

import logging
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, closed_item
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_lists import MOST_KEYS, DynamoDBLists
from fiso.adapters.aws.dynamodb_rollups import DynamoDBRollups, rollup_item
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates, state_item
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.rollup import Counts, Rollup
from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState, Totals
from fiso.testing.memory import InMemoryModelStore, InMemoryRetrainingRuns, InMemorySnapshots
from functions.console import app
from functions.console.sources import Sources
from tests.builders import a_record, a_snapshot, an_endpoint, an_entry
from tests.contract.stores import Emulated, emulated
from tests.emulator import running_emulator
from tests.functional.console_browser import Browser

RECORDS, FUNCTIONS, COPIES, ROUNDS = 1_000_000, 10, 10, 9
PAGES = {
    "/console": "since=1h",
    "/console/functions/f0": "since=1d",
    "/console/functions/f1": "since=90d",
    "/console/invocations": "status=error",
    "/console/endpoints": "",
    "/console/diagnosis": "",
    "/console/changes": "",
    "/console/models": "",
}


def main() -> None:
    """Prints a line a page: median and longest of ROUNDS, after one."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, running_emulator(Path(folder)) as url, emulated(url) as at:
        now = datetime.now(UTC)
        _fill(at, now)
        browser = Browser(app=app.create(_sources(at, now), stage="prod"), gateway="aws")
        for path, query in PAGES.items():
            took = [_ms(browser, path, query) for _ in range(ROUNDS + 1)][1:]
            print(f"{path:24} {query:14} {statistics.median(took):7.1f} ms   at most {max(took):7.1f} ms")  # noqa: T201


def _ms(browser: Browser, path: str, query: str) -> float:
    begun = time.perf_counter()
    answer = browser.get(path, query)
    assert answer.status == 200, (path, answer.status, answer.body)
    return (time.perf_counter() - begun) * 1000


def _names() -> list[FunctionName]:
    return [FunctionName(f"f{number}") for number in range(FUNCTIONS)]


def _sources(at: Emulated, now: datetime) -> Sources:
    entries = [
        an_entry(*(an_endpoint(id=EndpointId(f"copy-{n}")) for n in range(COPIES)), name=name) for name in _names()
    ]
    lists = DynamoDBLists(at.dynamodb, at.state, clock=lambda: now)
    return Sources(
        log=DynamoDBInvocationLog(at.dynamodb, at.log, clock=lambda: now, lists=lists),
        states=DynamoDBEndpointStates(at.dynamodb, at.state, clock=lambda: now),
        snapshots=InMemorySnapshots(a_snapshot(*entries)),
        models=InMemoryModelStore(),
        runs=InMemoryRetrainingRuns(),
        rollups=DynamoDBRollups(at.dynamodb, at.state),
        breakers=DynamoDBSharedBreakers(at.dynamodb, at.state, clock=lambda: now),
        clock=lambda: now,
    )


def _fill(at: Emulated, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    states: list[dict[str, Any]] = []
    for name in _names():
        states.extend(state_item(_state(name, copy, now)) for copy in range(COPIES))
        minutes = 1440 if name in ("f0", "f1") else 60
        states.extend(rollup_item(name, _rollup(minute, -back), by_hour=False) for back in range(1, minutes))
    for back in range(1, 90 * 24):
        rollup = _rollup(minute.replace(minute=0), -back * 60)
        states.append(rollup_item(FunctionName("f1"), rollup, by_hour=True))
    _write(at, at.state, states)
    newest = [
        a_record(
            n,
            timestamp=now - timedelta(seconds=n / 20 + 1),
            function_name=f"f{n % FUNCTIONS}",
            error_occurred=n % 9 == 0,
        )
        for n in range(1_000)
    ]
    _write(at, at.log, [closed_item(record) for record in newest])
    lists = DynamoDBLists(at.dynamodb, at.state, clock=lambda: now)
    sample = a_record(1)
    for start in range(0, RECORDS - 1_000, MOST_KEYS):  # the stream's batches are smaller: this is the worst case
        moment = now - timedelta(seconds=60 + start / 20)
        lists.note([_renamed(sample, start + n, moment - timedelta(milliseconds=50 * n)) for n in range(MOST_KEYS)])
    lists.note(newest)


def _renamed(sample: Any, number: int, moment: datetime) -> Any:
    return replace(sample, invocation_id=f"{number:08x}-0000-4000-8000-000000000000", timestamp=moment)


def _state(name: FunctionName, copy: int, now: datetime) -> EndpointState:
    counts = (900_000, *[9_000] * len(LATENCY_BOUNDS_MS))
    totals = Totals(requests=1_000_000, errors=1_000, latencies=counts, latency_us=10**11)
    return EndpointState(
        function=name,
        endpoint=EndpointId(f"copy-{copy}"),
        version=1,
        folded=1_000_000,
        attempts=1_000_000,
        latency_ms=100.0,
        last_called_at=now,
        totals=totals,
    )


def _rollup(start: datetime, minutes: int) -> Rollup:
    so_far = 900_000 + minutes
    counts = Counts(
        requests=so_far, attempts=so_far, errors=so_far // 1000, latencies=(so_far, *[9] * len(LATENCY_BOUNDS_MS))
    )
    copies = {EndpointId(f"copy-{copy}"): counts for copy in range(COPIES)}
    return Rollup(at=start + timedelta(minutes=minutes), folded=so_far, counts=copies)


def _write(at: Emulated, table: str, items: list[dict[str, Any]]) -> None:
    for start in range(0, len(items), 25):
        puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        at.dynamodb.batch_write_item(RequestItems={table: puts})


if __name__ == "__main__":
    main()
