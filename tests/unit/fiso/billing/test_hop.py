from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import hop
from fiso.billing.hop import HopPrices, Work
from fiso.domain.endpoint import Provider

PRICES = HopPrices(
    version="t",
    as_of="2025-01-15",
    http_api_per_request=1e-6,
    lambda_per_request=2e-7,
    lambda_per_gb_second=2e-5,
    dynamodb_per_write_unit=1e-6,
    dynamodb_per_read_unit=1e-7,
    s3_per_put=5e-6,
    logs_per_gb=0.5,
    egress_per_gb={Provider.AWS: 0.1, Provider.AZURE: 0.08, Provider.GCP: 0.12},
)
WORK = Work(
    cpu_ms=1.0,
    store_wait_ms=10.0,
    open_bytes=200,
    record_bytes=1_500,
    consumer_cpu_ms=1.0,
    records_per_batch=10,
    log_bytes=1_000,
)


def test_a_proxied_request_worked_by_hand() -> None:
    parts = hop.proxy_hop(PRICES, WORK, memory_mb=1024, waited_ms=100)
    assert parts["lambda_waiting"] == pytest.approx(0.1 * 2e-5)
    assert parts["lambda_own_time"] == pytest.approx((10 + 1769 / 1024) / 1000 * 2e-5)
    assert parts["dynamodb_log"] == pytest.approx((2 * 2 + 1 + 2) * 1e-6)  # record and index, intent, sparse index
    assert parts["dynamodb_state"] == pytest.approx((2 + 2 * 2 / 10) * 1e-6)
    assert parts["dynamodb_reads"] == pytest.approx(2e-7)  # the record as it is folded, and its marker
    assert parts["archive"] == pytest.approx(5e-7)
    assert parts["log_lines"] == pytest.approx(5e-7)
    assert hop.total_usd(parts) == pytest.approx(sum(parts.values()))


def test_a_leased_call_waits_for_nothing_and_shares_its_api_requests() -> None:
    parts = hop.lease_hop(PRICES, WORK, memory_mb=1024, calls_per_lease=50, outcomes_per_report=100)
    assert parts["lambda_waiting"] == 0
    assert parts["api_gateway"] == pytest.approx(3e-8)
    assert parts["dynamodb_log"] == pytest.approx(4e-6)


def test_data_within_aws_is_free_and_leaves_at_both_ends_elsewhere() -> None:
    def cost(provider: Provider) -> float:
        return hop.egress_usd(PRICES, provider, request_bytes=10**9, response_bytes=2 * 10**9)

    assert cost(Provider.AWS) == 0
    assert cost(Provider.GCP) == pytest.approx(0.1 + 0.24)


@given(st.integers(128, 10_240), st.floats(0, 900_000), st.floats(0, 900_000))
def test_waiting_longer_never_costs_less_and_leasing_never_costs_more(memory_mb: int, one: float, other: float) -> None:
    short, long = (
        hop.total_usd(hop.proxy_hop(PRICES, WORK, memory_mb=memory_mb, waited_ms=ms)) for ms in sorted((one, other))
    )
    leased = hop.lease_hop(PRICES, WORK, memory_mb=memory_mb, calls_per_lease=10, outcomes_per_report=10)
    assert hop.total_usd(leased) <= short <= long


def test_more_than_a_whole_processor_makes_one_request_no_faster() -> None:
    assert hop.own_time_ms(WORK, 1769) == hop.own_time_ms(WORK, 3008) == 11
    assert hop.own_time_ms(replace(WORK, cpu_ms=2.0), 1769) == 12


def test_the_prices_that_ship_are_dated_and_whole() -> None:
    shipped = hop.current()
    assert shipped.as_of
    assert set(shipped.egress_per_gb) == set(Provider)
    assert 0 < shipped.dynamodb_per_write_unit < shipped.http_api_per_request
