"""What the experiment on idempotency keys says of histories that are wrong: it must be able to miss."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.lab.chaos.keyed.judging import Answered, answered, judged, kept_firsts
from tests.lab.chaos.keyed.world import AGAIN, Sent


def an_answer(status: int = 200, *, payload: str = "a", body: str = "x", allowed: int = 200, **sent: Any) -> Answered:
    response = {"statusCode": status, "headers": {"x-fiso-overhead-ms": "1", "x-b": "2"}, "body": body}
    return answered(Sent(key="k", payload=payload, **sent), response, {allowed})


UNKNOWN = json.dumps({"unknown_outcome": True})


def test_one_run_and_the_same_answer_to_all_is_right() -> None:
    history = [an_answer(), an_answer(), an_answer(409, allowed=409), an_answer(422, payload="b")]
    found = judged(history, {"k": [b"a"]})
    assert (found.keys, found.answers, found.doubles, found.wrong) == (1, 4, (), ())


def test_a_second_run_is_a_double_also_with_the_other_payload() -> None:
    assert judged([an_answer()], {"k": [b"a", b"a"]}).doubles == ("k",)
    assert judged([an_answer()], {"k": [b"a", b"b"]}, dead_runs=["k"]).doubles == ("k",)


def test_only_what_may_be_repeated_and_died_may_run_again_and_once() -> None:
    again = an_answer(function=AGAIN)
    assert judged([again], {"k": [b"a", b"a"]}).doubles == ("k",)
    assert judged([again], {"k": [b"a", b"a"]}, dead_runs=["k"]).doubles == ()
    assert judged([again], {"k": [b"a"] * 3}, dead_runs=["k"]).doubles == ("k",)
    assert judged([an_answer()], {"k": [b"a", b"a"]}, dead_runs=["k"]).doubles == ("k",)


@pytest.mark.parametrize(
    "wrong",
    [
        [an_answer(500)],
        [an_answer(409)],
        [an_answer(payload="b")],
        [an_answer(409, payload="b", allowed=409)],
        [an_answer(504, allowed=504)],
        [an_answer(), an_answer(body="y")],
        [an_answer(), an_answer(504, body=UNKNOWN, allowed=504)],
    ],
)
def test_wrong_answers_are_found(wrong: list[Answered]) -> None:
    assert judged(wrong, {"k": [b"a"]}).wrong == tuple(wrong)


def test_an_unknown_outcome_is_right_where_it_is_allowed_and_no_other_504() -> None:
    assert judged([an_answer(504, body=UNKNOWN, allowed=504)] * 2, {"k": [b"a"]}).wrong == ()


def test_headers_are_compared_but_for_a_requests_own() -> None:
    response: dict[str, Any] = {"statusCode": 200, "headers": {"x-fiso-overhead-ms": "9", "x-b": "2"}, "body": "x"}
    same = answered(Sent(key="k", payload="a"), response, {200})
    other = answered(Sent(key="k", payload="a"), response | {"headers": {"x-b": "3"}}, {200})
    assert judged([an_answer(), same], {"k": [b"a"]}).wrong == ()
    assert len(judged([an_answer(), other], {"k": [b"a"]}).wrong) == 2


def test_a_first_answer_counts_where_its_key_has_one() -> None:
    first = an_answer()
    unknown = an_answer(504, body=UNKNOWN, allowed=504)
    assert kept_firsts([first], [unknown]) == []
    assert kept_firsts([first], [replace(first, is_replay=True)]) == [first]
