from collections import Counter
from pathlib import Path

import pytest

from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds import arrivals
from fiso_cli.worlds.clouds.arrivals import Counts, Extent, counted, poisson


def test_poisson_arrivals_come_at_the_stated_rate_and_by_rank() -> None:
    found = poisson(["a", "b", "c"], 2.0, Extent(requests=6_000), seed=1)
    assert found[-1].at_s == pytest.approx(3_000, rel=0.05)
    assert [arrival.number for arrival in found] == list(range(6_000))
    calls = Counter(arrival.function for arrival in found)
    assert calls["a"] / calls["b"] == pytest.approx(2, rel=0.1)
    assert calls["a"] / calls["c"] == pytest.approx(3, rel=0.1)


def test_an_extent_in_minutes_ends_there() -> None:
    found = poisson(["a"], 5.0, Extent(minutes=2), seed=1)
    assert 100 < found[-1].at_s < 120


def test_counted_arrivals_keep_the_count_of_every_minute() -> None:
    found = counted({"a": (3, 0, 5), "b": (1, 2)}, Extent(minutes=10), seed=0)
    per_minute = Counter((arrival.function, int(arrival.at_s // 60)) for arrival in found)
    assert per_minute == {("a", 0): 3, ("a", 2): 5, ("b", 0): 1, ("b", 1): 2}
    assert [arrival.at_s for arrival in found] == sorted(arrival.at_s for arrival in found)


def test_counts_can_be_scaled_to_a_rate() -> None:
    counts = Counts(name="x", rows=((60.0, 120.0), (6.0, 0.0)))
    scaled = counts.of(["a", "b"], rate=0.5)
    assert sum(sum(row) for row in scaled.values()) == pytest.approx(0.5 * 120)
    assert counts.of(["a"], rate=None) == {"a": (60.0, 120.0)}


def test_functions_are_taken_evenly_over_the_ranks() -> None:
    counts = Counts(name="x", rows=tuple((float(count),) for count in (9, 8, 7, 6)))
    assert counts.of(["a", "b"], rate=None) == {"a": (9.0,), "b": (7.0,)}
    with pytest.raises(BadInput, match="4 rows with calls, 5 functions"):
        counts.of(list("abcde"), rate=None)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("HashFunction,Trigger,480,481\nx,http,0,2\ny,http,4,1\nz,http,0,0", ((4.0, 1.0), (0.0, 2.0))),
        ('"InvocationsPerMinute"\n7\n8', ((7.0, 8.0),)),
    ],
)
def test_both_shapes_of_files_are_read(tmp_path: Path, text: str, rows: tuple[tuple[float, ...], ...]) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    assert arrivals.read(path).rows == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2", "no column is named by a minute"),
        ("a,1\nx,-3", "line 2: a count must be finite"),
        ("a,1\nx,some", "line 2: a count must be a number"),
        ("a,1,2\nx,3", "line 2: 2 fields"),
        ("a,1\nx,0", "no calls"),
    ],
)
def test_bad_counts_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=said):
        arrivals.read(path)
