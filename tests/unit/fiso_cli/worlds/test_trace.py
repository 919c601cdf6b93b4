import gzip
import re
from pathlib import Path

import pytest

from fiso_cli.errors import BadInput
from fiso_cli.worlds.trace import read
from tests.unit.fiso_cli.worlds.paired import AZURE, HEADER, pair, row, write

GCP = "gcp,europe-west1,256"


def test_reads_rounds_with_their_load_and_the_arms_in_order_of_appearance(tmp_path: Path) -> None:
    path = write(tmp_path, *pair(0), *pair(1, 80, 90, in_flight=50, function="g"))
    trace = read(path)
    assert list(trace.arms) == ["aws/us-east-1/512", "azure/westeurope/dynamic"]
    assert [(played.function, played.in_flight) for played in trace.rounds] == [("f", 1), ("g", 50)]
    assert trace.rounds[1].calls[trace.always_present[1]].latency_ms == 90


def test_reads_gzip_whatever_the_name(tmp_path: Path) -> None:
    path = write(tmp_path, *pair(0))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(path).rounds) == 1


def test_an_arm_missing_in_a_round_is_not_always_present(tmp_path: Path) -> None:
    trace = read(write(tmp_path, *pair(0), row(1)))
    assert trace.always_present == ("aws/us-east-1/512",)
    assert list(trace.rounds[1].calls) == ["aws/us-east-1/512"]


def test_a_column_more_an_empty_line_and_an_unknown_cold_do_no_harm(tmp_path: Path) -> None:
    lines = [f"{line},x" for line in (*pair(0), row(1, cold=""), row(1, GCP))]
    trace = read(write(tmp_path, *lines, "", header=HEADER + ",note"))
    assert trace.rounds[1].calls[next(iter(trace.arms))].cold is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(0), row(0, AZURE, latency_ms=-1)], r"row 2 \(line 3\): latency_ms .* '-1'"),
        ([row(0), row(0, AZURE, latency_ms="nan")], r"row 2 .*latency_ms .* 'nan'"),
        ([row(0), row(0, AZURE, cost_usd="inf")], r"row 2 .*cost_usd"),
        ([row(0), row(0, AZURE, in_flight=-2)], r"row 2 .*in_flight"),
        ([row(0), row(0, AZURE, ok="perhaps")], r"row 2 .*ok must be True or False"),
        ([row(0), row(0, AZURE, latency_ms="fast")], r"row 2 .*latency_ms must be a number"),
        ([row(0), row(0, "ibm,eu-de,256")], r"row 2 .*provider must be one of aws, azure, gcp, not 'ibm'"),
        ([row(0), row(0, "aws,,256")], r"row 2 .*region"),
        ([row(0), row(0, "aws,us-east-1,2.5")], r"row 2 .*memory_mb must be a whole number"),
        ([*pair(1), *pair(0, t=9)], r"row 3 .*rounds are unsorted, 0 comes after 1"),
        ([*pair(0, t=9), *pair(1, t=3)], r"row 3 .*rounds are unsorted, t goes back"),
        ([row(0), row(0)], r"row 2 .*stands twice"),
        ([row(0), row(0, AZURE, function="g")], r"row 2 .*function or in_flight differ"),
        ([row(0), row(1)], r"rows 1 to 2: one arm only, aws/us-east-1/512"),
        ([], r"row 1: there are no rows"),
        ([row(0), "1,2,3"], r"row 2 .*3 fields"),
        ([row(0), row(0, AZURE, t=1.6e12)], r"row 2 .*t must be seconds"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line_that_names_the_row(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read(write(tmp_path, *rows))
    assert re.search(said, str(refused.value))
    assert "\n" not in str(refused.value)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, header="round,t,function,in_flight,provider,region,memory_mb,cold,cost_usd")
    with pytest.raises(BadInput, match=r"row 0 .*columns missing: latency_ms, ok"):
        read(path)


@pytest.mark.parametrize("content", [gzip.compress(bytes(range(256)) * 99)[:-40], b"\xff\xfe\x00\x01"])
def test_a_gzip_file_cut_short_and_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"row \d+ cannot be read"):
        read(path)
