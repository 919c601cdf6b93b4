import json
from pathlib import Path

import pytest

from tests.lab.bench import rows
from tests.lab.bench.rows import Gate, Row, at_least, at_most, at_most_of_rival, row, times_better


def a_row(
    value: float, rival_value: float | None = 10.0, gate: Gate | None = None, more_is_better: bool = False
) -> Row:
    return row(
        "figure",
        value,
        "ms",
        rival="other",
        rival_value=rival_value,
        n=3,
        gate=gate,
        more_is_better=more_is_better,
    )


@pytest.mark.parametrize(
    ("gate", "met", "missed"),
    [
        (times_better(5), 2.0, 2.01),
        (at_most(1.02), 1.02, 1.021),
        (at_least(0.8), 0.8, 0.799),
        (at_most_of_rival(1), 10.0, 10.01),
        (at_most_of_rival(3), 30.0, 30.1),
    ],
    ids=lambda case: case.text if isinstance(case, Gate) else str(case),
)
def test_a_gate_is_met_up_to_its_limit_and_missed_beyond(gate: Gate, met: float, missed: float) -> None:
    assert a_row(met, gate=gate).is_met
    assert not a_row(missed, gate=gate).is_met
    assert a_row(met, gate=gate).gate == gate.text


def test_a_gate_against_a_rival_that_was_not_measured_is_missed() -> None:
    assert not a_row(1.0, None, times_better(1)).is_met
    assert not a_row(1.0, None, at_most_of_rival(1)).is_met


def test_a_row_without_a_gate_is_met() -> None:
    assert (a_row(99.0).is_met, a_row(99.0).gate) == (True, "")


def test_the_ratio_is_how_many_times_better_we_are() -> None:
    assert a_row(2.0).ratio == 5
    assert a_row(20.0, more_is_better=True).ratio == 2


@pytest.mark.parametrize(("value", "rival_value"), [(2.0, None), (2.0, 0.0), (-0.1, 10.0), (0.0, 10.0)])
def test_no_ratio_is_made_up_where_a_side_is_missing_or_not_above_nothing(
    value: float, rival_value: float | None
) -> None:
    assert a_row(value, rival_value).ratio is None
    assert a_row(value, rival_value, more_is_better=True).ratio is None


def test_rows_are_written_with_the_agreed_keys(tmp_path: Path) -> None:
    rows.write([a_row(2.0), a_row(2.0, None)], tmp_path / "out" / "bench.json")
    written = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert list(written[0]) == ["name", "value", "unit", "rival", "rival_value", "ratio", "n"]
    assert (written[0]["ratio"], written[1]["ratio"]) == (5, None)
