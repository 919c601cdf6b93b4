from dataclasses import replace
from operator import mul
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import hop
from fiso.billing.hop import HopPrices, Work
from fiso_cli.local_stage import project_file

PRICES = HopPrices(
    version="t",
    as_of="2026-09-22",
    http_api_per_request=1e-6,
    lambda_per_request=2e-7,
    lambda_per_gb_second=2e-5,
    dynamodb_per_write_unit=1e-6,
    dynamodb_per_read_unit=2e-7,
    dynamodb_per_gb_month=0.25,
    dynamodb_backup_per_gb_month=0.2,
    s3_per_put=5e-6,
    s3_per_get=4e-7,
    s3_per_gb_month=0.02,
    logs_per_gb=0.5,
    alarm_per_month=0.1,
    dashboard_per_month=3.0,
    key_per_month=1.0,
    secret_per_month=0.4,
)
WORK = Work(cpu_ms=1.0, store_wait_ms=10.0, open_bytes=200, record_bytes=1_500, consumer_cpu_ms=1.0, log_bytes=1_000)
rates = st.floats(1e-3, 1e4)


def test_a_proxied_request_worked_by_hand() -> None:
    parts = hop.proxy_hop(PRICES, WORK, memory_mb=1024, waited_ms=100, rate_per_s=40.0)
    own_ms = 10 + 1769 / 1024
    assert parts["lambda_waiting"] == pytest.approx(0.1 * 2e-5)
    assert parts["lambda_own_time"] == pytest.approx(own_ms / 1000 * 2e-5)
    assert parts["dynamodb_log"] == pytest.approx((2 * 2 + 1 + 1 + 2) * 1e-6)  # record and index, tenant, intent, open
    assert parts["dynamodb_state"] == pytest.approx((2 + 2 * 2 / 10) * 1e-6)  # 40 a second on 4 shards: 10 in a batch
    assert parts["archive"] == pytest.approx(5e-7)
    environments = 40 * (100 + own_ms) / 1000
    assert parts["reads"] == pytest.approx((1.5 * 2e-7 + 4e-7) / (1 + 5 * 40 / environments))
    assert parts["lambda_starts"] == pytest.approx(environments / 40 / 7200 * 0.215 * 2e-5)
    assert parts["storage"] == pytest.approx(1_500 / 2**30 * (2 * 0.25 + 0.2 + 0.02))
    assert parts["log_lines"] == pytest.approx(1_000 / 2**30 * 0.5)
    keeper = 43_800 * (0.25 * 0.8 * 2e-5 + 2e-7)
    assert parts["stage"] == pytest.approx((18 * 0.1 + 3 * 3.0 + 2 * 1.0 + 2 * 0.4 + keeper) / (40 * 2_628_000))
    assert hop.total_usd(parts) == pytest.approx(sum(parts.values()))


def test_at_one_request_a_second_little_is_shared() -> None:
    slow, quick = (hop.proxy_hop(PRICES, WORK, memory_mb=256, waited_ms=100, rate_per_s=rate) for rate in (1.0, 400.0))
    assert slow["dynamodb_state"] == pytest.approx((2 + 2 * 2) * 1e-6)
    assert quick["dynamodb_state"] == pytest.approx((2 + 2 * 2 / 100) * 1e-6)
    assert slow["archive"] == 100 * quick["archive"]
    assert slow["stage"] == pytest.approx(400 * quick["stage"])


def test_a_leased_call_waits_for_nothing_and_shares_its_api_requests() -> None:
    parts = hop.lease_hop(PRICES, WORK, memory_mb=1024, calls_per_lease=50, outcomes_per_report=100)
    assert parts["lambda_waiting"] == 0
    assert parts["front_door"] == pytest.approx(3e-8)
    assert parts["dynamodb_log"] == pytest.approx(5e-6)


@given(st.integers(128, 10_240), st.floats(0, 900_000), st.floats(0, 900_000), rates)
def test_waiting_longer_never_costs_less_and_leasing_never_costs_more(
    memory_mb: int, one: float, other: float, rate: float
) -> None:
    short, long = (
        hop.total_usd(hop.proxy_hop(PRICES, WORK, memory_mb=memory_mb, waited_ms=ms, rate_per_s=rate))
        for ms in sorted((one, other))
    )
    leased = hop.lease_hop(
        PRICES, WORK, memory_mb=memory_mb, calls_per_lease=10, outcomes_per_report=10, rate_per_s=rate
    )
    assert hop.total_usd(leased) <= short * 1.000001
    assert short <= long * 1.000001


@given(rates, rates)
def test_a_busier_stage_never_pays_more_for_a_request(one: float, other: float) -> None:
    slow, quick = (
        hop.total_usd(hop.proxy_hop(PRICES, WORK, memory_mb=256, waited_ms=100, rate_per_s=rate))
        for rate in sorted((one, other))
    )
    assert quick <= slow * 1.000001


def test_more_than_a_whole_processor_makes_one_request_no_faster() -> None:
    assert hop.own_time_ms(WORK, 1769) == hop.own_time_ms(WORK, 3008) == 11
    assert hop.own_time_ms(replace(WORK, cpu_ms=2.0), 1769) == 12


def test_the_prices_that_ship_are_dated_and_a_region_has_its_own() -> None:
    shipped = hop.current()
    assert shipped.as_of.startswith("2026-")
    assert 0 < shipped.dynamodb_per_write_unit < shipped.http_api_per_request
    assert hop.current("ap-northeast-1").logs_per_gb > shipped.logs_per_gb
    assert hop.current("nowhere-1") == shipped


def test_what_a_stage_pays_by_the_month_is_what_its_template_makes() -> None:
    folder = Path(project_file("serverless.yml")).parent / "scripts/serverless"
    made = [
        resource["Type"]
        for name in ("alarms", "dashboards", "signing")
        for resource in yaml.safe_load((folder / f"{name}.yml").read_text())["Resources"].values()
    ]
    counted = [made.count(f"AWS::{kind}") for kind in ("CloudWatch::Alarm", "CloudWatch::Dashboard", "KMS::Key")]
    prices = (PRICES.alarm_per_month, PRICES.dashboard_per_month, PRICES.key_per_month)
    paid, taken = (sum(map(mul, numbers, prices)) for numbers in (counted, (hop.ALARMS, hop.DASHBOARDS, hop.KEYS)))
    assert taken == pytest.approx(paid, rel=0.1)
    stream = yaml.safe_load(project_file("serverless.yml").read_text())["functions"]["stream_consumer"]["events"]
    assert (stream[0]["stream"]["batchSize"], stream[0]["stream"]["batchWindow"]) == (
        hop.BATCH_SIZE,
        hop.BATCH_WINDOW_S,
    )
