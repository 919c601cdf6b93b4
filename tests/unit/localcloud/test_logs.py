"""The components' logs as they are shown."""

from itertools import islice
from pathlib import Path

import pytest

from localcloud import logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.log").write_text("a\nb\nc\n")
    (tmp_path / "three.log").write_text("x\n")
    return tmp_path


def test_one_log_is_shown_as_it_is(folder: Path) -> None:
    assert list(logs.lines(folder, ["one"], last=2, follow=False)) == ["b", "c"]


def test_several_logs_are_told_apart(folder: Path) -> None:
    shown = list(logs.lines(folder, ["one", "three"], last=1, follow=False))
    assert shown == ["one   | c", "three | x"]


def test_no_last_line_is_none_and_a_missing_log_is_empty(folder: Path) -> None:
    assert list(logs.lines(folder, ["one"], last=0, follow=False)) == []
    assert list(logs.lines(folder, ["absent"], last=5, follow=False)) == []


def test_follows_whole_lines_through_a_rotation(folder: Path) -> None:
    shown = logs.lines(folder, ["one"], last=1, follow=True)
    assert next(shown) == "c"
    with (folder / "one.log").open("a") as log:
        log.write("d\nhalf")
    assert next(shown) == "d"
    (folder / "one.log").rename(folder / "one.log.1")
    (folder / "one.log").write_text("e\nf\n")
    assert list(islice(shown, 2)) == ["e", "f"]


def test_bytes_that_are_no_text_are_shown_anyhow(folder: Path) -> None:
    (folder / "one.log").write_bytes(b"\xff\n")
    assert list(logs.lines(folder, ["one"], last=1, follow=False)) == ["\ufffd"]
