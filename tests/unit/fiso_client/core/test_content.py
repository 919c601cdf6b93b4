"""What makes an answer unusable, and what does not."""

import pytest

from fiso_client.core.answers import Asked, HttpAnswer, read_http
from fiso_client.core.content import LARGEST_PARSED, flaw_of
from fiso_client.core.failures import ProviderError

JSON = {"content-type": "application/json; charset=utf-8"}
LARGE = b'{"a": "' + b"x" * LARGEST_PARSED


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"0",
        b'"text"',
        b"[NaN]",
        b"\xef\xbb\xbf{}",
        b"[" + b"9" * 5000 + b"]",
        b"[" * 100_000 + b"]" * 100_000,
        LARGE + b'"}',
        b" \n" + LARGE + b'"} \n',
        b"{}\n{}\n",
        b")]}',\n{}",
        b"for(;;);" + LARGE + b'"}',
        b" ",
        b"",
    ],
)
def test_what_calls_itself_json_and_is(body: bytes) -> None:
    assert flaw_of(200, JSON, body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome</html>",
        b'{"a": ',
        b'{"a": 1}}',
        b'"\xff"',
        b"\x1f\x8b\x08\x00",
        b'{"a": "\x00"}',
        LARGE,
        b"<html>" + LARGE,
        LARGE + b'\xff"}',
        b" " * LARGEST_PARSED + b"x",
    ],
)
def test_what_calls_itself_json_and_is_not(body: bytes) -> None:
    assert flaw_of(200, JSON, body) is not None
    assert flaw_of(200, {"content-type": "application/problem+json"}, body) is not None
    assert flaw_of(200, {"content-type": "text/plain"}, body) is None


@pytest.mark.parametrize("charset", ["iso-8859-1", '"UTF-16"', "utf-16; profile=x", "shift_jis"])
def test_json_of_another_charset_is_not_judged(charset: str) -> None:
    assert flaw_of(200, {"content-type": f"application/json; charset={charset}"}, b'"caf\xe9"') is None


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "us-ascii"])
def test_json_of_the_usual_charset_is(charset: str) -> None:
    assert flaw_of(200, {"content-type": f"application/json; charset={charset}"}, b'"caf\xe9"') is not None


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 999])
def test_a_status_that_no_answer_has(status: int) -> None:
    assert flaw_of(status, {}, b"") is not None


def test_only_a_successs_body_is_judged() -> None:
    assert flaw_of(404, JSON, b"<html>") is None
    assert flaw_of(500, JSON, b"<html>") is None


def test_a_compressed_body_is_not_looked_into() -> None:
    assert flaw_of(200, JSON | {"content-encoding": "gzip"}, b"\x1f\x8b") is None


def test_what_only_comes_back_is_the_callers_own() -> None:
    broken = HttpAnswer(status=200, headers={"content-type": "application/json"}, body=b'{"you sent": {"a": }')
    assert read_http(broken, Asked(provider="azure", body=b'{"a": ')).body == broken.body
    for body in (b"", b'{"b": '):
        with pytest.raises(ProviderError):
            read_http(broken, Asked(provider="azure", body=body))
