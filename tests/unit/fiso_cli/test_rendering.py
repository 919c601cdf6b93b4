"""Tables that fit, whatever is in them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_cli.rendering import Column, Table, at, draw, figure, is_printable, ms, plain, share, text, usd

ROWS = [
    {"name": "compress", "ms": 12.5, "notes": "calm", "nested": {"usd": 2.1e-6}},
    {"name": "graph-bfs", "ms": 1234.5, "notes": "\x1b[2Jwild", "nested": {}},
]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(table: Table, monkeypatch: pytest.MonkeyPatch, columns: int | None = None) -> list[str]:
    out = Screen() if columns else io.StringIO()
    monkeypatch.setenv("COLUMNS", str(columns or 40))
    monkeypatch.setenv("TERM", "dumb")
    draw(table, out)
    return out.getvalue().splitlines()


def a_table(*more: Column) -> Table:
    columns = [text("name"), figure("ms", form=ms), figure("USD", "nested.usd", usd, spare=1), text("notes", spare=2)]
    return Table(title="calls", columns=[*columns, *more], rows=ROWS, notes=["as measured"])


def test_figures_are_aligned_right_and_what_is_unknown_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.rstrip() for line in drawn(a_table(), monkeypatch)] == [
        "calls",
        "name          ms      USD  notes",
        "compress    12.5  2.1e-06  calm",
        "graph-bfs  1,234        -  \\x1b[2Jwild",
        "as measured",
    ]


def test_a_pipe_gets_every_column_whole_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = text("why", lambda row: "because " * 40)
    lines = drawn(a_table(wide), monkeypatch)
    assert ("because " * 40).strip() in lines[2]
    assert "\x1b" not in "".join(lines)


def test_a_narrow_screen_leaves_out_the_sparest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(a_table(), monkeypatch, columns=27)
    assert lines[1].split() == ["name", "ms", "USD"]
    assert "not shown at 27 columns: notes" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 27
    assert drawn(a_table(), monkeypatch, columns=20)[1].split() == ["name", "ms"]


def test_what_cannot_be_left_out_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(
        Table(columns=[text("name"), text("why", lambda row: "one two three " * 5)], rows=ROWS[:1]), monkeypatch, 30
    )
    assert max(map(len, lines)) <= 30
    assert " ".join(" ".join(lines[1:]).split()).removeprefix("compress ") == ("one two three " * 5).strip()


def test_columns_that_hold_still_are_as_wide_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [text("name", width=12), text("notes", width=4)]
    for row in ROWS:
        (line,) = drawn(Table(columns=columns, rows=[row], has_header=False), monkeypatch, columns=80)
        assert line.index(plain(row["notes"])) == 14


@given(
    st.one_of(
        st.none(), st.text(), st.integers(), st.floats(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
    )
)
def test_no_form_fails_at_what_an_answer_holds_and_nothing_steers_a_terminal(value: object) -> None:
    for form in (plain, ms, usd, share):
        assert is_printable(form(value).encode("utf-8", "replace"))
    assert at({"a": value}, "b.c") is None
