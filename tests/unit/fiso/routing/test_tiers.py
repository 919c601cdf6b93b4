import pytest

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.constraints import Tiered, tiered

A, B, C = (EndpointId(name) for name in "abc")
SCORES = [Score(endpoint=endpoint, value=value, terms={}) for endpoint, value in ((C, 0.9), (B, 0.8), (A, 0.5))]
TIERS = (frozenset({A}), frozenset({B}))


@pytest.mark.parametrize(
    ("deprioritised", "first", "behind"),
    [
        (set(), "a", "bc"),
        ({A}, "b", "ca"),
        ({A, B}, "c", "ab"),
        ({A, B, C}, "a", "bc"),
    ],
)
def test_a_later_tier_stands_behind_and_the_deprioritised_last_by_tier(
    deprioritised: set[EndpointId], first: str, behind: str
) -> None:
    found = tiered(SCORES, TIERS, deprioritised=deprioritised)
    assert ("".join(s.endpoint for s in found.first), "".join(s.endpoint for s in found.behind)) == (first, behind)


def test_no_scores_give_nobody() -> None:
    assert tiered([], TIERS) == Tiered(first=(), behind=())
