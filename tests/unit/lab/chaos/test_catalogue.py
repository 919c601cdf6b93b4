"""The catalogue: names and rows choose experiments."""

import pytest

from tests.lab.chaos.catalogue import UnknownExperiment, catalogue, chosen


def test_experiments_stand_by_row_under_names_of_their_own() -> None:
    rows, names = [one.row for one in catalogue()], [one.name for one in catalogue()]
    assert rows == sorted(rows)
    assert len(set(names)) == len(names)
    assert {1, 2, 3, 4, 5, 6, 7, 9, 11} <= set(rows)


def test_a_row_chooses_all_of_its_experiments_once() -> None:
    assert [one.name for one in chosen(["2", "black-hole"])] == ["black-hole", "black-hole-once"]


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    with pytest.raises(UnknownExperiment, match="no experiment 'blackhole': there are 1 refused, 2 black-hole"):
        chosen(["refused", "blackhole"])
