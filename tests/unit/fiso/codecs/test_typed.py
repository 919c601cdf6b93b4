"""The typed codec: what it writes of a value it reads again, and it names the place of what it cannot read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.codecs.typed import Codec, Form, Malformed, Shape, from_document, to_document

Name = NewType("Name", str)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: Name
    weight: float
    count: int | None
    is_old: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative: {self.weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    at: datetime
    colours: frozenset[Colour]
    parts: tuple[Part, ...]
    by_name: Mapping[Name, Part]
    by_colour: Mapping[Colour, float]
    by_number: Mapping[int, str]
    operand: str | int | float
    note: str | None = None
    favourite: Part | None = None


INSTANTS = st.datetimes(timezones=st.just(UTC))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PARTS = st.builds(
    Part,
    name=st.text().map(Name),
    weight=st.floats(min_value=0, allow_infinity=False),
    count=st.none() | st.integers(),
    is_old=st.booleans(),
)
WHOLES = st.builds(
    Whole,
    at=INSTANTS,
    colours=st.frozensets(st.sampled_from(Colour)),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    by_name=st.dictionaries(st.text().map(Name), PARTS, max_size=2),
    by_colour=st.dictionaries(st.sampled_from(Colour), NUMBERS),
    by_number=st.dictionaries(st.integers(), st.text(), max_size=2),
    operand=st.text() | st.integers() | NUMBERS,
    note=st.none() | st.text(),
    favourite=st.none() | PARTS,
)
ROWS = Codec(shapes={Part: Shape(is_row=True), Whole: Shape(keys={"note": "n"}, omits_none=True)}, is_strict=True)
A_PART = {"name": "a", "weight": 1.5, "count": None}
A_WHOLE: dict[str, Any] = {
    "at": "2026-11-23T09:30:00+00:00",
    "colours": ["red"],
    "parts": [A_PART],
    "by_name": {"x": A_PART},
    "by_colour": {"red": 1},
    "by_number": {"7": "seven"},
    "operand": 5,
}


@given(WHOLES)
def test_what_is_written_is_read_again(whole: Whole) -> None:
    for codec in (Codec(), Codec(is_strict=True), ROWS):
        text = json.dumps(codec.to_document(whole), allow_nan=False)
        assert codec.from_document(Whole, json.loads(text)) == whole


def test_equal_values_have_equal_documents() -> None:
    first = from_document(Whole, A_WHOLE | {"colours": ["red", "blue"], "at": "2026-11-23T11:30:00+02:00"})
    assert first.at.tzinfo is UTC
    assert to_document(first)["colours"] == ["blue", "red"]
    elsewhere = datetime(2026, 11, 23, 11, 30, tzinfo=timezone(timedelta(hours=2)))
    assert to_document(first)["at"] == "2026-11-23T09:30:00+00:00" == Codec().form(datetime).write(elsewhere)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"at": 5}, "whole.at: must be text, not 5"),
        ({"at": "2026-11-23T09:30:00"}, "whole.at: must name its time zone"),
        ({"at": "yesterday"}, "whole.at: Invalid isoformat string"),
        ({"colours": ["green"]}, r"whole.colours\[0\]: must be one of red, blue, not 'green'"),
        ({"colours": "red"}, "whole.colours: must be a list"),
        ({"parts": [A_PART, A_PART | {"weight": "1"}]}, r"whole.parts\[1\].weight: must be a number, not '1'"),
        ({"parts": [A_PART | {"weight": float("nan")}]}, r"whole.parts\[0\].weight: must be a number, not nan"),
        ({"parts": [A_PART | {"weight": 10**400}]}, r"whole.parts\[0\].weight: int too large"),
        ({"parts": [A_PART | {"weight": True}]}, r"whole.parts\[0\].weight: must be a number, not True"),
        ({"parts": [A_PART | {"weight": -1}]}, r"whole.parts\[0\]: weight must not be negative"),
        ({"parts": [A_PART | {"count": 1.0}]}, r"whole.parts\[0\].count: must be a whole number, not 1.0"),
        ({"parts": [A_PART | {"is_old": 1}]}, r"whole.parts\[0\].is_old: must be true or false, not 1"),
        ({"parts": [{"weight": 1}]}, r"whole.parts\[0\].name: is missing"),
        ({"by_name": {"x": 3}}, "whole.by_name.x: must be an object"),
        ({"by_colour": {"green": 3}}, "whole.by_colour.green: must be one of red, blue"),
        ({"by_number": {"seven": ""}}, "whole.by_number.seven: invalid literal"),
        ({"operand": None}, "whole.operand: must be a number, not None"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(damage: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed, match=f"^{said}"):
        from_document(Whole, A_WHOLE | damage, where="whole")


def test_unknown_keys_are_ignored_or_refused_as_the_format_says() -> None:
    later = A_PART | {"of_a_later_version": 1}
    assert from_document(Part, later) == from_document(Part, A_PART)
    with pytest.raises(Malformed, match=r"^unknown key 'of_a_later_version'"):
        Codec(is_strict=True).from_document(Part, later)


def test_what_is_absent_has_its_default_unless_it_is_required() -> None:
    assert from_document(Part, {"name": "a", "weight": 1}) == Part(name=Name("a"), weight=1.0, count=None)
    strict = Codec(shapes={Part: Shape(required=frozenset({"is_old"}))})
    with pytest.raises(Malformed, match=r"^is_old: is missing"):
        strict.from_document(Part, A_PART)


def test_a_row_may_end_where_the_defaults_begin() -> None:
    assert ROWS.form(Part).read(["a", 1.5, None]) == from_document(Part, A_PART)
    damaged: list[object] = [["a", 1.5], ["a", 1.5, None, True, 1], "abc", {}]
    for row in damaged:
        with pytest.raises(Malformed, match=r"^must be a list of 4 values"):
            ROWS.form(Part).read(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    number: int = 1
    part: Part
    secret: str = "kept here"


def test_an_inner_object_may_stand_flat_in_its_outer_one() -> None:
    shape = Shape(inline=frozenset({"part"}), left_out=frozenset({"secret"}), forms={})
    flat = Codec(shapes={Nested: shape}, forms={Name: Form(str.upper, lambda name: Name(name.lower()))}, is_strict=True)
    nested = Nested(part=Part(name=Name("a"), weight=1.5, count=None))
    assert flat.to_document(nested) == {"number": 1, "name": "A", "weight": 1.5, "count": None, "is_old": False}
    assert flat.from_document(Nested, flat.to_document(nested)) == nested
    with pytest.raises(Malformed, match=r"^weight: must be a number"):
        flat.from_document(Nested, {"name": "A", "weight": "", "count": None})
