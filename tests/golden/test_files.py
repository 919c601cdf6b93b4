"""The files themselves: few bytes, none that no test compares, and never written unasked."""

from tests.golden.golden_files import FILES

MOST_BYTES = 300_000


def test_no_file_is_left_behind() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in FILES.parent.glob("test_*.py"))
    assert [path.name for path in FILES.iterdir() if f'"{path.name}"' not in tests] == []
    assert sum(path.stat().st_size for path in FILES.iterdir()) <= MOST_BYTES
