import pytest

from fiso_cli.catalog.yaml_text import parse, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("512", 512),
        ("28_000", 28_000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("0x1F", "0x1F"),
        ("~", None),
        ("", None),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert parse(f"key: {text}").value == {"key": value}


def test_a_leading_zero_makes_no_octal_number() -> None:
    assert parse("memory_mb: 0512").value == {"memory_mb": 512}


def test_merged_mappings_may_be_overridden() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}").value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate key 'a'"),
        ("x:\n  - {id: 1, id: 2}", "line 2, column 13: duplicate key 'id'"),
        ("a: [1", "line 1, column 6: expected ',' or ']'"),
        ("a: *nowhere", "undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 2", "another document"),
        ("!!python/object:os.system x", "tag .* is not supported"),
        ("a: !!float nope", "tag .* is not supported"),
        ("? [1, 2]\n: 3", "unhashable key"),
        ("a: \x00", "line 1, column 4: character U[+]0000 may not stand in YAML"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(text)


@pytest.mark.parametrize(
    "text", ["a\x85b", "\x85", "a\u2028b", "\u2029", "\ufeff", "a\nb", " a ", "0e1", "null", "<<", "é", ""]
)
def test_any_text_comes_back(text: str) -> None:
    assert parse(written({"key": text})).value == {"key": text}
