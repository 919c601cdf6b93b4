from dataclasses import replace
from pathlib import Path

import pytest

from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds.outages import BUILT_IN, Kind, Outage, kind_at, outage, read
from tests.unit.fiso_cli.worlds.settings import AWS, AZURE, GCP

ARMS = (AWS, AZURE, GCP)
AWS_FILE = """start_utc,service,region,status,summary,n_updates,hours_first_to_last_update,service_name
2019-11-12 20:37:10+00:00,lambda,us-east-1,1,[RESOLVED] Increased Error Rates,2,0.5,AWS Lambda (N. Virginia)
2020-01-08 01:26:12+00:00,lambda,eu-west-1,1,[RESOLVED] Delays,1,,AWS Lambda (Ireland)
"""


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "aws.csv"
    path.write_text(AWS_FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aws:10:20", Outage(provider=Provider.AWS, start_s=10, end_s=20)),
        ("azure:0:5.5:slow", Outage(provider=Provider.AZURE, start_s=0, end_s=5.5, kind=Kind.SLOW)),
        (
            "gcp/us-east4:1:2:time_out",
            Outage(provider=Provider.GCP, region="us-east4", start_s=1, end_s=2, kind=Kind.TIME_OUT),
        ),
    ],
)
def test_a_window_is_what_it_says(text: str, expected: Outage) -> None:
    assert replace(outage(text, ARMS, span_s=100), source=expected.source) == expected


def test_a_window_begins_and_ends_when_it_says() -> None:
    found = outage("aws:10:20", ARMS, span_s=100)
    times = (9.9, 10.0, 19.9, 20.0)
    assert [kind_at([found], AWS, at_s) for at_s in times] == [None, Kind.REFUSE, Kind.REFUSE, None]
    assert kind_at([found], GCP, 15.0) is None


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_incidents_are_dated_and_sourced_and_scaled_into_the_simulation(name: str) -> None:
    found = outage(name, ARMS, span_s=900)
    assert (found.start_s, found.end_s) == (300, 600)
    assert name.split("-", 1)[1] in found.source
    assert "h scaled to 300 s" in found.source
    assert BUILT_IN[name].source in found.source


def test_a_row_of_a_file_is_placed_where_its_arm_is(events: Path) -> None:
    found = outage(f"{events}#1", ARMS, span_s=36_000)
    assert (found.provider, found.region, found.kind) == (Provider.AWS, "us-east-1", Kind.REFUSE)
    assert found.end_s - found.start_s == 1_800
    assert "2019-11-12" in found.source
    assert "scaled" not in found.source


def test_what_a_row_does_not_state_is_said(events: Path) -> None:
    found = outage(f"{events}#2:time_out", ARMS, span_s=300)
    assert (found.region, found.kind) == (None, Kind.TIME_OUT)
    for said in ("duration is not stated", "no arm is in eu-west-1", "1 h scaled to 100 s"):
        assert said in found.source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "none of aws-2023-06-13"),
        ("aws:20:10", "end after it begins"),
        ("ovh:1:2", "ovh"),
        ("aws:1:2:sulk", "sulk is no kind of outage"),
        ("aws/mars:1:2", "no arm is there"),
        ("aws:1..2:3", "1..2"),
    ],
)
def test_bad_outages_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        outage(text, ARMS, span_s=100)
    assert "\n" not in str(refused.value)


def test_bad_rows_and_files_are_refused(events: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no row 3"):
        outage(f"{events}#3", ARMS, span_s=100)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(BadInput, match="not those of a file of incidents"):
        read(other, 1)
    with pytest.raises(BadInput, match="no arm on aws"):
        outage(f"{events}#1", (GCP,), span_s=100)
