import base64

import pytest

from fiso_cli.rendering import is_printable
from fiso_cli.traffic.invoke import body_document


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', {"body": {"a": 1}}),
        (b"plain", {"body": "plain"}),
        (b"", {"body": ""}),
        (b"\xff\x00", {"body_base64": base64.b64encode(b"\xff\x00").decode()}),
    ],
)
def test_a_body_is_json_text_or_base64(body: bytes, expected: dict[str, object]) -> None:
    assert body_document(body) == expected


def test_a_terminal_gets_only_what_cannot_reprogram_it() -> None:
    assert is_printable("a\n\tä".encode())
    assert not any(is_printable(body) for body in (b"\x1b[2J", b"\xff", b"\x00"))
