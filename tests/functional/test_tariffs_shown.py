"""`fiso tariffs show` and `invoice`: what is known of prices, how old it is, and what a month comes to."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from typer.testing import CliRunner

from fiso.billing import tariff
from fiso.domain.endpoint import Provider
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import InvocationId
from fiso_cli.main import app
from fiso_cli.tariffs import commands, renewal, vendors
from tests.bills import BEGIN, CATALOG, a_call, calls, written
from tests.builders import an_attempt

PRICES = tariff.current()


def test_the_file_is_written_as_it_is_kept() -> None:
    assert renewal.text_of(json.loads(tariff.FILE.read_text())) == tariff.FILE.read_text()


def test_prices_are_shown_with_their_age_and_a_month_is_invoiced() -> None:
    shown = CliRunner().invoke(
        app, ["tariffs", "show", "--provider", "aws", "--region", "il-central-1"], env={"COLUMNS": "200"}
    )
    assert "estimated: its neighbours' price" in shown.output
    assert "https://aws.amazon.com/lambda/pricing/" in shown.output
    words = "--provider aws --region us-east-1 --memory-mb 1536 --calls 3e6 --ms 120 --free-tier"
    assert (
        json.loads(CliRunner().invoke(app, ["tariffs", "invoice", *words.split(), "--json"]).output)["total_usd"]
        == 2.73
    )
    foreign = CliRunner().invoke(app, ["tariffs", "invoice", *words.split(), "--plan", "consumption"])
    assert foreign.exit_code == 2
    assert "must be one of on_demand" in foreign.output


def test_old_prices_are_said_to_be_old() -> None:
    dated = datetime.fromisoformat(PRICES.as_of).date()
    assert commands.stale(PRICES, dated) is None
    old = commands.stale(PRICES, dated.replace(year=dated.year + 1))
    assert old is not None
    assert "365 days old" in old
    assert urlsplit(vendors.AWS_BASE).scheme == "https"


def test_a_months_use_of_each_account_is_read_from_the_log(tmp_path: Path) -> None:
    """Over all functions, which no function's own states know: 10 calls of each copy, half a GB and a second each."""
    catalog, log = tmp_path / "fiso.yaml", tmp_path / "log.jsonl"
    catalog.write_text(CATALOG, encoding="utf-8")
    months_ago = [replace(call, attempts=tuple(_earlier(a) for a in call.attempts)) for call in calls(hours=(0,))]
    written([*months_ago, *map(_with_data, calls(hours=(0,)))], log)
    words = ["tariffs", "used", "--log", str(log), "-f", str(catalog)]
    found = {row["provider"]: row for row in json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["accounts"]}
    assert {name: row["monthly_requests"] for name, row in found.items()} == {"aws": 10, "azure": 20, "gcp": 10}
    assert (found["aws"]["monthly_gb_seconds"], found["azure"]["monthly_gb_seconds"]) == (5, 10)
    assert (found["azure"]["monthly_transfer_gb"], found["gcp"]["monthly_transfer_gb"]) == (40, 20)
    assert found["aws"]["monthly_transfer_gb"] == 80 + 30, "all answers to callers, and requests to other clouds"
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "80"}).output
    assert "azure: {monthly_requests: 20, monthly_gb_seconds: 10, monthly_transfer_gb: 40}" in shown
    assert max(map(len, shown.splitlines())) <= 110


def test_what_a_log_does_not_place_is_said_and_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    catalog, log = tmp_path / "fiso.yaml", tmp_path / "log.jsonl"
    catalog.write_text(CATALOG, encoding="utf-8")
    words = ["tariffs", "used", "--log", str(log), "-f", str(catalog)]
    log.write_text("", encoding="utf-8")
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["accounts"] == []
    lost = a_call(BEGIN, "word-count", Provider.AWS, 1_000.0, 1)
    written([replace(lost, attempts=(an_attempt("gone"), *lost.attempts))], log)
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["left_out"] == ["word-count/gone"]
    assert "word-count/gone is not in" in CliRunner().invoke(app, words).output
    log.write_text("{", encoding="utf-8")
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1)


def _earlier(attempt: AttemptSummary) -> AttemptSummary:
    return replace(attempt, started_at=attempt.started_at - timedelta(days=92))


def _with_data(record: InvocationRecord) -> InvocationRecord:
    return replace(
        record,
        invocation_id=InvocationId(f"{record.invocation_id}-with-data"),
        request=replace(record.request, request_size_bytes=2**30),
        result=replace(record.result, response_size_bytes=2 * 2**30),
    )
