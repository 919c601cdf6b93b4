import io
from dataclasses import replace

from rich.console import Console

from localcloud.demo import report
from localcloud.demo.findings import Check
from tests.unit.localcloud.demo.test_findings import GOOD, run, sample


def shown(renderable: object) -> str:
    written = io.StringIO()
    Console(file=written, width=200).print(renderable)
    return written.getvalue()


def test_the_table_of_contexts_says_why_each_provider_was_called() -> None:
    rows = (sample(1, "aws"), replace(sample(2, "aws", "failover"), user_region="region-1"))
    text = shown(report.of_contexts(rows))
    assert "score 1, failover 1" in text
    assert "region-1" in text


def test_the_table_of_runs_shows_refusal_and_promotion_with_their_reasons_in_order() -> None:
    text = shown(report.of_runs([run("schedule", promoted=True, minutes=1), run("command", promoted=False)]))
    assert text.index("refused") < text.index("promoted m1")
    assert "too few rows: 0 of 100" in text


def test_the_figures_and_the_providers_are_labelled() -> None:
    assert "records: 5 logged, 5 folded of 5 answered" in report.of_figures(GOOD)
    assert "aws was down for the middle third" in shown(report.of_providers(GOOD))
    assert "Local latencies are not cloud latencies" in report.LABEL


def test_a_check_is_one_line() -> None:
    assert shown(report.of_check(Check(claim="c", held=False, seen="s"))).strip() == "FAILED  c (s)"


def test_the_line_to_paste_is_quoted_for_a_shell() -> None:
    assert "'http://h/$default/v1/invoke/word-count'" in report.curl_line("http://h/$default")
