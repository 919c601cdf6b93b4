from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.tiers import Tiered, tiered

A, B, C = (EndpointId(name) for name in "abc")
SCORES = [Score(endpoint=endpoint, value=value, terms={}) for endpoint, value in ((C, 0.9), (B, 0.8), (A, 0.5))]
TIERS = (frozenset({A}), frozenset({B}))


def names(found: Tiered) -> tuple[str, str]:
    return "".join(s.endpoint for s in found.first), "".join(s.endpoint for s in found.behind)


def test_without_tiers_everybody_is_chosen_among() -> None:
    assert names(tiered(SCORES, ())) == ("cba", "")


def test_a_later_tier_stands_behind_whatever_it_scores_and_the_unnamed_are_last() -> None:
    assert names(tiered(SCORES, TIERS)) == ("a", "bc")


def test_a_later_tier_is_chosen_when_the_earlier_one_is_demoted() -> None:
    assert names(tiered(SCORES, TIERS, deprioritised={A})) == ("b", "ca")


def test_the_demoted_stand_last_by_tier() -> None:
    assert names(tiered(SCORES, TIERS, deprioritised={A, B})) == ("c", "ab")


def test_when_all_are_demoted_none_is() -> None:
    assert names(tiered(SCORES, TIERS, deprioritised={A, B, C})) == ("a", "bc")


def test_no_scores_give_nobody() -> None:
    assert names(tiered([], TIERS)) == ("", "")
