from datetime import UTC, datetime

import pytest

from fiso.codecs.record import to_document
from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, RecordStatus
from fiso_cli.traffic.lines import COLUMNS, of_record, predicted_ms, why
from fiso_client.core.failures import Failure
from tests.builders import a_record, changed

AT = datetime(2030, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
AWS, GCP = EndpointId("aws-use1"), EndpointId("gcp-use4")


def candidate(endpoint: EndpointId, *, score: float, propensity: float) -> CandidateSummary:
    return CandidateSummary(
        endpoint=endpoint, latency_ms=20, cost_usd=1e-6, success_probability=1, score=score, propensity=propensity
    )


def attempt(endpoint: EndpointId, failure: Failure | None = None) -> AttemptSummary:
    status = None if failure else 200
    return AttemptSummary(endpoint=endpoint, started_at=AT, latency_ms=25, status=status, failure=failure)


RECORD = a_record(
    timestamp=AT,
    function_name=FunctionName("compress"),
    execution_time_ms=25.0,
    cost_usd=2.5e-6,
    endpoint=AWS,
    candidates=(candidate(AWS, score=0.9, propensity=0.96), candidate(GCP, score=0.8, propensity=0.04)),
    attempts=(attempt(AWS),),
)


def cells(record: InvocationRecord) -> list[str]:
    return [column.cell(record) for column in COLUMNS]


def test_a_line_has_its_cells_and_a_document() -> None:
    line = ["03:04:05.678", "compress", "aws/us-east-1", "score", "200", "25.0", "20.0", "2.5e-06", why(RECORD)]
    assert cells(RECORD) == line
    assert of_record(RECORD).document == to_document(RECORD)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "score 0.900, next gcp-use4 0.800"),
        (
            {"endpoint": GCP, "reason": Reason.EXPLORE, "attempts": (attempt(GCP),)},
            "tried out at 4.0 %: score 0.800, best was aws-use1 0.900",
        ),
        (
            {"reason": Reason.FAILOVER, "endpoint": GCP, "attempts": (attempt(AWS, Failure.UNREACHABLE), attempt(GCP))},
            "tried aws-use1 (unreachable in 25.0 ms) > gcp-use4 (200 in 25.0 ms)",
        ),
        (
            {"attempts": (attempt(AWS, Failure.TIMED_OUT),)},
            "score 0.900, next gcp-use4 0.800, failed: aws-use1 (timed_out in 25.0 ms)",
        ),
        ({"candidates": (candidate(AWS, score=0.7, propensity=1),)}, "the only candidate, score 0.700"),
        (
            {
                "candidates": (),
                "attempts": (),
                "endpoint": None,
                "exclusions": (Exclusion(endpoint=AWS, code="residency", detail="x"),),
            },
            "nobody was eligible: aws-use1 residency",
        ),
        ({"candidates": (), "attempts": (), "endpoint": None}, "nobody was called"),
    ],
)
def test_the_why_speaks_in_the_decisions_numbers(changes: dict[str, object], expected: str) -> None:
    assert why(changed(RECORD, **changes)) == expected


def test_a_record_of_nobody_has_a_line_too() -> None:
    empty = changed(
        RECORD, cloud_provider=None, region=None, endpoint=None, reason=None, candidates=(), attempts=(),
        execution_time_ms=None, cost_usd=None, response_status=504, status=RecordStatus.UNKNOWN,
    )  # fmt: skip
    assert predicted_ms(empty) is None
    assert cells(empty)[2:] == ["-", "-", "504", "-", "-", "-", "nobody was called"]
