"""The door: which function, which refusals, which headers."""

import json
from collections.abc import Mapping

import pytest

from fiso_workload import query as queries
from fiso_workload.answer import Answer
from fiso_workload.app import MAX_REQUEST_BYTES, App


def ask(
    function: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, method: str = "POST", raw: str = ""
) -> Answer:
    return App().handle(function, body, queries.parse(raw), headers or {}, method=method)


def test_only_the_first_answer_of_an_environment_is_cold() -> None:
    app = App()
    marks = [app.handle("word-count", b"a", {}, {}).headers["x-fiso-cold"] for _ in range(3)]
    assert marks == ["1", "0", "0"]


def test_the_time_spent_is_measured() -> None:
    ticks = iter([1.0, 1.0025])
    answer = App(clock=lambda: next(ticks)).handle("word-count", b"a", {}, {})
    assert answer.headers["x-fiso-exec-ms"] == "2.500"


@pytest.mark.parametrize(
    ("function", "body", "method", "headers", "status"),
    [
        ("no-such", b"", "POST", {}, 404),
        ("", b"", "POST", {}, 404),
        ("word-count", b"a", "GET", {}, 405),
        ("word-count", b"a", "POST", {"Content-Encoding": "gzip"}, 415),
        ("word-count", b" " * (MAX_REQUEST_BYTES + 1), "POST", {}, 413),
        ("word-count", b"\xff", "POST", {}, 400),
    ],
)
def test_a_refusal_is_problem_details(
    function: str, body: bytes, method: str, headers: dict[str, str], status: int
) -> None:
    answer = ask(function, body, method=method, headers=headers)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.body)["status"] == status
    assert answer.headers["x-fiso-cold"] == "1"


def test_an_answer_too_large_for_lambda_is_refused() -> None:
    # distinct long words: the counts make the answer larger than the text
    body = b" ".join(b"%x" % number for number in range(700_000))[:MAX_REQUEST_BYTES]
    assert ask("word-count", body).status == 422


def test_the_query_string_is_decoded_and_its_last_value_wins() -> None:
    assert dict(queries.parse("a=1&a=2&b=%C3%A9+x&c=")) == {"a": "2", "b": "é x", "c": ""}
