from email.utils import formatdate
from time import time

import pytest

from fiso_client.core.answers import HttpAnswer, Report, function_answer, path_below, retry_after_s


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
    ("text", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("604800", 3600.0),
        ("9" * 5000, 3600.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),  # the three forms of RFC 9110, 5.6.7
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 3600.0),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 99 Nov 99999999999999999999 08:49:37 GMT", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text, "date": "Sun, 06 Nov 1994 08:49:37 GMT"}) == seconds


def test_a_date_is_counted_from_now_where_the_answer_has_none() -> None:
    assert retry_after_s({"retry-after": formatdate(time() + 30, usegmt=True)}) == pytest.approx(30, abs=5)


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/f"),
        ("/a/b", "/f/a/b"),
        ("a", "/f/a"),
        ("/100%2541", "/f/100%2541"),
        ("/a%2Fb;v=1:2@x", "/f/a%2Fb;v=1:2@x"),
        ("/b c/ü", "/f/b%20c/%C3%BC"),
        ("/100%", "/f/100%25"),
        ("/a?b#c", "/f/a%3Fb%23c"),
    ],
)
def test_what_follows_in_the_path_goes_on_as_it_was_sent(suffix: str, path: str) -> None:
    assert path_below("/f", suffix) == path
