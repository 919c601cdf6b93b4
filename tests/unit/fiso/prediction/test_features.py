from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.state import EndpointState
from fiso.prediction import features
from tests.builders import NOW, a_feature_row, a_state, an_endpoint

BUSY = a_state(attempts=20, latency_ms=80.0, arrival_interval_ms=20.0, last_called_at=NOW - timedelta(seconds=3))


def seen(state: EndpointState | None, *, now: datetime = NOW, **endpoint: Any) -> dict[str, float]:
    row = a_feature_row(state, now=now, in_flight=features.in_flight(now, state), **endpoint)
    return dict(zip(features.NAMES, row, strict=True))


def test_every_feature_is_where_its_name_says() -> None:
    assert seen(BUSY, provider=Provider.GCP, concurrency_limit=8) == {
        "cloud_provider_encoded": 2.0,
        "function_type_encoded": float(crc32(b"text") % 1024),
        "request_size_bytes": 17.0,
        "day_of_week": 1.0,
        "hour_of_day": 9.0,
        "region_encoded": 0.0,
        "historical_avg_latency": 80.0,
        "current_load_factor": 0.5,
        "in_flight": 4.0,
        "idle_seconds": 3.0,
        "memory_mb": 512.0,
    }


def test_an_endpoint_never_called_has_the_stated_defaults() -> None:
    unknown = seen(None)
    assert unknown["historical_avg_latency"] == features.DEFAULT_LATENCY_MS
    assert unknown["idle_seconds"] == features.LONGEST_IDLE_S
    assert unknown["in_flight"] == unknown["current_load_factor"] == 0.0


def test_a_burst_that_is_over_is_no_load() -> None:
    quiet = seen(replace(BUSY, last_called_at=NOW - timedelta(minutes=10)))
    assert quiet["in_flight"] < 0.001


def test_a_silence_within_the_lag_of_the_state_says_nothing_about_load() -> None:
    assert seen(BUSY, now=NOW + timedelta(seconds=5))["in_flight"] == 4.0


def test_sunday_is_7() -> None:
    assert seen(None, now=datetime(2026, 11, 29, 12, tzinfo=UTC))["day_of_week"] == 7.0


def test_neighbouring_regions_of_three_clouds_share_a_code() -> None:
    assert {features.region_code(name) for name in ("us-east-1", "eastus", "us-east4")} == {0.0}


def test_regions_not_listed_have_stable_codes_of_their_own() -> None:
    assert features.region_code("me-south-1") == 10 + crc32(b"me-south-1") % 1024
    assert features.region_code("me-south-1") != features.region_code("af-south-1")


numbers = st.floats(min_value=0, max_value=1e9)
moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001
states = st.builds(
    EndpointState,
    function=st.just(FunctionName("f")),
    endpoint=st.just(EndpointId("e")),
    latency_ms=st.none() | numbers,
    arrival_interval_ms=st.none() | numbers,
    last_called_at=st.none() | moments,
)


@given(st.none() | states, moments, st.text(), st.text(min_size=1), st.integers(min_value=0, max_value=10**9))
def test_features_are_finite_whatever_is_known(
    state: EndpointState | None, now: datetime, function_type: str, region: str, size: int
) -> None:
    row = features.snapshot(
        function_type=function_type,
        endpoint=an_endpoint(region=region),
        request_size_bytes=size,
        now=now,
        state=state,
        in_flight=features.in_flight(now, state),
    )
    assert len(row) == len(features.NAMES)
    assert all(isfinite(value) and value >= 0 for value in row)


@pytest.mark.parametrize("label", ["", "\ud800", "x" * 10_000])
def test_any_label_has_a_code(label: str) -> None:
    assert 0 <= features.function_type_code(label) < 1024


def test_an_instance_stays_while_calls_keep_coming() -> None:
    rare = replace(BUSY, arrival_interval_ms=6_000_000.0)
    assert features.stay(NOW, [BUSY]) > 1000
    assert features.stay(NOW, [rare]) == pytest.approx(2.718281828 ** (600 / 6000))
    assert features.stay(NOW, [rare, rare]) > features.stay(NOW, [rare])
    assert features.stay(NOW, []) == features.stay(NOW, [replace(BUSY, arrival_interval_ms=None)]) > 1000
