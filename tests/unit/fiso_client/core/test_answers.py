import pytest

from fiso_client.core.answers import HttpAnswer, Report, function_answer, retry_after_s


def answer(**headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status=200, headers=named, body=b"")


def test_what_the_provider_reports_wins_over_what_the_function_says() -> None:
    said = answer(x_fiso_cold="0", x_fiso_exec_ms="7.5")
    assert (function_answer(said).cold, function_answer(said).billed_ms) == (False, 7.5)
    reported = function_answer(said, Report(billed_ms=9.0, memory_mb=64, is_cold=True))
    assert (reported.cold, reported.billed_ms, reported.memory_used_mb) == (True, 9.0, 64)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "1e9", "seven"])
def test_an_execution_time_that_cannot_be_is_no_execution_time(text: str) -> None:
    assert function_answer(answer(x_fiso_exec_ms=text)).billed_ms is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("", None), ("Mon, 23 Nov 2026", None), ("999999", None), ("٣", None)]
)
def test_a_retry_after_is_whole_seconds_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}) == seconds
