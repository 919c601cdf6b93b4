"""The hop: what FISO itself costs on AWS for one request, by dated list prices. Pure.

    API Gateway + the orchestrator's Lambda (its own time, and the time it waits for the function) + the log's and the
    states' writes and the fold's reads of DynamoDB + the stream consumer + the archive + log lines

A leased call has no waiting and shares its API requests with others: a lease serves many calls, a report tells of many.
List prices only: no free tier, no discount.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

from fiso.domain.endpoint import Provider

WRITE_UNIT_BYTES = 1024
AWS_FULL_CPU_MB = 1769
"""The memory at which Lambda gives a whole processor; below it a part (docs.aws.amazon.com/lambda)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPrices:
    """Dated prices in USD; `as_of` an ISO date."""

    version: str
    as_of: str
    http_api_per_request: float
    lambda_per_request: float
    lambda_per_gb_second: float
    dynamodb_per_write_unit: float
    dynamodb_per_read_unit: float
    s3_per_put: float
    logs_per_gb: float
    egress_per_gb: Mapping[Provider, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request makes FISO do, as measured.

    `cpu_ms` on a whole processor, `store_wait_ms` for its two writes; `open_bytes` and `record_bytes` of the two items;
    `consumer_cpu_ms` per record, `records_per_batch` delivered together; `log_bytes` written to CloudWatch.
    """

    cpu_ms: float
    store_wait_ms: float
    open_bytes: int
    record_bytes: int
    consumer_cpu_ms: float
    records_per_batch: float
    log_bytes: int


Parts = Mapping[str, float]
"""USD per request, by what it is paid for."""

STATE_BYTES = 2 * WRITE_UNIT_BYTES
MARKER_UNITS = 2
"""A fold's marker is written in a transaction, which costs two units for each."""
READS_TO_FOLD = 2
"""The record, consistently, and whether it has a marker: a unit each, up to 4 KB."""
CONSUMER_MB = 256


def proxy_hop(prices: HopPrices, work: Work, *, memory_mb: int, waited_ms: float, own_ms: float | None = None) -> Parts:
    """The parts of one proxied request to a function that takes `waited_ms`; `own_ms` where it was measured there."""
    own_ms = own_time_ms(work, memory_mb) if own_ms is None else own_ms
    gb_ms = memory_mb / 1024 / 1000 * prices.lambda_per_gb_second
    return {
        "api_gateway": prices.http_api_per_request,
        "lambda_request": prices.lambda_per_request,
        "lambda_own_time": own_ms * gb_ms,
        "lambda_waiting": waited_ms * gb_ms,
        **_recording(prices, work, is_opened=True),
    }


def lease_hop(
    prices: HopPrices, work: Work, *, memory_mb: int, calls_per_lease: float, outcomes_per_report: float
) -> Parts:
    """The parts of one leased call: its share of a lease and of a report, and its record."""
    share = 1 / calls_per_lease + 1 / outcomes_per_report
    gb_ms = memory_mb / 1024 / 1000 * prices.lambda_per_gb_second
    decided_ms = work.cpu_ms * AWS_FULL_CPU_MB / min(memory_mb, AWS_FULL_CPU_MB)
    return {
        "api_gateway": share * prices.http_api_per_request,
        "lambda_request": share * prices.lambda_per_request,
        "lambda_own_time": (share * decided_ms + work.store_wait_ms / 2 / outcomes_per_report) * gb_ms,
        "lambda_waiting": 0.0,
        **_recording(prices, work, is_opened=False),
    }


def own_time_ms(work: Work, memory_mb: int) -> float:
    """What a request takes beside the function: computing by the share of a processor, waiting as it is."""
    return work.cpu_ms * AWS_FULL_CPU_MB / min(memory_mb, AWS_FULL_CPU_MB) + work.store_wait_ms


def total_usd(parts: Parts) -> float:
    return sum(parts.values())


def egress_usd(prices: HopPrices, provider: Provider, *, request_bytes: int, response_bytes: int) -> float:
    """Data transfer of one call: out of AWS to another cloud, and out of that cloud back. Within AWS none is."""
    if provider is Provider.AWS:
        return 0.0
    sent = request_bytes * prices.egress_per_gb[Provider.AWS] + response_bytes * prices.egress_per_gb[provider]
    return sent / 1e9


def _recording(prices: HopPrices, work: Work, *, is_opened: bool) -> Parts:
    """An intent also enters and leaves the sparse index; a record enters the index by time whole."""
    record, intent = _units(work.record_bytes), _units(work.open_bytes)
    log_units = 2 * record + (intent + 2 if is_opened else 0)
    batch = work.records_per_batch
    fold_units = MARKER_UNITS + MARKER_UNITS * _units(STATE_BYTES) / batch
    consumer_gb_s = CONSUMER_MB / 1024 * work.consumer_cpu_ms * AWS_FULL_CPU_MB / CONSUMER_MB / 1000
    return {
        "dynamodb_log": log_units * prices.dynamodb_per_write_unit,
        "dynamodb_state": fold_units * prices.dynamodb_per_write_unit,
        "dynamodb_reads": READS_TO_FOLD * prices.dynamodb_per_read_unit,
        "consumer": consumer_gb_s * prices.lambda_per_gb_second + prices.lambda_per_request / batch,
        "archive": prices.s3_per_put / batch,
        "log_lines": work.log_bytes / 1e9 * prices.logs_per_gb,
    }


def _units(size_bytes: int) -> int:
    return ceil(size_bytes / WRITE_UNIT_BYTES)


@cache
def current() -> HopPrices:
    """The prices that ship with this code (`hop_prices.json` beside this module)."""
    data = json.loads(Path(__file__).with_name("hop_prices.json").read_text(encoding="utf-8"))
    usd = dict(data["usd"])
    egress = {Provider(name): price for name, price in usd.pop("egress_per_gb").items()}
    return HopPrices(version=data["version"], as_of=data["as_of"], egress_per_gb=egress, **usd)


STORE_WAIT_MS = 10.0
"""Two writes of 5 ms: AWS promises single-digit milliseconds for DynamoDB (aws.amazon.com/dynamodb)."""
CALLS_PER_LEASE, OUTCOMES_PER_REPORT = 60.0, 100.0
"""A lease of 60 s at one call a second; full reports."""
BATCH = 25
REFERENCE = Work(
    cpu_ms=0.54,
    store_wait_ms=STORE_WAIT_MS,
    open_bytes=208,
    record_bytes=1_232,
    consumer_cpu_ms=0.062,
    records_per_batch=BATCH,
    log_bytes=891,
)
REFERENCE_COLD_MS = 215.0
"""Measured on the 2-core machine of docs/decisions/0008: what the deployed memory was chosen by."""
