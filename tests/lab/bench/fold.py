"""Folding one hot function on a virtual clock: the genuine consumer over tables and a bucket that take AWS's times.

Records come evenly over the shards of the log's stream, which the mapping delivers as serverless.yml says. What the
consumer computes takes its share of a processor. Nothing is dropped in this model, as in the mapping: what fails comes
again, so what there is to see is how late records are, and whether the states are the fold of what was committed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import get_ident
from typing import Any

from fiso.adapters.aws.client import AwsError
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.billing.hop import AWS_FULL_CPU_MB
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState
from fiso.routing.fold import fold
from fiso.services.log.ingest import ingest
from fiso_cli.cost.metered import item_bytes
from tests.builders import NOW, a_record, a_summary, an_attempt
from tests.lab.bench import rows
from tests.lab.bench.rows import Row
from tests.lab.bench.virtual import VirtualTime
from tests.tables import StateTable

FUNCTION = FunctionName("hot")
ENDPOINTS = ("aws", "azure", "gcp")
BATCH_SIZE, WINDOW_S = 1000, 2.0
"""Of the mapping in serverless.yml."""
POLL_S = 0.25
"""How often Lambda looks at a shard (docs.aws.amazon.com/lambda, "Polling and batching streams")."""
RETRY_S = 1.0
"""Before a batch that failed comes again, the least; AWS does not say."""
READ_S, TRANSACTION_S, INVOKED_S = 0.005, 0.016, 0.01
"""Medians. DynamoDB promises single-digit milliseconds (aws.amazon.com/dynamodb); a transaction is two rounds of it and
more; a small object into S3 takes 100 to 200 ms at worst by its own words ("Performance design patterns"), here half
of that; an invocation by the poller."""
SPREAD = 0.45
"""Of the logarithm of each time: the 99th of a hundred takes 2.8 times the median."""
READ_MB_PER_S = 20.0
PARTITION_WRITES, PARTITION_READS = 1_000, 3_000
"""Units a second of one partition key ("Best practices for designing and using partition keys effectively")."""
BURST_S = 5.0
"""What a partition has saved up of them; AWS says up to 300 s, and not to rely on it ("Burst capacity")."""
PARSED_MS, FOLDED_MS = 0.045, 0.09
"""On a whole processor, a record: read of the log and archived; folded. Measured here on three endpoints."""
LONGEST_LAG_S = 5.0
SETTLED_S = 4.0
"""Shards' pollers begin at times of their own: until then the first batches hold more than a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many records a second of one function, over so many shards, for so long."""

    rate_per_s: float
    shards: int
    seconds: float
    memory_mb: int = AWS_FULL_CPU_MB
    seed: int = 1


@dataclass(slots=True, kw_only=True)
class Folded:
    """What came of it. `lags_s` from a record's end to the commit that holds it; `redelivered` batches; `throttled`
    requests for one partition key's sake."""

    lags_s: list[float] = field(default_factory=list)
    committed: list[InvocationRecord] = field(default_factory=list)
    commits: int = 0
    conflicts: int = 0
    redelivered: int = 0
    throttled: int = 0
    states: Mapping[EndpointId, EndpointState] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        """States that are not the fold of the records as they were committed."""
        expected: dict[EndpointId, EndpointState] = {}
        for record in self.committed:
            expected = fold(expected, record)
        stored = {id: replace(state, version=0) for id, state in self.states.items()}
        return sum(stored.get(id) != state for id, state in expected.items()) + len(stored.keys() - expected.keys())

    def lag_s(self, share: float) -> float:
        """The lag that this share of the records does not exceed."""
        return sorted(self.lags_s)[min(len(self.lags_s) - 1, int(share * len(self.lags_s)))]


class TimedTable(StateTable):
    """The state table with its times, the conflicts of transactions that overlap, and a partition key's limits."""

    def __init__(self, time: VirtualTime, rng: random.Random, folded: Folded) -> None:
        super().__init__()
        self._time, self._rng, self._folded = time, rng, folded
        self._under_way: set[tuple[str, str]] = set()
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        self.folding: dict[int, Sequence[InvocationRecord]] = {}

    def query(self, **asked: Any) -> dict[str, Any]:
        """Half of its time before it reads, half after."""
        took_s = self._took(READ_S) / 2
        self._time.sleep(took_s)
        answer = super().query(**asked)
        size = sum(map(item_bytes, answer["Items"]))
        (partition,) = asked["ExpressionAttributeValues"].values()
        self._spend("read", partition["S"], size / 4096, PARTITION_READS)
        self._time.sleep(took_s + size / 1e6 / READ_MB_PER_S)
        return answer

    def put_item(self, **put: Any) -> dict[str, Any]:
        """One state that carries its marks: written after half of its time."""
        took_s, item = self._took(READ_S) / 2, put["Item"]
        self._time.sleep(took_s)
        self._spend("write", item["function_name"]["S"], -(-item_bytes(item) // 1024), PARTITION_WRITES)
        try:
            if (item["function_name"]["S"], item["item"]["S"]) in self._under_way:
                raise AwsError("TransactionConflictException", "a transaction has it", {})
            answer = super().put_item(**put)
        except AwsError:
            self._folded.conflicts += 1
            raise
        self._folded.committed.extend(self.folding[get_ident()])
        self._folded.commits += 1
        self._time.sleep(took_s)
        return answer

    def transact_write_items(self, **asked: Any) -> dict[str, Any]:
        """Prepared after a third of its time, written after two."""
        third_s = self._took(TRANSACTION_S) / 3
        items = [write["Put"]["Item"] for write in asked["TransactItems"]]
        keys = {(item["function_name"]["S"], item["item"]["S"]) for item in items}
        self._time.sleep(third_s)
        for item in items:
            units = 2 * -(-item_bytes(item) // 1024)
            self._spend("write", item["function_name"]["S"], units, PARTITION_WRITES)
        if keys & self._under_way:
            self._folded.conflicts += 1
            raise _cancelled("TransactionConflict")
        self._under_way |= keys
        try:
            self._time.sleep(third_s)
            answer = super().transact_write_items(**asked)
            self._folded.committed.extend(self.folding[get_ident()])
        except AwsError:
            self._folded.conflicts += 1
            raise
        finally:
            self._under_way -= keys
        self._folded.commits += 1
        self._time.sleep(third_s)
        return answer

    def _took(self, median_s: float) -> float:
        return median_s * self._rng.lognormvariate(0, SPREAD)

    def _spend(self, kind: str, partition: str, units: float, limit: float) -> None:
        at_s, left = self._left.get((kind, partition), (0.0, limit * BURST_S))
        left = min(limit * BURST_S, left + (self._time.now_s - at_s) * limit) - max(1.0, units)
        if left < 0:
            self._folded.throttled += 1
            raise _cancelled("ThrottlingError")
        self._left[kind, partition] = self._time.now_s, left


def _cancelled(code: str) -> AwsError:
    return AwsError("TransactionCanceledException", code, {"CancellationReasons": [{"Code": code}]})


class TimedStates(DynamoDBEndpointStates):
    """The genuine states, whose fold takes its time on the consumer's share of a processor."""

    def __init__(
        self, table: TimedTable, clock: Callable[[], datetime], time: VirtualTime, ms: float, f: Folded
    ) -> None:
        super().__init__(table, "t", clock=clock)
        self._timed, self._time, self._ms, self._folded, self._now = table, time, ms, f, clock

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        """Computed, then written."""
        self._time.sleep(len(records) * self._ms / 1000)
        self._timed.folding[get_ident()] = records
        super().commit(function, states, records)
        settled = [record for record in records if record.timestamp >= NOW + timedelta(seconds=SETTLED_S)]
        self._folded.lags_s.extend((self._now() - ended_at(record)).total_seconds() for record in settled)


def ended_at(record: InvocationRecord) -> datetime:
    """When a record comes into its shard."""
    return record.timestamp + timedelta(milliseconds=record.attempts[-1].latency_ms)


def run(load: Load) -> Folded:
    """One load to its end."""
    time, rng, folded = VirtualTime(), random.Random(load.seed), Folded()  # nosec B311 # a simulation
    table = TimedTable(time, rng, folded)
    share = min(1.0, load.memory_mb / AWS_FULL_CPU_MB)

    def clock() -> datetime:
        return NOW + timedelta(seconds=time.now_s)

    states = TimedStates(table, clock, time, FOLDED_MS / share, folded)
    lanes = _lanes(load, rng)

    def consume(lane: Sequence[InvocationRecord]) -> None:
        position = 0
        time.sleep(rng.uniform(0, WINDOW_S))  # shards' pollers are not in step
        while position < len(lane):
            batch = _gathered(lane, position, clock, time.sleep)
            position += len(batch)
            _delivered(batch)

    def _delivered(batch: Sequence[InvocationRecord]) -> None:
        while True:
            time.sleep(INVOKED_S + -(-len(batch) // 100) * READ_S + len(batch) * PARSED_MS / share / 1000)
            try:
                ingest(batch, states=states, batch_id="b", pause=time.sleep, draw=rng.random)
                return
            except StoreError:
                folded.redelivered += 1
                time.sleep(RETRY_S)

    time.run([partial(consume, lane) for lane in lanes])
    folded.states = _final(table)
    return folded


def _final(table: TimedTable) -> Mapping[EndpointId, EndpointState]:
    plain = StateTable()
    plain.items = table.items
    return DynamoDBEndpointStates(plain, "t", clock=lambda: NOW).of_function(FUNCTION)


def _gathered(
    lane: Sequence[InvocationRecord], position: int, clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> Sequence[InvocationRecord]:
    """The next batch: what came within the window from when its first record was seen, at most BATCH_SIZE."""
    sleep(max(0.0, (ended_at(lane[position]) - clock()).total_seconds()))
    ends_at = max(clock(), ended_at(lane[position])) + timedelta(seconds=WINDOW_S)
    while True:
        there = _there(lane, position, clock())
        if there >= BATCH_SIZE or clock() >= ends_at or position + there == len(lane):
            return lane[position : position + max(1, there)]
        sleep(min(POLL_S, max(0.0, (ends_at - clock()).total_seconds()) + 1e-6))


def _there(lane: Sequence[InvocationRecord], position: int, now: datetime) -> int:
    there = 0
    while there < BATCH_SIZE and position + there < len(lane) and ended_at(lane[position + there]) <= now:
        there += 1
    return there


def _lanes(load: Load, rng: random.Random) -> list[list[InvocationRecord]]:
    lanes: list[list[InvocationRecord]] = [[] for _ in range(load.shards)]
    candidates = tuple(a_summary(endpoint) for endpoint in ENDPOINTS)
    usual = a_record(candidates=candidates, function_name=FUNCTION)
    for number in range(int(load.rate_per_s * load.seconds)):
        at = NOW + timedelta(milliseconds=int(1000 * number / load.rate_per_s))
        endpoint = rng.choice(ENDPOINTS)
        attempt = an_attempt(endpoint, started_at=at, latency_ms=100 * rng.lognormvariate(0, 0.3))
        record = replace(
            usual,
            invocation_id=InvocationId(f"{number:08d}-0000-4000-8000-000000000000"),
            timestamp=at,
            attempts=(attempt,),
            result=replace(usual.result, endpoint=attempt.endpoint),
        )
        rng.choice(lanes).append(record)
    for lane in lanes:
        lane.sort(key=ended_at)
    return [lane for lane in lanes if lane]


def measure(say: Callable[[str], object]) -> Sequence[Row]:
    """Lag of the last record at three numbers of shards, at the highest rate that each is asked to bear; with what a
    smaller memory does to it."""
    found = []
    for load in LOADS:
        folded = run(load)
        differing, records = folded.differing, len(folded.committed)
        say(
            f"{load.shards} shards, {load.rate_per_s:g} records/s, {load.memory_mb} MB: {folded.commits} commits, "
            f"{folded.conflicts} conflicts, {folded.redelivered} batches again, {folded.throttled} throttled; "
            f"lag p50 {folded.lag_s(0.5):.2f} s, p99 {folded.lag_s(0.99):.2f} s; {differing} states off the fold"
        )
        name = f"fold_lag_{load.shards}_shards_{load.rate_per_s:g}_per_s"
        name += "" if load.memory_mb == AWS_FULL_CPU_MB else f"_{load.memory_mb}_mb"
        gate = rows.Gate(f"<= {LONGEST_LAG_S:g}, once each", _gate(differing, folded, load))
        found.append(rows.row(name, folded.lag_s(1.0), "s", rival="", rival_value=None, n=records, gate=gate))
    return found


def _gate(differing: int, folded: Folded, load: Load) -> Callable[[float, float | None], bool]:
    is_whole = (
        len(folded.committed)
        == len({record.invocation_id for record in folded.committed})
        == int(load.rate_per_s * load.seconds)
    )
    return lambda lag_s, _: lag_s <= LONGEST_LAG_S and not differing and is_whole


LOADS = (
    Load(rate_per_s=1_000, shards=8, seconds=12),
    Load(rate_per_s=2_000, shards=16, seconds=10),
    Load(rate_per_s=3_000, shards=32, seconds=10),
    Load(rate_per_s=1_000, shards=8, seconds=12, memory_mb=512),
)
