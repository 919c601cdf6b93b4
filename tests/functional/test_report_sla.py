"""`fiso report sla | cost` over a file of records."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso.codecs.record import to_document
from fiso.domain.endpoint import Provider
from fiso.domain.record import InvocationRecord
from fiso_cli.main import app
from fiso_cli.reports.sla import of_records, wilson
from tests.builders import NOW, a_record, an_attempt

HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def the_records() -> list[InvocationRecord]:
    """Two hours of 50: the second has 10 that failed; two were saved by the other cloud; every tenth has no price."""
    made = []
    for number in range(100):
        at = HOUR + timedelta(hours=number // 50, minutes=number % 50)
        is_bad = number >= 90
        took = an_attempt("aws", latency_ms=100.0 + number, started_at=at)
        attempts = (took, an_attempt("gcp", latency_ms=50.0, started_at=at)) if number in (3, 4) else (took,)
        made.append(
            a_record(
                number,
                timestamp=at,
                attempts=attempts,
                error_occurred=is_bad,
                response_status=502 if is_bad else 200,
                cost_usd=None if number % 10 == 0 else 2e-6,
                cloud_provider=Provider.AWS,
                overhead_ms=1.0,
            )
        )
    return made


def report(what: str, folder: Path, *arguments: str) -> Result:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(to_document(each)) + "\n" for each in the_records()), encoding="utf-8")
    return CliRunner().invoke(app, ["report", what, "--log", str(path), *arguments], env={"COLUMNS": "200"})


def test_says_what_callers_got_and_when_it_was_worst(tmp_path: Path) -> None:
    (row,) = json.loads(report("sla", tmp_path, "--json").output)["functions"]
    assert (row["requests"], row["availability"], row["failed_over"]) == (100, 0.9, 2)
    assert row["availability_low"] < 0.9 < row["availability_high"]
    assert row["worst_hour"] == f"{HOUR + timedelta(hours=1):%Y-%m-%d %H}:00 UTC"
    assert row["worst_hour_availability"] == 0.8
    assert row["p50_ms"] == 148.0  # number 47, as 3 and 4 took longer, and FISO's own millisecond
    shown = report("sla", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert "90.0 %" in shown.output
    assert "80.0 % served" in shown.output


def test_says_what_calls_cost_and_takes_no_price_for_none(tmp_path: Path) -> None:
    (row,) = json.loads(report("cost", tmp_path, "--json").output)["functions"]
    assert row["unpriced"] == 10
    assert row["cost_usd"] == pytest.approx(90 * 2e-6)
    assert row["usd_per_million"] == pytest.approx(2.0)
    assert sum(cloud["requests"] for cloud in row["by_cloud"].values()) == 100
    assert "by list prices" in report("cost", tmp_path).output


def test_an_empty_log_is_no_promise_kept(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("", encoding="utf-8")
    for what in ("sla", "cost"):
        shown = CliRunner().invoke(app, ["report", what, "--log", str(tmp_path / "empty")])
        assert (shown.exit_code, shown.output.strip()) == (0, "the log has no records")
    (tmp_path / "empty").write_text("{}\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["report", "sla", "--log", str(tmp_path / "empty")]).exit_code == 2


def test_a_record_without_an_attempt_served_nobody() -> None:
    (row,) = of_records([a_record(1, attempts=())])
    assert row.availability == 0.0
    assert row.p95_ms is None
    assert row.worst_hour is None


@pytest.mark.parametrize(
    ("good", "of", "low", "high"), [(10, 10, 0.722, 1.0), (0, 10, 0.0, 0.278), (81, 263, 0.255, 0.366)]
)
def test_wilsons_interval_is_that_of_the_literature(good: int, of: int, low: float, high: float) -> None:
    """Newcombe 1998, table I (81 of 263); the ends where all or none were good."""
    assert wilson(good, of) == pytest.approx((low, high), abs=6e-4)
