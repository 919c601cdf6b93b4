"""Who is quarantined: a copy that is the odd one beyond chance, never the last one, never by chance."""

import random
from dataclasses import replace

import pytest

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode, Shadow
from fiso.domain.state import Compared, EndpointState
from fiso.routing.constraints import eligible
from fiso.routing.equivalence import FALSE_ALARMS, Quarantine, quarantined
from fiso.testing.rig import word_count

COPIES = AWS, AZURE, GCP = [EndpointId(id) for id in ("aws-us-east-1", "azure-eastus", "gcp-us-east4")]


def an_entry(**policy: object) -> CatalogEntry:
    return word_count(**{"shadow": Shadow(share=0.1, quarantine=True), **policy})


def counted(*differed: int, version: int = 1) -> dict[EndpointId, EndpointState]:
    entry = an_entry()
    return {
        copy: EndpointState(
            function=entry.name,
            endpoint=copy,
            equivalence=Compared(policy_version=version, compared=100, differed=count, first_place="status"),
        )
        for copy, count in zip(COPIES, differed, strict=True)
    }


@pytest.mark.parametrize(
    ("differed", "out"),
    [
        ((0, 0, 0), []),
        ((0, 5, 0), []),
        ((0, 6, 0), [AZURE]),
        ((1, 6, 0), []),
        ((1, 8, 0), [AZURE]),
        ((50, 50, 50), []),
        ((0, 0, 100), [GCP]),
    ],
)
def test_a_copy_is_out_when_it_is_the_odd_one_beyond_chance(differed: tuple[int, ...], out: list[EndpointId]) -> None:
    assert list(quarantined(an_entry(), counted(*differed))) == out


@pytest.mark.parametrize(
    ("by", "only_of", "is_out"),
    [
        ("mallory", ("", "", ""), False),
        ("mallory", ("mallory", "mallory", "mallory"), True),
        ("mallory", ("", "mallory", "mallory"), False),
        ("mallory", ("alice", "mallory", "mallory"), False),
        ("", ("", "", ""), True),
    ],
)
def test_what_differs_in_one_of_several_tenants_requests_alone_quarantines_nothing(
    by: str, only_of: tuple[str, ...], is_out: bool
) -> None:
    states = {
        id: replace(state, only_of=whose, equivalence=replace(state.equivalence or Compared(), differed_by=by))
        for (id, state), whose in zip(counted(0, 50, 0).items(), only_of, strict=True)
    }
    assert bool(quarantined(an_entry(), states)) == is_out


def test_only_under_the_version_that_was_counted_under_and_only_where_the_policy_says_so() -> None:
    states = counted(0, 50, 0)
    assert quarantined(an_entry(), states)
    assert not quarantined(an_entry(version=2), states)
    assert not quarantined(an_entry(shadow=Shadow(share=0.1)), states)
    assert not quarantined(an_entry(mode=Mode.PIN, pinned=AZURE), states)
    assert not quarantined(an_entry(mode=Mode.OBSERVE, home=AZURE), states)


def test_copies_that_differ_by_themselves_are_seldom_quarantined_however_often_one_looks() -> None:
    draw, entry, alarms, histories = random.Random("by themselves"), an_entry(), 0, 500
    for _ in range(histories):
        differed = [0, 0, 0]
        for _ in range(60):
            differed[draw.randrange(3)] += 1
            if quarantined(entry, counted(*differed)):
                alarms += 1
                break
    assert alarms <= 2 * FALSE_ALARMS * histories


def test_the_last_copy_that_may_be_called_is_never_left_out() -> None:
    entry = an_entry(allowed_regions=frozenset({"eastus"}))
    kept = Quarantine().entry(entry, counted(0, 50, 0))
    assert [endpoint.id for endpoint in eligible(kept).candidates] == [AZURE]


def test_the_entry_to_decide_by_stays_the_same_object_while_nothing_changes() -> None:
    quarantine, entry = Quarantine(), an_entry()
    assert quarantine.entry(entry, counted(0, 1, 0)) is entry
    first = quarantine.entry(entry, counted(0, 50, 0))
    assert quarantine.entry(entry, counted(0, 51, 0)) is first
    assert quarantine.entry(replace(entry), counted(0, 51, 0)) is not first
    (exclusion,) = eligible(first).exclusions
    assert (exclusion.endpoint, exclusion.code) == (AZURE, "quarantined")
    assert exclusion.detail.startswith("differed in 50 of 100 answers, first at status")
