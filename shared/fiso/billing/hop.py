"""The hop: what FISO itself costs on AWS for one request, by dated list prices. Pure.

    front door + the orchestrator's Lambda (its own time, its starts, and the time it waits for the function)
    + the log's, the states' and the breakers' items in DynamoDB, written, read and kept + the stream consumer
    + S3 (archive, snapshots) + log lines + a share of what a stage costs by the month

What is shared among requests (batches of the stream, reads that hold for seconds, environments, a month's alarms) is
shared by the rate of the stage. A leased call has no waiting and shares its API requests with others: a lease serves
many calls, a report tells of many. List prices only: no free tier, no discount.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, exp
from pathlib import Path

WRITE_UNIT_BYTES = 1024
AWS_FULL_CPU_MB = 1769
"""The memory at which Lambda gives a whole processor; below it a part (docs.aws.amazon.com/lambda)."""
HOME_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPrices:
    """Dated prices in USD of one region; `as_of` an ISO date."""

    version: str
    as_of: str
    http_api_per_request: float
    lambda_per_request: float
    lambda_per_gb_second: float
    dynamodb_per_write_unit: float
    dynamodb_per_read_unit: float
    dynamodb_per_gb_month: float
    dynamodb_backup_per_gb_month: float
    s3_per_put: float
    s3_per_get: float
    s3_per_gb_month: float
    logs_per_gb: float
    alarm_per_month: float
    dashboard_per_month: float
    key_per_month: float
    secret_per_month: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request makes FISO do, as measured.

    `cpu_ms` on a whole processor, `store_wait_ms` for its two writes; `open_bytes` and `record_bytes` of the two items;
    `consumer_cpu_ms` per record; `log_bytes` written to CloudWatch.
    """

    cpu_ms: float
    store_wait_ms: float
    open_bytes: int
    record_bytes: int
    consumer_cpu_ms: float
    log_bytes: int


Parts = Mapping[str, float]
"""USD per request, by what it is paid for."""

STATE_BYTES = 2 * WRITE_UNIT_BYTES
MARKER_UNITS = 2
"""A fold's marker is written in a transaction, which costs two units for each."""
CONSUMER_MB = 256
MONTH_S = 2_628_000.0
"""730 hours, as AWS counts a month."""
BATCH_SIZE, BATCH_WINDOW_S, SHARDS = 100, 1.0, 4
"""Of the stream's consumer in `serverless.yml`; a new table on demand has four partitions, each with a shard."""
READ_EVERY_S = 5.0
READS_UNITS, READS_GETS = 1.5, 1.0
"""What an environment reads again when it is older than that: states and breakers (eventually consistent, half a unit
for 4 KB each), and the snapshot from S3."""
KEPT_IDLE_S, LIVES_S = 480.0, 7_200.0
"""How long Lambda keeps an idle environment, and how long it lets a busy one live: 5 to 20 minutes, about two hours."""
ALARMS, DASHBOARDS, KEYS, SECRETS = 18, 3, 2, 2
"""What the template makes of these for a stage; a test counts them, and lets an alarm more or less pass."""
KEEPER_MS, KEEPER_MB = 800.0, 256
"""One run of the keeper, each minute; its other reads are within the free use of their services or below a cent."""
REFERENCE_RATE_PER_S = 10.0
"""Where nobody says what rate a stage has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """How requests share what is not made anew for each, at one rate of the stage."""

    records_per_batch: float
    reads_per_request: float
    starts_per_request: float
    requests_per_month: float


def shared(rate_per_s: float, busy_ms: float) -> Shared:
    """By requests per second of the whole stage, each of which keeps an environment busy for so long.

    An environment reads with a request that comes READ_EVERY_S after it last read; one is started where all were idle
    for too long (Poisson arrivals), and where an old one is replaced.
    """
    environments = max(1.0, rate_per_s * busy_ms / 1000)
    per_environment = rate_per_s / environments
    return Shared(
        records_per_batch=min(float(BATCH_SIZE), max(1.0, rate_per_s * BATCH_WINDOW_S / SHARDS)),
        reads_per_request=1 / (1 + READ_EVERY_S * per_environment),
        starts_per_request=min(1.0, exp(-KEPT_IDLE_S * rate_per_s) + 1 / (LIVES_S * per_environment)),
        requests_per_month=rate_per_s * MONTH_S,
    )


def proxy_hop(
    prices: HopPrices,
    work: Work,
    *,
    memory_mb: int,
    waited_ms: float,
    own_ms: float | None = None,
    rate_per_s: float = REFERENCE_RATE_PER_S,
) -> Parts:
    """The parts of one proxied request to a function that takes `waited_ms`; `own_ms` where it was measured there."""
    own_ms = own_time_ms(work, memory_mb) if own_ms is None else own_ms
    gb_ms = memory_mb / 1024 / 1000 * prices.lambda_per_gb_second
    among = shared(rate_per_s, own_ms + waited_ms)
    return {
        "front_door": prices.http_api_per_request,
        "lambda_request": prices.lambda_per_request,
        "lambda_own_time": own_ms * gb_ms,
        "lambda_waiting": waited_ms * gb_ms,
        "lambda_starts": among.starts_per_request * REFERENCE_COLD_MS * gb_ms,
        "reads": among.reads_per_request * _reads_usd(prices),
        **_recording(prices, work, among, is_opened=True),
    }


def lease_hop(
    prices: HopPrices,
    work: Work,
    *,
    memory_mb: int,
    calls_per_lease: float,
    outcomes_per_report: float,
    rate_per_s: float = REFERENCE_RATE_PER_S,
) -> Parts:
    """The parts of one leased call: its share of a lease and of a report, and its record. `rate_per_s` counts calls."""
    share = 1 / calls_per_lease + 1 / outcomes_per_report
    gb_ms = memory_mb / 1024 / 1000 * prices.lambda_per_gb_second
    decided_ms = work.cpu_ms * AWS_FULL_CPU_MB / min(memory_mb, AWS_FULL_CPU_MB)
    among, asked = shared(rate_per_s, decided_ms), shared(rate_per_s * share, decided_ms)
    return {
        "front_door": share * prices.http_api_per_request,
        "lambda_request": share * prices.lambda_per_request,
        "lambda_own_time": (share * decided_ms + work.store_wait_ms / 2 / outcomes_per_report) * gb_ms,
        "lambda_waiting": 0.0,
        "lambda_starts": share * asked.starts_per_request * REFERENCE_COLD_MS * gb_ms,
        "reads": share * asked.reads_per_request * _reads_usd(prices),
        **_recording(prices, work, among, is_opened=False),
    }


def own_time_ms(work: Work, memory_mb: int) -> float:
    """What a request takes beside the function: computing by the share of a processor, waiting as it is."""
    return work.cpu_ms * AWS_FULL_CPU_MB / min(memory_mb, AWS_FULL_CPU_MB) + work.store_wait_ms


def total_usd(parts: Parts) -> float:
    return sum(parts.values())


def marginal_usd(parts: Parts) -> float:
    """What one request more costs: a function that is routed no longer saves nothing of the stage's months."""
    return total_usd(parts) - parts["stage"]


def month_usd(prices: HopPrices) -> float:
    """What a stage costs by the month without any request."""
    keeper_gb_s = KEEPER_MB / 1024 * KEEPER_MS / 1000
    keeper = MONTH_S / 60 * (keeper_gb_s * prices.lambda_per_gb_second + prices.lambda_per_request)
    return (
        ALARMS * prices.alarm_per_month
        + DASHBOARDS * prices.dashboard_per_month
        + KEYS * prices.key_per_month
        + SECRETS * prices.secret_per_month
        + keeper
    )


def _reads_usd(prices: HopPrices) -> float:
    return READS_UNITS * prices.dynamodb_per_read_unit + READS_GETS * prices.s3_per_get


def _recording(prices: HopPrices, work: Work, among: Shared, *, is_opened: bool) -> Parts:
    """An intent also enters and leaves the sparse index; a record enters the index by time whole, and that of its
    tenant by its keys. The consumer reads it and its marker. It is kept for a month, with its copy in the index and in
    the backups, and in the archive for as long again."""
    record, intent = _units(work.record_bytes), _units(work.open_bytes)
    log_units = 2 * record + 1 + (intent + 2 if is_opened else 0)
    batch = among.records_per_batch
    fold_units = MARKER_UNITS + MARKER_UNITS * _units(STATE_BYTES) / batch
    consumer_gb_s = CONSUMER_MB / 1024 * work.consumer_cpu_ms * AWS_FULL_CPU_MB / CONSUMER_MB / 1000
    kept_usd = 2 * prices.dynamodb_per_gb_month + prices.dynamodb_backup_per_gb_month + prices.s3_per_gb_month
    return {
        "dynamodb_log": log_units * prices.dynamodb_per_write_unit,
        "dynamodb_state": fold_units * prices.dynamodb_per_write_unit,
        "consumer": consumer_gb_s * prices.lambda_per_gb_second + prices.lambda_per_request / batch,
        "consumer_reads": 2 * prices.dynamodb_per_read_unit,
        "archive": prices.s3_per_put / batch,
        "storage": work.record_bytes / 2**30 * kept_usd,
        "log_lines": work.log_bytes / 2**30 * prices.logs_per_gb,
        "stage": month_usd(prices) / among.requests_per_month,
    }


def _units(size_bytes: int) -> int:
    return ceil(size_bytes / WRITE_UNIT_BYTES)


@cache
def current(region: str = HOME_REGION) -> HopPrices:
    """The prices that ship with this code (`hop_prices.json` beside this module); HOME_REGION's for what is not known
    of another region."""
    data = json.loads(Path(__file__).with_name("hop_prices.json").read_text(encoding="utf-8"))
    usd = {**data["usd"], **data["regions"].get(region, {})}
    return HopPrices(version=data["version"], as_of=data["as_of"], **usd)


STORE_WAIT_MS = 10.0
"""Two writes of 5 ms: AWS promises single-digit milliseconds for DynamoDB (aws.amazon.com/dynamodb)."""
CALLS_PER_LEASE, OUTCOMES_PER_REPORT = 60.0, 100.0
"""A lease of 60 s at one call a second; full reports."""
REFERENCE = Work(
    cpu_ms=0.54,
    store_wait_ms=STORE_WAIT_MS,
    open_bytes=208,
    record_bytes=1_232,
    consumer_cpu_ms=0.062,
    log_bytes=891,
)
REFERENCE_COLD_MS = 215.0
"""Measured on the 2-core machine of docs/decisions/0008: what the deployed memory was chosen by."""
