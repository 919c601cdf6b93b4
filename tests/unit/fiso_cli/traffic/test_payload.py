import io
from pathlib import Path

import pytest

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.traffic import payload


@pytest.mark.parametrize("dash", ["-", "@-"])
def test_a_dash_reads_standard_input_as_bytes(dash: str) -> None:
    assert payload.read(dash, stdin=io.BytesIO(b"\x00\xff")) == b"\x00\xff"


def test_an_at_sign_reads_a_file_and_the_rest_is_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00")
    assert payload.read(f"@{tmp_path / 'x'}") == b"\x00"
    assert payload.read("größe") == "größe".encode()


@pytest.mark.parametrize("missing", ["@/no/such", "@/"])
def test_a_file_that_cannot_be_read_is_said(missing: str) -> None:
    with pytest.raises(CommandError, match=f"cannot read '{missing[1:]}'"):
        payload.read(missing)


@pytest.mark.parametrize("body", [b"{}", b"[1, 2]", b"3", b'"x"', b"null"])
def test_what_parses_as_json_is_json(body: bytes) -> None:
    assert payload.content_type_of(body) == "application/json"


@pytest.mark.parametrize("body", [b"", b"one two", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"{} {}"])
def test_what_does_not_is_bytes(body: bytes) -> None:
    assert payload.content_type_of(body) == "application/octet-stream"


def test_pairs_keep_their_order_and_everything_after_the_first_equals_sign() -> None:
    assert payload.pairs(["a=1", "b==", "a="]) == (("a", "1"), ("b", "="), ("a", ""))


@pytest.mark.parametrize("wrong", ["a", "=1", ""])
def test_a_pair_needs_a_name_and_an_equals_sign(wrong: str) -> None:
    with pytest.raises(CommandError, match="not of the form NAME=VALUE"):
        payload.pairs([wrong])


@pytest.mark.parametrize(
    "leading_away",
    ["/../pcors", "..", "/a/./b", "/%2e%2e/pcors", "/%252E%252e/pcors", "/a%2f..%2fb", "/..;x/b", "/..\\b"],
)
def test_a_path_that_would_lead_to_another_function_is_refused(leading_away: str) -> None:
    with pytest.raises(BadInput, match="segment: name the path"):
        payload.path(leading_away)


@pytest.mark.parametrize("path", ["/users/7", "/.well-known/x", "/a..b", "/...", "/1.2/", "/100%25"])
def test_other_paths_pass_as_they_are(path: str) -> None:
    assert payload.path(path) == path
