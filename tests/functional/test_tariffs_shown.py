"""`fiso tariffs show` and `invoice`: what is known of prices, how old it is, and what a month comes to."""

import json
from datetime import datetime
from urllib.parse import urlsplit

from typer.testing import CliRunner

from fiso.billing import tariff
from fiso_cli.main import app
from fiso_cli.tariffs import commands, renewal, vendors

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
