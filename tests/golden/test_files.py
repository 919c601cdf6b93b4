"""The files themselves: few bytes, none that no test compares, and never written unasked."""

from pathlib import Path

import pytest

from tests.golden import golden_files
from tests.golden.golden_files import FILES, REWRITE, golden, golden_json, golden_line

MOST_BYTES = 300_000


def test_no_file_is_left_behind() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in FILES.parent.glob("test_*.py"))
    assert [path.name for path in FILES.iterdir() if f'"{path.name}"' not in tests] == []
    assert sum(path.stat().st_size for path in FILES.iterdir()) <= MOST_BYTES


def test_a_file_is_written_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_files, "FILES", tmp_path)
    monkeypatch.delenv(REWRITE, raising=False)
    with pytest.raises(AssertionError, match="no golden file"):
        golden("a", "text")
    monkeypatch.setenv(REWRITE, "1")
    golden("a", "text")
    monkeypatch.delenv(REWRITE)
    with pytest.raises(AssertionError, match="moved"):
        golden("a", "other")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "text"


def test_what_was_kept_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_files, "FILES", tmp_path)
    monkeypatch.setenv(REWRITE, "1")
    line = '{"a":1, "b":[1,2,[3]],"c":",\\"\\n"}'
    assert golden_line("line", line) == line
    assert golden_json("document", {"b": b"\x00\xff", "a": [1.5, None]}) == {"b": b"\x00\xff", "a": [1.5, None]}
