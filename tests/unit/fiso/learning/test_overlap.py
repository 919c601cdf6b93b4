from dataclasses import replace

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.learning.ope import LARGEST_SHARE, LEAST_SAMPLE, MOST_UNCOVERED, Overlap, refusal_of

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
    "changes",
    [
        {"sample_size": LEAST_SAMPLE, "expected_size": LEAST_SAMPLE},
        {"largest_share": LARGEST_SHARE},
        {"uncovered": {AZURE: MOST_UNCOVERED}},
    ],
)
def test_what_just_meets_a_limit_is_not_refused(changes: dict[str, object]) -> None:
    assert refusal_of(replace(AMPLE, **changes)) is None  # type: ignore[arg-type]
