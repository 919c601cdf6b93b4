"""Cases of `fiso compare`: what a file becomes as a request."""

from pathlib import Path

import pytest

from fiso_cli.errors import BadInput
from fiso_cli.traffic.cases import Case, read


def written(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"@{folder / name}"


def test_text_is_one_case() -> None:
    (case,) = read('{"a": 1}')
    assert case == Case(name="data", headers={"content-type": "application/json"}, body=b'{"a": 1}')


def test_any_file_is_a_body(tmp_path: Path) -> None:
    (case,) = read(written(tmp_path, "photo.raw", b"\xff\x00"))
    assert case == Case(name="photo.raw", headers={"content-type": "application/octet-stream"}, body=b"\xff\x00")


def test_an_http_file_is_a_whole_request(tmp_path: Path) -> None:
    text = (
        "# a comment\nPUT /a%20b?c=d&c=e HTTP/1.1\r\nContent-Type: text/plain\r\nX-Own: ä: b\r\n\r\none\r\n\r\ntwo\r\n"
    )
    (case,) = read(written(tmp_path, "one.http", text))
    assert (case.method, case.target, case.body) == ("PUT", "/a%20b?c=d&c=e", b"one\n\ntwo")
    assert case.headers == {"content-type": "text/plain", "x-own": "ä: b"}


def test_an_http_file_may_hold_several(tmp_path: Path) -> None:
    found = read(written(tmp_path, "two.http", "GET /a\n\n### the other\nDELETE b\nx: 1\n"))
    assert [(case.name, case.method, case.target, case.is_safe) for case in found] == [
        ("two.http 1", "GET", "/a", True),
        ("two.http 2", "DELETE", "/b", False),
    ]


def test_a_case_file_is_an_object(tmp_path: Path) -> None:
    text = '{"method": "patch", "path": "a", "query": {"b": ["1", "2"]}, "headers": {"X": "y"}, "body": {"c": 1}}'
    (case,) = read(written(tmp_path, "one.case.json", text))
    assert (case.method, case.target, case.body) == ("PATCH", "/a?b=1&b=2", b'{"c": 1}')
    assert case.headers == {"x": "y", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.http", "BREW /pot\n"),
        ("a.http", "GET http://elsewhere/\n"),
        ("a.http", "GET /a\nno header\n"),
        ("a.http", "GET /a\nx\x00y: 1\n"),
        ("a.http", b"GET /\xff\n"),
        ("a.http", "GET /ä\n"),
        ("a.http", "GET /a#b\n"),
        ("a.http", "# nothing\n"),
        ("a.case.json", "[]"),
        ("a.case.json", "{"),
        ("a.case.json", '{"url": "x"}'),
        ("a.case.json", '{"headers": {"a": 1}}'),
        ("a.case.json", '{"headers": {"a b": "c"}}'),
        ("a.case.json", '{"headers": {"a": "b\\nc: d"}}'),
        ("a.case.json", '{"query": 1}'),
        ("a.case.json", '{"path": "/a b"}'),
    ],
)
def test_what_is_no_request_is_one_line(tmp_path: Path, name: str, content: str | bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read(written(tmp_path, name, content))
    assert "\n" not in str(refused.value)


def test_an_empty_folder_and_a_missing_file_are_said(tmp_path: Path) -> None:
    for data in (f"@{tmp_path}", f"@{tmp_path}/none"):
        with pytest.raises(BadInput):
            read(data)
