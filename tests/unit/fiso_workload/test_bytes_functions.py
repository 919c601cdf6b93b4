"""compress and word-count."""

import bz2
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_workload.answer import Refusal
from fiso_workload.compress import compress
from fiso_workload.word_count import word_count

TEXT = b"the quick brown fox jumps over the lazy dog " * 40


@given(st.binary(max_size=2000), st.integers(1, 9))
def test_compressed_bytes_hold_the_body(body: bytes, level: int) -> None:
    assert bz2.decompress(compress(body, {"level": str(level)}).body) == body
    assert zlib.decompress(compress(body, {"level": str(level), "algorithm": "zlib"}).body) == body


def test_bzip2_output_is_the_same_on_every_machine() -> None:
    # Worked once and written down.
    assert compress(b"fiso" * 8, {}).body.hex() == (
        "425a6836314159265359da69074d000003818001208800200030cd340a93251c30c3c5dc914e1424369a41d340"
    )


@pytest.mark.parametrize(
    "query", [{"level": "0"}, {"level": "10"}, {"level": "\u0663"}, {"level": ""}, {"algorithm": "lz4"}]
)
def test_unknown_levels_and_algorithms_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        compress(TEXT, query)


def test_words_are_listed_from_the_most_frequent_then_by_code_point() -> None:
    found = word_count("b a É é c_1 a, B!".encode(), {})
    assert found.body.decode() == '{"total":7,"distinct":4,"words":{"a":2,"b":2,"é":2,"c_1":1}}'


def test_only_the_top_words_are_listed() -> None:
    found = json.loads(word_count(TEXT, {"top": "1"}).body)
    assert found == {"total": 360, "distinct": 8, "words": {"the": 80}}


def test_a_text_without_words_has_none() -> None:
    assert json.loads(word_count(b"", {}).body) == {"total": 0, "distinct": 0, "words": {}}


@pytest.mark.parametrize("body", [b"\xff", b"\xed\xa0\x80", b"ok \xc3"])
def test_text_that_is_not_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match="UTF-8"):
        word_count(body, {})
