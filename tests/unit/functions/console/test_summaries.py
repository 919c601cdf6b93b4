from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import RecordStatus
from fiso.domain.state import EndpointState
from functions.console.views import charts, formats
from functions.console.views.summaries import health, percentile, summarise
from tests.builders import NOW, a_record, an_attempt, an_endpoint


def test_nothing_has_no_figures() -> None:
    summary = summarise([])
    assert (summary.total.count, summary.providers, summary.newest) == (0, (), None)
    assert summary.total.latency_p50_ms is summary.total.cost_usd is summary.total.accuracy is None
    assert charts.strip([]).columns == ()


def test_figures_worked_by_hand() -> None:
    records = [
        a_record(1, execution_time_ms=10.0, cost_usd=1e-6, prediction_accuracy=0.5, overhead_ms=1.0),
        a_record(2, execution_time_ms=30.0, cost_usd=3e-6, prediction_accuracy=1.0, overhead_ms=3.0, cold_start=True),
        a_record(3, execution_time_ms=20.0, cost_usd=None, prediction_accuracy=None, reason=Reason.FAILOVER),
        a_record(4, cloud_provider=Provider.GCP, execution_time_ms=90.0, cost_usd=2e-6, error_occurred=True),
    ]
    summary = summarise(records)
    total = summary.total
    assert (total.latency_p50_ms, total.latency_p95_ms, total.errors, total.failovers) == (20.0, 90.0, 1, 1)
    assert total.cost_usd == pytest.approx(2e-6)
    assert total.unpriced == 1
    assert total.accuracy == pytest.approx((0.5 + 1.0 + 0.9) / 3)
    assert [(part.provider, part.share) for part in summary.providers] == [("aws", 0.75), ("gcp", 0.25)]
    assert summary.cold_share == 0.25


def test_an_invocation_that_called_nothing_neither_cheapens_nor_counts_as_unpriced() -> None:
    nothing = a_record(2, attempts=(), cloud_provider=None, cost_usd=0.0, status=RecordStatus.UNKNOWN)
    total = summarise([a_record(1, cost_usd=4e-6), nothing]).total
    assert (total.cost_usd, total.unpriced) == (4e-6, 0)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=40), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_a_value_that_at_least_its_share_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


@given(st.lists(st.sampled_from([*Provider, None]), min_size=1, max_size=30))
def test_shares_fill_the_bar_without_a_gap(providers: list[Provider | None]) -> None:
    summary = summarise([a_record(number, cloud_provider=p) for number, p in enumerate(providers)])
    segments, reached = charts.shares(summary.providers), 0.0
    for segment in segments:
        assert segment.start == pytest.approx(reached, abs=0.01)
        reached = segment.start + segment.width
    assert reached == pytest.approx(100, abs=0.01)


@given(st.lists(st.none() | st.floats(min_value=0, max_value=1e7), max_size=60))
def test_the_strip_stays_in_its_box_and_says_what_it_cut(latencies: list[float | None]) -> None:
    drawn = charts.strip([a_record(n, execution_time_ms=latency) for n, latency in enumerate(latencies)])
    assert len(drawn.columns) == len(latencies)
    assert all(0 <= c.start <= 100 and 0 < c.height <= 100 for c in drawn.columns)
    assert drawn.cut == sum((latency or 0) > drawn.ceiling_ms for latency in latencies)


def test_a_timeline_shows_attempts_one_after_the_other_from_the_requests_arrival() -> None:
    start = a_record().timestamp
    attempts = (
        an_attempt("aws", started_at=start + timedelta(milliseconds=10), latency_ms=40.0, status=503),
        an_attempt("gcp", started_at=start + timedelta(milliseconds=50), latency_ms=50.0),
    )
    drawn = charts.timeline(a_record(attempts=attempts))
    assert drawn.total_ms == pytest.approx(100)
    assert [timed.offset_ms for timed in drawn.attempts] == pytest.approx([10, 50])
    assert [(t.bar.start, t.bar.width, t.bar.kind) for t in drawn.attempts] == [(10, 40, "error"), (50, 50, "ok")]


def state(**changes: int | float) -> EndpointState:
    fields = {"attempts": 10, "latency_ms": 100.0} | changes
    return EndpointState(function=FunctionName("f"), endpoint=EndpointId("aws"), last_called_at=NOW, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folded", "condition"),
    [
        (None, "idle"),
        (state(attempts=0), "idle"),
        (state(), "healthy"),
        (state(error_rate=0.05), "troubled"),
        (state(consecutive_failures=1), "troubled"),
        (state(consecutive_failures=5), "failing"),
    ],
)
def test_an_endpoints_condition_follows_from_its_folded_state(folded: EndpointState | None, condition: str) -> None:
    assert health(an_endpoint(), folded).condition == condition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.ms(0.4), "0.40 ms"),
        (formats.ms(8.44), "8.4 ms"),
        (formats.ms(84.4), "84 ms"),
        (formats.ms(1240), "1.24 s"),
        (formats.ms(28_000), "28 s"),
        (formats.ms(None), formats.ABSENT),
        (formats.usd_per_million(2.1e-7), "$0.21"),
        (formats.usd_per_million(1.5e-3), "$1,500"),
        (formats.usd_per_million(4e-9), "$0.004"),
        (formats.usd_per_million(0.0), "$0.00"),
        (formats.usd_per_million(None), "unpriced"),
        (formats.percent(0.9997), "99.97 %"),
        (formats.percent(0.125), "12.5 %"),
        (formats.percent(1.0), "100 %"),
        (formats.percent(0.0), "0 %"),
        (formats.size(999), "999 B"),
        (formats.size(1_234_567), "1.2 MB"),
        (formats.ago(NOW - timedelta(seconds=119), NOW), "119 s ago"),
        (formats.ago(NOW - timedelta(hours=47), NOW), "47 h ago"),
        (formats.ago(NOW + timedelta(seconds=3), NOW), "0 s ago"),
        (formats.ago(None, NOW), formats.ABSENT),
    ],
)
def test_numbers_read_as_people_write_them(text: str, expected: str) -> None:
    assert text == expected
