import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest

from fiso.codecs.record import open_to_document, to_document
from fiso.domain.archive import Extent
from fiso_cli.errors import BadInput
from fiso_cli.stage import Stage
from fiso_cli.what_if.records import InvalidLog, Log, in_file, logged, span
from tests.builders import NOW, a_record, an_open_record, invocation_id


def lines(*numbers: int) -> str:
    return "".join(json.dumps(to_document(a_record(number))) + "\n" for number in numbers)


@pytest.mark.parametrize(("text", "length"), [("30d", timedelta(days=30)), ("12h", timedelta(hours=12))])
def test_spans_are_days_or_hours(text: str, length: timedelta) -> None:
    assert span(text) == length


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "1.5h", "30 d", "99999d", "30m"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="days or hours"):
        span(text)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_closed_records_once_each_from_plain_and_gzip_files(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "log"
    text = lines(1, 2) + json.dumps(open_to_document(an_open_record(9))) + "\n\n" + lines(2, 3)
    path.write_bytes(pack(text.encode()))
    assert [record.invocation_id for record in in_file(path)] == [invocation_id(n) for n in (1, 2, 3)]


def test_a_moment_cuts_off_what_is_older(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(1, 500, 900), encoding="utf-8")
    found = in_file(path, NOW + timedelta(milliseconds=500))
    assert [record.invocation_id for record in found] == [invocation_id(500), invocation_id(900)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lines(1).encode() + b"{\n", "line 2: "),
        (lines(1).encode() + b"[1]\n", "line 2: record does not parse"),
        (b'{"status": "final"}\n', "line 1: record does not parse"),
        (b"\xff\xfe\n", "line 1: "),
        (gzip.compress(lines(1).encode())[:-20], "cannot be read"),
        (b"[" * 100_000 + b"\n", "line 1: "),
    ],
)
def test_damage_is_said_in_one_line_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(InvalidLog) as caught:
        list(in_file(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidLog, match="No such file"):
        list(in_file(tmp_path / "none"))


def test_what_was_left_out_of_an_archive_is_said() -> None:
    assert Log(iter(()), Extent(records=10, standing=10)).remarks == []
    sampled = Log(iter(()), Extent(records=200_000, standing=5_184_000.0, left_out=2)).remarks
    assert sampled[0].startswith("note: 200,000 of about 5,184,000 records were read")
    assert "--records 0" in sampled[0]
    assert sampled[1] == "note: 2 objects of the archive could not be read whole"


def test_whoever_interrupts_a_reading_ends_its_requests(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(1, 2, 3), encoding="utf-8")
    stage = Stage.named("local")
    reading = logged(stage, path, since=None, default="7d", now=NOW)
    found = reading.__enter__()
    next(iter(found))
    reading.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list(found) == [], "it is closed"
