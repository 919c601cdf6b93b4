"""Comparing answers of copies: what differs, what does not, and who is the odd one."""

import gzip

import pytest

from fiso.domain.equivalence import Comparable, Ignored, agreement, differences
from fiso_client.core.answers import FunctionAnswer

JSON = {"content-type": "application/json"}


def answer(body: str | bytes = "{}", status: int = 200, *cookies: str, **headers: str) -> FunctionAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body.encode() if isinstance(body, str) else body
    return FunctionAnswer(status=status, body=raw, headers={**JSON, **named}, cookies=cookies)


def found(this: FunctionAnswer, that: FunctionAnswer, *pointers: str, headers: tuple[str, ...] = ()) -> list[str]:
    ignored = Ignored(pointers=pointers, headers=frozenset(headers))
    two = differences(Comparable(this, ignored), Comparable(that, ignored), ignored)
    return [f"{d.place}: {d.this} | {d.that}" for d in two]


@pytest.mark.parametrize(
    ("this", "that", "difference"),
    [
        ('{"a": 1}', '{"a": 2}', "body /a: 1 | 2"),
        ('{"a": 1}', '{"a": true}', "body /a: 1 | true"),
        ('{"a": 0}', '{"a": false}', "body /a: 0 | false"),
        ('{"a": null}', "{}", "body /a: null | (absent)"),
        ('{"a": [1, 2]}', '{"a": [1]}', "body /a/1: 2 | (absent)"),
        ('{"a": {"b": 1}}', '{"a": [1]}', "body /a: an object of 1 | a list of 1"),
        ('{"a/b": {"~": "x"}}', '{"a/b": {"~": "y"}}', 'body /a~1b/~0: "x" | "y"'),
        ('{"n": 9007199254740993}', '{"n": 9007199254740992}', "body /n: 9007199254740993 | 9007199254740992"),
        ('{"n": 1e999}', '{"n": 1e998}', "body /n: 1e999 | 1e998"),
        ('{"n": NaN}', '{"n": 0}', "body /n: NaN | 0"),
        ("1", "2", "body: 1 | 2"),
        ('{"token": "abc"}', '{"token": "abd"}', "body /token: [redacted] | [redacted]"),
    ],
)
def test_json_differs_where_a_value_does(this: str, that: str, difference: str) -> None:
    assert found(answer(this), answer(that)) == [difference]


@pytest.mark.parametrize(
    ("this", "that"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ('{"a": 1.0}', '{"a": 1}'),
        ('{"a": 1e2}', '{"a": 100}'),
        ('{"a": 0.1}', '{"a": 0.10}'),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": -0.0}', '{"a": 0}'),
        ('{"a": "\\u00e4"}', '{"a": "ä"}'),
        ("\ufeff{}", "{}"),
    ],
)
def test_json_is_alike_when_its_values_are(this: str, that: str) -> None:
    assert found(answer(this), answer(that)) == []


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 2}',
        "[" * 100_000 + "]" * 100_000,
        "[" * 500 + "]" * 500,
        '{"a": ' + "9" * 5_000 + "}",
        '"' + "x" * 300_000 + '"',
        "{",
    ],
)
def test_json_that_cannot_be_judged_is_compared_by_its_bytes(body: str) -> None:
    assert found(answer(body), answer(body)) == []
    (difference,) = found(answer(body), answer(body + " "))
    assert difference.startswith(f"body, byte {len(body)}: ")


def test_a_text_is_compared_by_its_bytes() -> None:
    this, that = answer("1", content_type="text/plain"), answer("1.0", content_type="text/plain")
    assert found(this, that) == ["body, byte 1: 1 | 1.0"]


def test_what_servers_add_is_no_difference_and_what_functions_say_is() -> None:
    this = answer(date="Mon", server="gws", x_amzn_requestid="1", x_ms_request_id="2", x_fiso_region="a", etag='"1"')
    that = answer(date="Tue", server="Kestrel", via="1.1 google", content_length="2", etag='"2"')
    assert found(this, that) == ['header etag: "1" | "2"']


def test_declared_headers_are_ignored_also_by_their_beginning() -> None:
    assert found(answer(etag="1", x_build_id="1"), answer(etag="2"), headers=("ETag", "X-Build-*")) == []


def test_a_media_type_is_the_same_however_it_is_spelled() -> None:
    this = answer(content_type="text/html; charset=UTF-8")
    assert found(this, answer(content_type="Text/HTML;charset=utf-8")) == []
    assert found(this, answer(content_type="text/html")) != []


def test_cookies_are_compared_by_name_and_attributes() -> None:
    this = answer("{}", 200, "sid=1; Path=/; HttpOnly; Expires=Mon", "ARRAffinity=x; Path=/")
    assert found(this, answer("{}", 200, "sid=2; httponly; path=/; expires=Tue")) == []
    assert found(this, answer("{}", 200, "sid=1; Path=/; Expires=Mon")) == [
        "cookie sid: expires; httponly; path=/ | expires; path=/"
    ]
    assert found(this, answer("{}", 200)) == ["cookie sid: expires; httponly; path=/ | (absent)"]


def test_a_compressed_body_is_compared_by_what_it_says() -> None:
    one = answer(gzip.compress(b'{"a": 1}', mtime=1), content_encoding="gzip")
    other = answer(gzip.compress(b'{"a":1}', mtime=2), content_encoding="gzip")
    assert found(one, other) == []
    bomb = answer(gzip.compress(bytes(20_000_000)), content_encoding="gzip")
    assert found(bomb, bomb) == []
    assert found(bomb, one) != []


def test_pointers_leave_out_what_lies_below_them() -> None:
    this = answer('{"items": [{"at": {"ms": 1}, "n": 1}, {"at": 2, "n": 1}], "at": 1}')
    that = answer('{"items": [{"at": 9, "n": 1}, {"n": 1}], "at": 1}')
    assert found(this, that, "/items/*/at") == []
    assert found(this, that, "/items/0/at") == ["body /items/1/at: 2 | (absent)"]
    assert len(found(this, that, "/at")) == 2


@pytest.mark.parametrize("pointer", ["", "items", "a/b", "#/a"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="no JSON pointer"):
        Ignored(pointers=(pointer,))


@pytest.mark.parametrize(
    ("bodies", "odd"),
    [
        ("aab", ["2"]),
        ("baa", ["0"]),
        ("ab", []),
        ("abc", []),
        ("aabb", []),
        ("aaabc", ["3", "4"]),
        ("aaa", []),
    ],
)
def test_the_odd_ones_differ_from_more_than_half_of_three_or_more(bodies: str, odd: list[str]) -> None:
    answers = {str(number): Comparable(answer(f'"{body}"')) for number, body in enumerate(bodies)}
    assert list(agreement(answers).odd) == odd


def test_values_are_short_and_keep_no_secret() -> None:
    (difference,) = found(answer('{"a": "' + "x" * 999 + '"}'), answer('{"a": "Bearer abcdefghij"}'))
    assert len(difference) < 160
    assert "abcdefghij" not in difference
