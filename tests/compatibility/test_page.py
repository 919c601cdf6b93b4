"""The compatibility page: each case names a test that there is."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "compatibility.md").read_text(encoding="utf-8")
CASES = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
VERDICT = re.compile(r"\| (holds|mended|differs on purpose\b[^|]*) \| `([\w/]+\.py)::(\w+)` \|$")


def test_each_case_has_a_verdict_and_a_test_that_there_is() -> None:
    for case in CASES:
        found = VERDICT.search(case)
        assert found, case
        assert f"def {found[3]}(" in (TESTS / found[2]).read_text(encoding="utf-8"), case


def test_the_page_counts_its_cases() -> None:
    assert len(CASES) >= 80
    assert f"{len(CASES)} cases;" in PAGE
