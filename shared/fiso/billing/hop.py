"""The hop: what FISO itself costs on AWS for one request, by dated list prices. Pure.

    front door + the orchestrator's Lambda (its own time, its starts, and the time it waits for the function)
    + the log's, the states' and the breakers' items in DynamoDB, written, read and kept + the stream consumer
    + S3 (archive, snapshots) + log lines + a share of what a stage costs by the month

What is shared among requests (batches of the stream, reads that hold for seconds, environments, a month's alarms) is
shared by the rate of the stage. A leased call has no waiting and shares its API requests with others: a lease serves
many calls, a report tells of many. List prices only: no free tier, no discount. Reading the stream by a trigger and
transfer within a region are free; data that leaves AWS is priced with each call (`tariff`), not here.

What a request makes FISO write is none of this module's knowledge: `Work` is measured on the code as it is
(`fiso_cli.cost`), and `Setup` is read from the template.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import exp
from pathlib import Path

from fiso.domain.endpoint import Architecture

AWS_FULL_CPU_MB = 1769
"""The memory at which Lambda gives a whole processor; below it a part (docs.aws.amazon.com/lambda)."""
HOME_REGION = "us-east-1"
GIB = 2**30


class FrontDoor(StrEnum):
    """What stands before the orchestrator: an HTTP API, or the function's own URL, which costs nothing by itself."""

    API = "api"
    URL = "url"


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPrices:
    """Dated prices in USD of one region; `as_of` an ISO date."""

    version: str
    as_of: str
    http_api_per_request: float
    http_api_per_request_above: float
    lambda_per_request: float
    lambda_per_gb_second: float
    lambda_arm64_per_gb_second: float
    dynamodb_per_write_unit: float
    dynamodb_per_read_unit: float
    dynamodb_per_gb_month: float
    dynamodb_backup_per_gb_month: float
    s3_per_put: float
    s3_per_get: float
    s3_per_gb_month: float
    logs_per_gb: float
    logs_kept_per_gb_month: float
    metric_per_month: float
    alarm_per_month: float
    dashboard_per_month: float
    key_per_month: float
    secret_per_month: float
    secret_per_call: float
    trace_recorded: float

    def gb_second(self, architecture: Architecture) -> float:
        """Of a Lambda on either processor. The volume tiers begin at 6,000 million GB-s a month; none is counted."""
        return self.lambda_arm64_per_gb_second if architecture is Architecture.ARM64 else self.lambda_per_gb_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Of something that a batch of the stream does: so much for each record, and so much for the batch."""

    record: float
    batch: float = 0.0

    def per_record(self, records_per_batch: float, batches: float = 1.0) -> float:
        """Where a batch falls into so many, by their functions; never more of them than records."""
        return self.record + self.batch * min(batches, records_per_batch) / records_per_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request makes FISO do.

    `cpu_ms` on a whole processor, `write_wait_ms` for each of its writes, `cold_ms` for a start on a whole processor.
    Write units: `record_units` for a record alone, `intent_units` for an intent before it; what a request with an
    idempotency key writes and reads beside that. Of the stream's first reader the units that a fold writes, states,
    marks and lists, and reads; of the second what it reads, objects of the archive and their bytes, and lines on what
    was predicted. `consumer_cpu_ms` of either per record. Bytes kept: `table_bytes`, backed up as well. `log_bytes`
    written to CloudWatch. `metrics` that a request's lines name, each a price by the month.
    """

    cpu_ms: float
    write_wait_ms: float
    cold_ms: float
    record_units: float
    intent_units: float
    key_units: float
    key_read_units: float
    fold_units: Amount
    fold_read_units: Amount
    archive_read_units: Amount
    archive_puts: Amount
    archive_bytes: Amount
    prediction_bytes: Amount
    consumer_cpu_ms: float
    table_bytes: float
    log_bytes: float
    metrics: float


EVENT_BYTES = 26
"""That CloudWatch counts beside each line."""
LAMBDA_LINES_BYTES = 3 * EVENT_BYTES + 61 + 53 + 132
"""START, END and REPORT of an invocation as Lambda writes them, unless its system log level is WARN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the template makes of a stage: memories in MB, what is paid by the month, for how long things are kept.
    `traced_share` of the requests is recorded by X-Ray, or where another collector takes them by that one's price."""

    memory_mb: int = 256
    architecture: Architecture = Architecture.X86_64
    front_door: FrontDoor = FrontDoor.API
    consumer_mb: int = 256
    keeper_mb: int = 256
    retrainer_mb: int = 3_008
    batch_size: int = 100
    batch_window_s: float = 1.0
    archiver_mb: int = 512
    archive_batch_size: int = 10_000
    archive_window_s: float = 45.0
    lambda_lines_bytes: int = LAMBDA_LINES_BYTES
    access_log_bytes: int = 0
    kept_days: float = 35.0
    archive_days: float = 730.0
    log_days: float = 365.0
    alarms: int = 0
    dashboards: int = 0
    keys: int = 0
    secrets: int = 0
    has_route_metrics: bool = True
    traced_share: float = 0.0


Parts = Mapping[str, float]
"""USD, by what it is paid for."""

MONTH_S = 2_628_000.0
"""730 hours, as AWS counts a month."""
MONTH_DAYS = MONTH_S / 86_400
HTTP_API_TIER = 300e6
"""Requests of a month up to the second price (aws.amazon.com/api-gateway/pricing); one is of up to 512 KB."""
SHARDS = 4
"""Of the log's stream: a new table on demand has four partitions, each with a shard."""
READ_EVERY_S = 5.0
READS_UNITS, READS_GETS = 1.5, 1.0
"""What an environment reads again when it is older than that: states and breakers (eventually consistent, half a unit
for 4 KB each), and the snapshot from S3."""
KEPT_IDLE_S, LIVES_S = 480.0, 7_200.0
"""How long Lambda keeps an idle environment, and how long it lets a busy one live: 5 to 20 minutes, about two hours."""
LOGS_PACKED = 0.15
"""CloudWatch keeps lines compressed, and reckons with this (aws.amazon.com/cloudwatch/pricing, examples)."""
EVENTS_BYTES, EVENT_OF_RECORD_BYTES = 6 * 2**20, 2_500
"""What an invocation takes of a stream, and what of it an intent and a record take as events."""
KEEPER_MS, KEEPER_METRICS = 800.0, 3
"""One run of the keeper, each minute."""
KEEPER_READ_UNITS, KEEPER_GETS = 9.0, 3.0
"""Of one run: 16 partitions of open records and the catalog's copy; watermark, catalog, its pointer."""
HISTORY_UNITS = 2.0
"""What a function's minute costs that something was called in: its counts of ten endpoints, 1.1 KB packed."""
WATERMARK_EVERY_S, SECRET_EVERY_S = 300.0, 600.0
"""How often the keeper moves its watermark where nothing is spilled, and reads the database's secret."""
RETRAINER_S = 600.0
"""One run of the retrainer a day, at the most that it takes; it reads the archive's hours, a GET for each."""
COMPACT_OBJECT_MS, COMPACTIONS, COMPACTION_S, COMPACTION_PUTS = 2.0, 730, 5.0, 20
"""A small object more (`tests.lab bench --only archive_`); and each hour's run, with its listings and plans."""
ROUTES_IN_USE, ROUTE_METRICS = 4, 6
"""An HTTP API's detailed metrics are priced for routes that are called: invoke, decide, outcomes, healthz."""
REFERENCE_RATE_PER_S = 10.0
"""Where nobody says what rate a stage has."""
CALLS_PER_LEASE, OUTCOMES_PER_REPORT = 60.0, 100.0
"""A lease of 60 s at one call a second; full reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """How requests share what is not made anew for each, at one rate of the stage."""

    records_per_batch: float
    records_per_object: float
    reads_per_request: float
    starts_per_request: float
    requests_per_month: float


def shared(rate_per_s: float, busy_ms: float, setup: Setup) -> Shared:
    """By requests per second of the whole stage, each of which keeps an environment busy for so long.

    An environment reads with a request that comes READ_EVERY_S after it last read; one is started where all were idle
    for too long (Poisson arrivals), and where an old one is replaced.
    """
    environments = max(1.0, rate_per_s * busy_ms / 1000)
    per_environment = rate_per_s / environments
    return Shared(
        records_per_batch=min(float(setup.batch_size), max(1.0, rate_per_s * setup.batch_window_s / SHARDS)),
        records_per_object=min(
            setup.archive_batch_size / 2,
            EVENTS_BYTES / EVENT_OF_RECORD_BYTES,
            max(1.0, rate_per_s * setup.archive_window_s / SHARDS),
        ),
        reads_per_request=1 / (1 + READ_EVERY_S * per_environment),
        starts_per_request=min(1.0, exp(-KEPT_IDLE_S * rate_per_s) + 1 / (LIVES_S * per_environment)),
        requests_per_month=rate_per_s * MONTH_S,
    )


def proxy_hop(  # noqa: PLR0913 - what a stage is asked
    prices: HopPrices,
    work: Work,
    setup: Setup,
    *,
    waited_ms: float,
    own_ms: float | None = None,
    rate_per_s: float = REFERENCE_RATE_PER_S,
    keyed_share: float = 0.0,
    repeatable_share: float = 0.0,
    functions: int = 1,
) -> Parts:
    """The parts of one proxied request to a function that takes `waited_ms`; `own_ms` where it was measured there.
    `keyed_share` of the requests bring an idempotency key, `repeatable_share` may be repeated and need no intent; the
    stage has so many `functions`, each folded by itself."""
    opened = 1 - repeatable_share
    own_ms = own_time_ms(work, setup.memory_mb, writes=1 + opened) if own_ms is None else own_ms
    gb_ms = setup.memory_mb / 1024 / 1000 * prices.gb_second(setup.architecture)
    among = shared(rate_per_s, own_ms + waited_ms, setup)
    return {
        "front_door": front_door_usd(prices, setup, among.requests_per_month),
        "lambda_request": prices.lambda_per_request,
        "lambda_own_time": own_ms * gb_ms,
        "lambda_waiting": waited_ms * gb_ms,
        "lambda_starts": among.starts_per_request * work.cold_ms * gb_ms,
        "reads": among.reads_per_request * _reads_usd(prices),
        **_recording(prices, work, setup, among, opened=opened, functions=functions),
        "open_intents": opened * min(1.0, (own_ms + waited_ms) / 1000 / setup.archive_window_s) * _watched_usd(prices),
        "idempotency_keys": keyed_share * _keys_usd(prices, work),
        "log_lines": (work.log_bytes + setup.lambda_lines_bytes) * _per_line_byte(prices, setup),
        "access_log": _access_log_usd(prices, setup),
        "traces": setup.traced_share * prices.trace_recorded,
        "stage": total_usd(month_parts(prices, work, setup)) / among.requests_per_month,
    }


def lease_hop(
    prices: HopPrices,
    work: Work,
    setup: Setup,
    *,
    calls_per_lease: float = CALLS_PER_LEASE,
    outcomes_per_report: float = OUTCOMES_PER_REPORT,
    rate_per_s: float = REFERENCE_RATE_PER_S,
) -> Parts:
    """The parts of one leased call: its share of a lease and of a report, and its record. `rate_per_s` counts calls."""
    share = 1 / calls_per_lease + 1 / outcomes_per_report
    gb_ms = setup.memory_mb / 1024 / 1000 * prices.gb_second(setup.architecture)
    decided_ms = own_time_ms(work, setup.memory_mb, writes=0)
    among, asked = shared(rate_per_s, decided_ms, setup), shared(rate_per_s * share, decided_ms, setup)
    return {
        "front_door": share * front_door_usd(prices, setup, asked.requests_per_month),
        "lambda_request": share * prices.lambda_per_request,
        "lambda_own_time": (share * decided_ms + work.write_wait_ms / outcomes_per_report) * gb_ms,
        "lambda_waiting": 0.0,
        "lambda_starts": share * asked.starts_per_request * work.cold_ms * gb_ms,
        "reads": share * asked.reads_per_request * _reads_usd(prices),
        **_recording(prices, work, setup, among, opened=0.0),
        "log_lines": (work.log_bytes + setup.lambda_lines_bytes) * _per_line_byte(prices, setup),
        "access_log": share * _access_log_usd(prices, setup),
        "stage": total_usd(month_parts(prices, work, setup)) / among.requests_per_month,
    }


def own_time_ms(work: Work, memory_mb: int, writes: float = 2) -> float:
    """What a request takes beside the function: computing by the share of a processor, waiting as it is."""
    return work.cpu_ms * AWS_FULL_CPU_MB / min(memory_mb, AWS_FULL_CPU_MB) + writes * work.write_wait_ms


def total_usd(parts: Parts) -> float:
    return sum(parts.values())


def marginal_usd(parts: Parts) -> float:
    """What one request more costs: a function that is routed no longer saves nothing of the stage's months."""
    return total_usd(parts) - parts["stage"]


def front_door_usd(prices: HopPrices, setup: Setup, requests_per_month: float) -> float:
    """For one request, the month's mean where the volume reaches the second price."""
    if setup.front_door is FrontDoor.URL:
        return 0.0
    above = max(0.0, requests_per_month - HTTP_API_TIER) / requests_per_month
    return (1 - above) * prices.http_api_per_request + above * prices.http_api_per_request_above


def month_parts(prices: HopPrices, work: Work, setup: Setup) -> Parts:
    """What a stage costs by the month whatever it is asked, by what it is paid for."""
    has_routes = setup.has_route_metrics and setup.front_door is FrontDoor.API
    routes = ROUTES_IN_USE * ROUTE_METRICS if has_routes else 0
    gb_second, retrainings = prices.gb_second(setup.architecture), MONTH_DAYS
    keeper_s = MONTH_S / 60 * KEEPER_MS / 1000
    retrainer_s = retrainings * RETRAINER_S
    return {
        "alarms": setup.alarms * prices.alarm_per_month,
        "dashboards": setup.dashboards * prices.dashboard_per_month,
        "metrics": (work.metrics + KEEPER_METRICS) * prices.metric_per_month,
        "route_metrics": routes * prices.metric_per_month,
        "keys": setup.keys * prices.key_per_month,
        "secrets": setup.secrets * prices.secret_per_month,
        "keeper": keeper_s * setup.keeper_mb / 1024 * gb_second + MONTH_S / 60 * prices.lambda_per_request,
        "keeper_calls": MONTH_S / 60 * _keeper_calls_usd(prices)
        + MONTH_S / WATERMARK_EVERY_S * prices.s3_per_put
        + MONTH_S / SECRET_EVERY_S * prices.secret_per_call,
        "history": (MONTH_S / 60 + MONTH_S / 3600) * HISTORY_UNITS * prices.dynamodb_per_write_unit,
        "compaction_runs": COMPACTIONS
        * (
            COMPACTION_S * setup.retrainer_mb / 1024 * gb_second
            + prices.lambda_per_request
            + COMPACTION_PUTS * prices.s3_per_put
        ),
        "retrainer": retrainer_s * setup.retrainer_mb / 1024 * gb_second + retrainings * prices.lambda_per_request,
    }


def _keeper_calls_usd(prices: HopPrices) -> float:
    return KEEPER_READ_UNITS * prices.dynamodb_per_read_unit + KEEPER_GETS * prices.s3_per_get


def _reads_usd(prices: HopPrices) -> float:
    return READS_UNITS * prices.dynamodb_per_read_unit + READS_GETS * prices.s3_per_get


def _keys_usd(prices: HopPrices, work: Work) -> float:
    return work.key_units * prices.dynamodb_per_write_unit + work.key_read_units * prices.dynamodb_per_read_unit


def _watched_usd(prices: HopPrices) -> float:
    """Of an intent that is open when the archiver comes by: watched, looked at, and watched no longer."""
    return 2 * prices.dynamodb_per_write_unit + 2 * prices.dynamodb_per_read_unit


def _recording(
    prices: HopPrices, work: Work, setup: Setup, among: Shared, *, opened: float, functions: int = 1
) -> Parts:
    """What a record costs from its intent to the end of its days; kept things as in a month long after the first.
    `opened` of them have an intent."""
    batch, many = among.records_per_batch, among.records_per_object
    # By memory a shorter time of more of it. An intent is read and left.
    computing_usd = work.consumer_cpu_ms * AWS_FULL_CPU_MB / 1024 / 1000 * prices.gb_second(setup.architecture)
    kept, archived = setup.kept_days / MONTH_DAYS, setup.archive_days / MONTH_DAYS
    table_usd = work.table_bytes * (prices.dynamodb_per_gb_month + prices.dynamodb_backup_per_gb_month)
    return {
        "log_table": (work.record_units + opened * work.intent_units) * prices.dynamodb_per_write_unit,
        "states": work.fold_units.per_record(batch, functions) * prices.dynamodb_per_write_unit,
        "consumer": computing_usd + prices.lambda_per_request / batch,
        "consumer_reads": work.fold_read_units.per_record(batch, functions) * prices.dynamodb_per_read_unit,
        "archiver": computing_usd + prices.lambda_per_request / many,
        "archiver_reads": work.archive_read_units.per_record(many) * prices.dynamodb_per_read_unit,
        "archive": work.archive_puts.per_record(many) * prices.s3_per_put,
        "compaction": work.archive_puts.per_record(many) * _compacted_usd(prices, setup),
        "archive_kept": work.archive_bytes.per_record(many) / GIB * archived * prices.s3_per_gb_month,
        "log_kept": table_usd / GIB * kept,
        "prediction_lines": work.prediction_bytes.per_record(many) * _per_line_byte(prices, setup),
        "readers_lines": setup.lambda_lines_bytes * (1 / batch + 1 / many) * _per_line_byte(prices, setup),
    }


def _compacted_usd(prices: HopPrices, setup: Setup) -> float:
    """Of each small object: read once more, named in a listing of a thousand (priced as a put), deleted for nothing."""
    gb_s = setup.retrainer_mb / 1024 * COMPACT_OBJECT_MS / 1000
    return prices.s3_per_get + prices.s3_per_put / 1_000 + gb_s * prices.gb_second(setup.architecture)


def _per_line_byte(prices: HopPrices, setup: Setup) -> float:
    """Written, and kept compressed."""
    kept_usd = LOGS_PACKED * setup.log_days / MONTH_DAYS * prices.logs_kept_per_gb_month
    return (prices.logs_per_gb + kept_usd) / GIB


def _access_log_usd(prices: HopPrices, setup: Setup) -> float:
    if setup.front_door is FrontDoor.URL:
        return 0.0
    return (setup.access_log_bytes + EVENT_BYTES) * _per_line_byte(prices, setup)


@cache
def current(region: str = HOME_REGION) -> HopPrices:
    """The prices that ship with this code (`hop_prices.json` beside this module); HOME_REGION's for what is not known
    of another region."""
    data = json.loads(Path(__file__).with_name("hop_prices.json").read_text(encoding="utf-8"))
    own = data["regions"].get(region, {})
    if "http_api_per_request" in own:  # where its price above the tier is not known, the first one counts
        own = {"http_api_per_request_above": own["http_api_per_request"], **own}
    return HopPrices(version=data["version"], as_of=data["as_of"], **data["usd"] | own)
