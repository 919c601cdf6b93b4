from dataclasses import replace
from math import log

import pytest

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.prediction.kinship import Effects, Expected, Hypothesis, Seen, Spot
from tests.builders import an_endpoint

EFFECTS = Effects(function=4.0, provider=0.1, place=0.0, region=0.0, copy=0.2, level=0.05, usual=5.0)


def copy(name: str, provider: Provider = Provider.AWS) -> Spot:
    return Spot(an_endpoint(provider, id=EndpointId(name)), 0)


def at(endpoint: Endpoint, bucket: int) -> Spot:
    return Spot(endpoint, bucket)


def expected(asked: list[Spot], seen: list[Seen], *others: Hypothesis) -> list[Expected]:
    nothing = Hypothesis(1.0, [0.0] * len(asked), [0.0] * len(seen))
    return EFFECTS.expected(asked, seen, [nothing, *others])


def test_of_a_function_never_seen_the_usual_is_expected_with_every_doubt() -> None:
    (one,) = expected([copy("a")], [])
    assert one.value == 5.0
    assert one.variance == pytest.approx(4.0 + 0.1 + 0.2 + 0.05)


def test_one_answer_is_shrunk_by_hand() -> None:
    # all variances above the answer, 4.35, against its noise of 0.25
    (one,) = expected([copy("a")], [Seen(copy("a"), 7.0, 0.25)])
    assert one.value == pytest.approx(5.0 + 2.0 * 4.35 / 4.6)
    assert one.variance == pytest.approx(4.35 * 0.25 / 4.6)


def test_what_was_seen_moves_copies_of_its_provider_more_than_others() -> None:
    seen = [Seen(copy("a"), 8.0, 0.01), Seen(copy("g", Provider.GCP), 6.0, 0.01)]
    own, sibling, stranger = expected([copy("a"), copy("b"), copy("z", Provider.AZURE)], seen)
    assert own.value > sibling.value > stranger.value
    assert own.variance < sibling.variance < stranger.variance


def test_that_one_copy_changed_leaves_a_well_known_one_where_it_was() -> None:
    before = expected([copy("b")], [Seen(copy("a"), 6.0, 0.001), Seen(copy("b"), 6.3, 0.001)])
    after = expected([copy("b")], [Seen(copy("a"), 7.1, 0.001), Seen(copy("b"), 6.3, 0.001)])
    assert after[0].value - before[0].value < 0.01


def test_a_region_tells_of_its_other_sizes_and_a_place_of_its_neighbours_in_other_clouds() -> None:
    crossed = Effects(function=4.0, provider=0.1, place=0.1, region=0.1, copy=0.05, level=0.05, usual=5.0)
    far, near = an_endpoint(Provider.AWS, region="eu-central-1"), an_endpoint(Provider.AWS, region="us-east-1")
    asked = [
        at(an_endpoint(Provider.AWS, region="eu-central-1", memory_mb=128, id=EndpointId("size")), 0),
        at(an_endpoint(Provider.AZURE, region="westeurope", id=EndpointId("neighbour")), 0),
        at(an_endpoint(Provider.AZURE, region="eastus", id=EndpointId("stranger")), 0),
        at(an_endpoint(Provider.AZURE, region="nowhere", id=EndpointId("unlisted")), 0),
    ]
    seen = [Seen(at(far, 0), 8.0, 0.01), Seen(at(replace(near, id=EndpointId("near")), 0), 6.0, 0.01)]
    nothing = Hypothesis(1.0, [0.0] * 4, [0.0] * 2)
    size, neighbour, stranger, unlisted = (each.value for each in crossed.expected(asked, seen, [nothing]))
    # by hand: what lies in region and place, over .31 of either (the two differ by 2), and the function's mean moves 2
    # from the usual, over 2 * 4.1 + .31
    assert size - stranger == pytest.approx(0.3 / 0.31 + 2 * 0.3 / 8.51)
    assert neighbour - stranger == pytest.approx(0.2 / 0.31)
    assert unlisted - stranger == pytest.approx(0.1 / 0.31 - 2 * 0.1 / 8.51)


def test_levels_of_one_copy_speak_for_each_other() -> None:
    endpoint = an_endpoint()
    (busy,) = expected([at(endpoint, 5)], [Seen(at(endpoint, 0), 6.0, 0.001)])
    assert busy.value == pytest.approx(6.0, abs=0.05)
    assert busy.variance == pytest.approx(2 * 0.05, rel=0.01)  # of the level seen and of the one asked for


def test_a_fact_counts_as_far_as_what_was_seen_agrees_with_it() -> None:
    # it says that the second copy is e times slower; it is
    asked, spots = [copy("c", Provider.GCP)], [copy("a"), copy("b")]
    fact = Hypothesis(1.0, [2.0], [0.0, 1.0])
    agrees = [Seen(spot, 6.0 + value, 0.001) for spot, value in zip(spots, (0.0, 1.0), strict=True)]
    differs = [Seen(spot, 6.0 + value, 0.001) for spot, value in zip(spots, (0.0, -1.0), strict=True)]
    believed, doubted = expected(asked, agrees, fact)[0], expected(asked, differs, fact)[0]
    assert believed.value > doubted.value + 0.5
    assert doubted.value == pytest.approx(5.5, abs=0.2)


def test_doubt_between_facts_is_part_of_the_variance() -> None:
    spot = copy("a")
    (one,) = expected([spot], [], Hypothesis(1.0, [log(16)], []))
    assert one.value == pytest.approx(5.0 + log(16) / 2)
    assert one.variance == pytest.approx(4.35 + (log(16) / 2) ** 2)
