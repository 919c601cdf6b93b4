from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import hop, tariff
from fiso.billing.hop import Amount, FrontDoor, HopPrices, Setup, Work
from fiso.domain.endpoint import Architecture, Endpoint, EndpointId, Provider

PRICES = HopPrices(
    version="t",
    as_of="2026-09-22",
    http_api_per_request=1e-6,
    http_api_per_request_above=9e-7,
    lambda_per_request=2e-7,
    lambda_per_gb_second=2e-5,
    lambda_arm64_per_gb_second=1.6e-5,
    dynamodb_per_write_unit=1e-6,
    dynamodb_per_read_unit=2e-7,
    dynamodb_per_gb_month=0.25,
    dynamodb_backup_per_gb_month=0.2,
    s3_per_put=5e-6,
    s3_per_get=4e-7,
    s3_per_gb_month=0.02,
    logs_per_gb=0.5,
    logs_kept_per_gb_month=0.03,
    metric_per_month=0.3,
    alarm_per_month=0.1,
    dashboard_per_month=3.0,
    key_per_month=1.0,
    secret_per_month=0.4,
    secret_per_call=5e-6,
    trace_recorded=5e-6,
)
WORK = Work(
    cpu_ms=1.0,
    write_wait_ms=5.0,
    cold_ms=200.0,
    record_units=2.0,
    intent_units=1.0,
    key_units=2.0,
    key_read_units=1.0,
    fold_units=Amount(record=2.0, batch=4.0),
    fold_read_units=Amount(record=2.0, batch=1.0),
    archive_read_units=Amount(record=0.5),
    archive_puts=Amount(record=0.0, batch=1.0),
    archive_bytes=Amount(record=100.0, batch=700.0),
    prediction_bytes=Amount(record=0.0, batch=300.0),
    consumer_cpu_ms=1.0,
    table_bytes=1_500.0,
    log_bytes=700.0,
    metrics=20.0,
)
SETUP = Setup(memory_mb=1_024, access_log_bytes=274, alarms=20, dashboards=3, keys=2, secrets=2)
rates = st.floats(1e-3, 1e4)
FIXED = {
    "alarms": 2.00,
    "dashboards": 9.00,
    "metrics": 6.90,  # 23 at 0.30
    "route_metrics": 7.20,  # 4 routes of 6
    "keys": 2.00,
    "secrets": 0.80,
    "keeper": 0.18,  # 43,800 times 0.8 s of 0.25 GB: 8,760 GB-s, and 43,800 requests
    "keeper_calls": 0.20,  # 43,800 times 9 units and 3 GETs, 8,760 puts, 4,380 readings of a secret
    "history": 0.09,  # 43,800 minutes and 730 hours of one function, two units each
    "compaction_runs": 0.29,  # 730 times 5 s of 2.9375 GB, and 20 puts
    "retrainer": 1.07,  # 30.4 times 600 s of 2.9375 GB
}
# A month has 2,628,000 s. At 1 a second a batch has 1 record, at 10 it has 2.5, at 100 25, at 1,000 no more than 100.
# The archiver's has 11.25, 112.5, 1,125, and no more than 2,516.58, whose events are 6 MB.
# By request, whatever the rate: own time 12 ms of 1 GB, 2.4e-7; waiting 2e-6; three units of the table; 1,500 bytes
# kept for 35 days at 0.45; 1,024 and 300 bytes of lines at 0.50 and 12 months of 15 % at 0.03.
MONTHS = {
    1.0: {
        "front_door": 2.63,
        "lambda_request": 0.53,
        "lambda_own_time": 0.63,
        "lambda_waiting": 5.26,
        "lambda_starts": 0.0,
        "reads": 0.31,  # one request in 6: 1 / (1 + 5)
        "log_table": 7.88,
        "states": 15.77,  # 2 + 4 units
        "consumer": 0.62,
        "consumer_reads": 1.58,
        "log_lines": 1.39,
        "archiver": 0.14,  # 1 ms of a whole processor a record, a request an object
        "archiver_reads": 0.26,
        "archive": 1.17,  # an object of 11.25 records
        "compaction": 0.12,  # of each object 4e-7 to read, 5e-9 to list, 2 ms of 2.9375 GB
        "archive_kept": 0.19,  # 162 bytes for 24 months
        "log_kept": 1.90,
        "access_log": 0.41,
        "prediction_lines": 0.04,
        "readers_lines": 0.48,  # 324 bytes for each batch and each object
        "open_intents": 0.02,  # of 112 ms in 45 s: two writes and two reads
        "traces": 0.0,
    },
    10.0: {
        "front_door": 26.28,
        "lambda_request": 5.26,
        "lambda_own_time": 6.31,
        "lambda_waiting": 52.56,
        "lambda_starts": 0.0,
        "reads": 0.40,  # 1.12 environments, 8.93 requests a second each: one request in 45.6
        "log_table": 78.84,
        "states": 94.61,  # 2 + 4 / 2.5 units
        "consumer": 3.01,
        "consumer_reads": 12.61,
        "log_lines": 13.88,
        "archiver": 0.95,
        "archiver_reads": 2.63,
        "archive": 1.17,
        "compaction": 0.12,
        "archive_kept": 1.25,
        "log_kept": 19.01,
        "access_log": 4.07,
        "prediction_lines": 0.04,
        "readers_lines": 1.80,
        "open_intents": 0.16,
        "traces": 0.0,
    },
    100.0: {
        "front_door": 262.80,
        "lambda_request": 52.56,
        "lambda_own_time": 63.07,
        "lambda_waiting": 525.60,
        "lambda_starts": 0.02,  # 11.2 environments, each new every two hours
        "reads": 4.03,
        "log_table": 788.40,
        "states": 567.65,  # 2 + 4 / 25 units
        "consumer": 11.18,
        "consumer_reads": 107.22,
        "log_lines": 138.85,
        "archiver": 9.13,
        "archiver_reads": 26.28,
        "archive": 1.17,
        "compaction": 0.12,
        "archive_kept": 11.82,
        "log_kept": 190.10,
        "access_log": 40.68,
        "prediction_lines": 0.04,
        "readers_lines": 1.80,
        "open_intents": 1.57,
        "traces": 0.0,
    },
    1_000.0: {
        "front_door": 2_395.20,  # 300 million at 1.00, 2,328 million at 0.90
        "lambda_request": 525.60,
        "lambda_own_time": 630.72,
        "lambda_waiting": 5_256.00,
        "lambda_starts": 0.16,
        "reads": 40.30,
        "log_table": 7_884.00,
        "states": 5_361.12,  # 2 + 4 / 100 units
        "consumer": 96.06,
        "consumer_reads": 1_056.46,
        "log_lines": 1_388.47,
        "archiver": 91.01,
        "archiver_reads": 262.80,
        "archive": 5.22,
        "compaction": 0.55,
        "archive_kept": 117.81,
        "log_kept": 1_901.02,
        "access_log": 406.78,
        "prediction_lines": 0.16,
        "readers_lines": 4.57,
        "open_intents": 15.70,
        "traces": 0.0,
    },
}


def month(rate: float, setup: Setup = SETUP) -> Mapping[str, float]:
    parts = hop.proxy_hop(PRICES, WORK, setup, waited_ms=100, own_ms=12, rate_per_s=rate)
    return {name: usd * rate * hop.MONTH_S for name, usd in parts.items()}


@pytest.mark.parametrize("rate", MONTHS)
def test_a_month_worked_by_hand(rate: float) -> None:
    found = month(rate)
    assert {name: found[name] for name in MONTHS[rate]} == pytest.approx(MONTHS[rate], abs=0.005)
    assert found["idempotency_keys"] == 0
    assert hop.month_parts(PRICES, WORK, SETUP) == pytest.approx(FIXED, abs=0.005)
    assert found["stage"] == pytest.approx(sum(FIXED.values()), abs=0.01)
    assert found.keys() == {*MONTHS[rate], "idempotency_keys", "stage"}


@pytest.mark.parametrize("rate", MONTHS)
def test_by_its_url_a_stage_saves_the_front_door_its_log_and_metrics_and_nothing_else(rate: float) -> None:
    api, url = month(rate), month(rate, replace(SETUP, front_door=FrontDoor.URL))
    saved = MONTHS[rate]["front_door"] + MONTHS[rate]["access_log"] + FIXED["route_metrics"]
    assert sum(api.values()) - sum(url.values()) == pytest.approx(saved, abs=0.01)


def test_keys_functions_and_the_other_processor_are_counted() -> None:
    usual = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=100)
    keyed = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=100, keyed_share=0.5)
    assert keyed["idempotency_keys"] == pytest.approx(0.5 * (2 * 1e-6 + 2e-7))
    several = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=100, functions=5)
    assert several["states"] == pytest.approx((2 + 5 * 4 / 25) * 1e-6)
    countless = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=100, functions=1_000)
    assert countless["states"] == pytest.approx((2 + 4) * 1e-6)  # each record a fold of its own
    arm = hop.proxy_hop(PRICES, WORK, replace(SETUP, architecture=Architecture.ARM64), waited_ms=100, rate_per_s=100)
    assert arm["lambda_waiting"] == pytest.approx(0.8 * usual["lambda_waiting"])
    assert arm["consumer"] < usual["consumer"]


def test_a_leased_call_waits_for_nothing_and_shares_its_api_requests() -> None:
    parts = hop.lease_hop(PRICES, WORK, SETUP, calls_per_lease=50, outcomes_per_report=100)
    assert parts["lambda_waiting"] == 0
    assert parts["front_door"] == pytest.approx(3e-8)
    assert parts["log_table"] == pytest.approx(2e-6)
    assert "open_intents" not in parts


def test_what_may_be_repeated_pays_for_no_intent_and_does_not_wait_for_it() -> None:
    usual = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=1)
    half = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=1, repeatable_share=0.5)
    assert usual["log_table"] - half["log_table"] == pytest.approx(0.5e-6)
    assert usual["lambda_own_time"] - half["lambda_own_time"] == pytest.approx(2.5e-3 * 2e-5)
    every = hop.proxy_hop(PRICES, WORK, SETUP, waited_ms=100, rate_per_s=1, repeatable_share=1.0)
    assert every["open_intents"] == 0


@given(st.integers(128, 10_240), st.floats(0, 900_000), st.floats(0, 900_000), rates, st.sampled_from(FrontDoor))
def test_waiting_longer_never_costs_less_and_leasing_never_costs_more(
    memory_mb: int, one: float, other: float, rate: float, front_door: FrontDoor
) -> None:
    setup = replace(SETUP, memory_mb=memory_mb, front_door=front_door)
    short, long = (
        hop.total_usd(hop.proxy_hop(PRICES, WORK, setup, waited_ms=ms, rate_per_s=rate)) for ms in sorted((one, other))
    )
    leased = hop.lease_hop(PRICES, WORK, setup, calls_per_lease=10, outcomes_per_report=10, rate_per_s=rate)
    assert hop.total_usd(leased) <= short * 1.000001
    assert short <= long * 1.000001


@given(rates, rates, st.sampled_from(FrontDoor))
def test_a_busier_stage_never_pays_more_for_a_request_nor_less_for_a_month(
    one: float, other: float, door: FrontDoor
) -> None:
    setup = replace(SETUP, front_door=door)
    slow, quick = (
        hop.total_usd(hop.proxy_hop(PRICES, WORK, setup, waited_ms=100, rate_per_s=rate))
        for rate in sorted((one, other))
    )
    assert quick <= slow * 1.000001
    assert quick * max(one, other) >= slow * min(one, other) * 0.999999


def test_more_than_a_whole_processor_makes_one_request_no_faster() -> None:
    assert hop.own_time_ms(WORK, 1769) == hop.own_time_ms(WORK, 3008) == 11
    assert hop.own_time_ms(replace(WORK, cpu_ms=2.0), 1769) == 12


def test_the_prices_that_ship_are_dated_and_a_region_has_its_own() -> None:
    shipped, tokyo = hop.current(), hop.current("ap-northeast-1")
    assert shipped.as_of.startswith("2026-")
    assert 0 < shipped.dynamodb_per_write_unit < shipped.http_api_per_request
    assert tokyo.logs_per_gb > shipped.logs_per_gb
    assert tokyo.http_api_per_request_above == tokyo.http_api_per_request  # its own second price is not known
    assert hop.current("nowhere-1") == shipped


@pytest.mark.parametrize("architecture", Architecture)
def test_lambda_has_one_price_here_and_in_the_tariffs(architecture: Architecture) -> None:
    copy = Endpoint(
        id=EndpointId("a"),
        provider=Provider.AWS,
        region=hop.HOME_REGION,
        memory_mb=1_024,
        address="f",
        architecture=architecture,
    )
    by_tariff = tariff.current().cost_usd(copy, 1_000.0)
    here = hop.current()
    assert by_tariff == pytest.approx(here.lambda_per_request + here.gb_second(architecture))
