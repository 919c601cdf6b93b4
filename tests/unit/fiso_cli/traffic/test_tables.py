"""What the tables say of an endpoint."""

import pytest

from fiso.codecs.typed import Document
from fiso_cli.traffic.tables import equivalence_cell, of_endpoints

FOUND: Document = {"compared": 40, "differed": 0, "disputed": 0, "first_id": None}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "40 alike"),
        ({"differed": 3, "first_id": "inv-1"}, "3 of 40 odd, first inv-1"),
        ({"disputed": 2, "first_id": "inv-1"}, "2 of 40 disputed, first inv-1"),
    ],
)
def test_how_answers_compare_is_told_in_a_word(found: Document, said: str) -> None:
    assert equivalence_cell({"equivalence": {**FOUND, **found}}) == said


def test_a_quarantine_is_told() -> None:
    row: Document = {"equivalence": {**FOUND, "differed": 9, "first_id": "inv-1"}, "is_quarantined": True}
    assert equivalence_cell(row) == "quarantined: 9 of 40 odd, first inv-1"


def test_answers_have_a_column_where_some_were_compared() -> None:
    rows: list[Document] = [{"endpoint": "a", "equivalence": None}, {"endpoint": "b"}]
    assert "answers" not in [column.title for column in of_endpoints({"endpoints": [*rows]}).columns]
    rows.append({"endpoint": "c", "equivalence": dict(FOUND)})
    assert "answers" in [column.title for column in of_endpoints({"endpoints": [*rows]}).columns]
