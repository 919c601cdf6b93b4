import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_cli.traffic.samples import Sample, percentile, problems, tallies


def sample(provider: str | None = "aws", *, latency_ms: float = 10.0, **fields: object) -> Sample:
    known = {"function": "f", "status": 200, "problem": None, "reason": "score", "overhead_ms": 1.0, **fields}
    return Sample(provider=provider, latency_ms=latency_ms, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1), (0.991, 100)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_nothing_is_unknown() -> None:
    assert percentile([], 0.5) is None


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.floats(min_value=0, max_value=1))
def test_a_percentile_is_a_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_each_provider_gets_its_own_tally_the_busiest_first() -> None:
    samples = [sample("gcp", latency_ms=ms) for ms in (1, 2, 3)] + [sample("aws", latency_ms=9, reason="failover")]
    gcp, aws = tallies(samples)
    assert (gcp.provider, gcp.requests, gcp.share, gcp.p50_ms, gcp.p99_ms, gcp.failovers) == ("gcp", 3, 0.75, 2, 3, 0)
    assert (aws.provider, aws.failovers, aws.reasons) == ("aws", 1, {"failover": 1})


def test_requests_that_nobody_answered_have_a_line_of_their_own() -> None:
    lost = sample(None, status=None, problem="no answer (ReadTimeout)", reason=None, overhead_ms=None)
    (row,) = tallies([lost])
    assert (row.provider, row.failures, row.overhead_p50_ms, row.reasons) == ("none", 1, None, {})


def test_problems_are_counted_the_most_frequent_first() -> None:
    samples = [sample(problem=None), sample(problem="b"), sample(problem="a"), sample(problem="a")]
    assert list(problems(samples).items()) == [("a", 2), ("b", 1)]
