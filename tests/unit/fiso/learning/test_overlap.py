from dataclasses import replace

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.learning.overlap import LARGEST_SHARE, LEAST_SAMPLE, MOST_UNCOVERED, Overlap, Thinness, refusal_of

AZURE = EndpointId("azure")
AMPLE = Overlap(
    records=1_000,
    clusters=1_000,
    left_out=0,
    sample_size=400.0,
    expected_size=380.0,
    largest_share=0.01,
    mean_weight=1.0,
    uncovered={},
)


def test_ample_overlap_is_not_refused() -> None:
    assert refusal_of(AMPLE) is None


@pytest.mark.parametrize(
    ("changes", "reason", "figure"),
    [
        ({"records": 0, "clusters": 0, "sample_size": 0.0}, Thinness.NO_RECORDS, "no records"),
        ({"uncovered": {AZURE: 0.31}}, Thinness.UNCOVERED, "31.0%"),
        ({"records": 0, "left_out": 9, "uncovered": {AZURE: 1.0}}, Thinness.UNCOVERED, "azure 100.0%"),
        ({"sample_size": 12.34}, Thinness.FEW, "12.3"),
        ({"expected_size": 3.21}, Thinness.FEW, "3.2"),
        ({"largest_share": 0.25}, Thinness.DOMINATED, "25.0%"),
    ],
)
def test_thin_overlap_is_refused_with_its_reason_and_figures(
    changes: dict[str, object], reason: Thinness, figure: str
) -> None:
    overlap = replace(AMPLE, **changes)  # type: ignore[arg-type]
    refusal = refusal_of(overlap)
    assert refusal is not None
    assert (refusal.reason, refusal.overlap) == (reason, overlap)
    assert figure in refusal.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_size": LEAST_SAMPLE, "expected_size": LEAST_SAMPLE},
        {"largest_share": LARGEST_SHARE},
        {"uncovered": {AZURE: MOST_UNCOVERED}},
    ],
)
def test_what_just_meets_a_limit_is_not_refused(changes: dict[str, object]) -> None:
    assert refusal_of(replace(AMPLE, **changes)) is None  # type: ignore[arg-type]
