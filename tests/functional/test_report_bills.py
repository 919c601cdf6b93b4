"""`fiso report savings --bill | --focus` over files: a log, a catalog and bills of the three clouds."""

import csv
import gzip
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.domain.endpoint import Provider
from fiso_cli.main import app
from tests import bills
from tests.bills import ARN, BEGIN, CATALOG, SAMPLES, a_bill, a_call, calls, written
from tests.builders import an_attempt

ALL = [SAMPLES / f"{cloud}.csv" for cloud in ("aws", "azure", "gcp")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fiso.yaml").write_text(CATALOG, encoding="utf-8")
    written(calls(), tmp_path / "log.jsonl")
    return tmp_path


def report(folder: Path, *arguments: object, stdin: bytes | None = None) -> Result:
    inputs = ("--log", folder / "log.jsonl", "-f", folder / "fiso.yaml")
    return CliRunner().invoke(app, ["report", "savings", *map(str, (*inputs, *arguments))], input=stdin)


def found(folder: Path, *arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
    result = report(folder, *arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.output)
    return document


def of_bills(folder: Path, *paths: Path, more: tuple[object, ...] = ()) -> dict[str, Any]:
    bill: dict[str, Any] = found(folder, *(part for path in paths for part in ("--bill", path)), *more)["bill"]
    return bill


def a_file(folder: Path, *lines: dict[str, str], name: str = "bill.csv") -> Path:
    path = folder / name
    path.write_text(a_bill(*lines), encoding="utf-8")
    return path


def test_sets_the_bills_of_three_clouds_beside_the_log(folder: Path) -> None:
    bill = of_bills(folder, *ALL)
    rows = {(row["function"], row["endpoint"]): row for row in bill["endpoints"]}
    aws = rows["word-count", "aws"]
    assert aws["parts"]["requests"] == {"estimate": "0.000004", "bill": "0.0000039"}, "a correction is among them"
    assert Decimal(aws["parts"]["compute"]["bill"]) == Decimal("0.0000833335") + Decimal("0.0000708335")
    assert [hour["hour"] for hour in aws["hours"]] == ["2026-06-01T09:00:00Z", "2026-06-01T10:00:00Z"]
    assert rows["word-count", "azure"]["bill"] == rows["pixels", "azure"]["bill"] == "0.000162", "they share a site"
    assert Decimal(rows["word-count", "gcp"]["parts"]["compute"]["bill"]) == Decimal("0.00010342")
    assert bill["not_estimated"]["other"]["billed"] == "0.0102"
    assert bill["not_estimated"]["credits"]["billed"] == "-0.00001"
    reasons = {(group["why"], group["category"]): group["lines"] for group in bill["unmatched_groups"]}
    assert reasons["names no resource", "Tax"] == reasons["names no resource", "Credit"] == 1
    assert reasons["a function of that name in another account", "Usage"] == 1
    total = sum(bills.total(path.read_text("utf-8-sig")) for path in ALL)
    assert Decimal(bill["total"]["billed"]) == total
    assert Decimal(bill["matched"]["billed"]) + Decimal(bill["unmatched"]["billed"]) == total
    assert len(bill["unmatched_lines"]) == sum(group["lines"] for group in bill["unmatched_groups"])


def test_says_it_in_tables_that_fit_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fiso_cli.rendering.width_of", lambda _stream: 80)
    shown = report(folder, *(part for path in ALL for part in ("--bill", path))).output
    compared = shown[shown.index("Estimate beside bill") :]
    tables = [line for line in compared.splitlines() if "  " in line]
    assert tables
    assert max(map(len, tables)) <= 80
    for said in ("word-count", "difference", "fits nothing", "shared out by the log's own use", "would explain it"):
        assert said in compared


@pytest.mark.parametrize(
    ("cost", "compute"), [("effective", "0.000154167"), ("billed", "0.0000833335"), ("list", "0.000166667")]
)
def test_compares_the_cost_that_is_asked_for(folder: Path, cost: str, compute: str) -> None:
    bill = of_bills(folder, SAMPLES / "aws.csv", more=("--cost", cost))
    (aws,) = bill["endpoints"]
    assert Decimal(aws["parts"]["compute"]["bill"]) == Decimal(compute)


def test_reads_standard_input_and_gzip(folder: Path) -> None:
    plain = of_bills(folder, SAMPLES / "gcp.csv")
    packed = found(folder, "--bill", "-", stdin=gzip.compress((SAMPLES / "gcp.csv").read_bytes()))["bill"]
    assert packed["total"] == plain["total"]
    assert packed["endpoints"] == plain["endpoints"]


def test_a_day_or_month_is_shared_out_by_the_logs_own_use_and_the_rest_stays_outside(folder: Path) -> None:
    month = {"ChargePeriodStart": "2026-06-01T00:00:00Z", "ChargePeriodEnd": "2026-07-01T00:00:00Z"}
    bill = of_bills(folder, a_file(folder, month | dict.fromkeys(("BilledCost", "EffectiveCost"), "30")))
    (aws,) = bill["endpoints"]
    assert [hour["bill"] for hour in aws["hours"]] == ["0.5", "0.5"], (
        "one of thirty days, and as many calls in each hour"
    )
    (rest,) = bill["unmatched_groups"]
    assert (rest["why"], rest["billed"], rest["lines"]) == ("outside the log's time", "29", 1)
    assert bill["partly_outside_lines"] == bill["apportioned_lines"] == 1


def test_days_of_another_zone_are_set_right(folder: Path) -> None:
    """A day in Berlin ends at 22:00 UTC, and the one in which its clocks go forward has 23 hours."""
    day = {"ChargePeriodStart": "2026-06-01T00:00:00+02:00", "ChargePeriodEnd": "2026-06-02T00:00:00+02:00"}
    assert of_bills(folder, a_file(folder, day))["matched_lines"] == 1
    short = {"ChargePeriodStart": "2026-06-01T11:30:00+02:00", "ChargePeriodEnd": "2026-06-01T12:30:00+02:00"}
    (aws,) = of_bills(folder, a_file(folder, short))["endpoints"]
    assert [hour["bill"] for hour in aws["hours"]] == ["0.000001", "0.000001"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            {"ChargePeriodStart": "2026-06-01T12:00:00Z", "ChargePeriodEnd": "2026-06-01T13:00:00Z"},
            "no call in the log",
        ),
        ({"ChargePeriodStart": "2026-06-03T09:00:00Z", "ChargePeriodEnd": "2026-06-03T10:00:00Z"}, "outside the log"),
        ({"ChargePeriodStart": "2026-06-01T11:00:00Z"}, "ends before it begins"),
        ({"ProviderName": ""}, "no cloud that FISO routes to"),
    ],
)
def test_a_line_that_fits_nothing_is_listed_with_why(folder: Path, line: dict[str, str], why: str) -> None:
    bill = of_bills(folder, a_file(folder, {}, line))
    (left,) = bill["unmatched_lines"]
    assert why in left["why"]
    assert (left["line"], left["billed"], left["resource"]) == (3, "0.000002", ARN)


def test_writes_the_lines_that_fit_nothing_whole(folder: Path) -> None:
    out = folder / "left.jsonl"
    of_bills(folder, SAMPLES / "azure.csv", more=("--unmatched", out))
    left = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["cells"]["x_BillingExchangeRate"] for line in left] == ["1", "1"]
    assert all(line["why"] and line["line"] > 1 for line in left)


def test_what_is_not_billed_yet_is_no_difference(folder: Path) -> None:
    bill = of_bills(folder, a_file(folder, {}))
    (aws,) = bill["endpoints"]
    assert (aws["calls"], aws["parts"]["requests"]) == (10, {"estimate": "0.000002", "bill": "0.000002"})
    assert Decimal(bill["not_billed_usd"]) > 0


EURO = {"BillingCurrency": "EUR"}
NEVER = {"ChargePeriodStart": "2025-06-01T09:00:00Z", "ChargePeriodEnd": "2025-06-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("lines", "more", "said"),
    [
        ([{}, EURO], (), "line 3 is in 'EUR', prices are in USD: --rate EUR="),
        ([{}, {"BillingCurrency": ""}], (), "no currency"),
        ([EURO], ("--rate", "EUR=-1"), "--rate must be"),
        ([EURO], ("--rate", "EUR=0"), "--rate must be"),
        ([EURO], ("--rate", "1.08"), "--rate must be"),
        ([NEVER], (), "the bill is of 2025-06-01 09:00 to 2025-06-01 10:00 UTC, the log of 2026-06-01"),
        ([], (), "has no lines"),
        ([{}], ("--cost", "amortised"), "--cost must be effective, billed, list"),
        ([{"BilledCost": "x"}], (), "line 2: 'x' is no amount"),
        ([{}], ("--bill", "-", "--bill", "-"), "twice"),
        ([{}], ("--bill", "gone.csv"), "No such file"),
        ([{}], ("--focus", "-"), "need a file"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    folder: Path, lines: list[dict[str, str]], more: tuple[str, ...], said: str
) -> None:
    bill, left, out = a_file(folder, *lines), folder / "left.jsonl", folder / "estimates.csv"
    left.write_text("before", encoding="utf-8")
    before = sorted(folder.iterdir())
    result = report(folder, "--bill", bill, "--unmatched", left, "--focus", out, *more)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.splitlines()) == 1
    assert sorted(folder.iterdir()) == before
    assert left.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("category", ["Usage", "Purchase", "Credit", "Adjustment"])
def test_money_that_comes_back_is_in_the_sum_however_its_provider_spells_it(folder: Path, category: str) -> None:
    refund = dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost"), "-0.0000015") | {"ChargeCategory": category}
    bill = of_bills(folder, a_file(folder, {}, refund, refund | {"ResourceId": "", "ChargeClass": "Correction"}))
    billed = {name: Decimal(bill[name]["billed"]) for name in ("total", "matched", "unmatched")}
    assert billed["total"] == billed["matched"] + billed["unmatched"] == Decimal("-0.000001")
    assert [line["billed"] for line in bill["unmatched_lines"]] == ["-0.0000015"], "of no resource, and listed"


def test_a_commitment_is_counted_once(folder: Path) -> None:
    """What was paid ahead is billed when it is bought and effective where it is used (FOCUS, commitment discounts)."""
    bought = {"ChargeCategory": "Purchase", "ResourceId": "arn:aws:savingsplans::111122223333:savingsplan/a"}
    bought |= {"BilledCost": "365", "EffectiveCost": "0", "ListCost": "365"}
    covered = {"BilledCost": "0", "EffectiveCost": "0.0000014", "ListCost": "0.000002"}
    for cost, total in (("effective", "0.0000014"), ("billed", "0")):
        (aws,) = of_bills(folder, a_file(folder, bought, covered), more=("--cost", cost))["endpoints"]
        assert Decimal(aws["bill"]) == Decimal(total), cost


def test_a_rate_makes_another_currency_comparable(folder: Path) -> None:
    bill = of_bills(folder, a_file(folder, EURO), more=("--rate", "EUR=1.5"))
    assert bill["matched"]["billed"] == "0.000003"


def test_refuses_to_count_a_file_twice_or_to_write_over_it(folder: Path) -> None:
    bill = a_file(folder, {})
    again = report(folder, "--bill", bill, "--bill", folder / "." / bill.name)
    assert (again.exit_code, "twice" in again.output) == (2, True)
    over = report(folder, "--bill", bill, "--unmatched", bill)
    assert over.exit_code == 2
    copy = a_file(folder, {}, name="copy.csv")
    assert of_bills(folder, bill, copy)["repeated_lines"] == 1, "two exports of the same days"


def test_a_log_without_calls_has_nothing_to_compare(folder: Path) -> None:
    written([], folder / "log.jsonl")
    result = report(folder, "--bill", a_file(folder, {}))
    assert (result.exit_code, "no calls" in result.output) == (2, True)


def test_says_by_which_discount_a_bill_is_lower(folder: Path) -> None:
    requests, seconds = (dict.fromkeys(("BilledCost", "EffectiveCost"), usd) for usd in ("0.0000017", "0.00007083348"))
    compute = {"ChargeDescription": "Total Compute", "ConsumedUnit": "Seconds"}
    shown = report(folder, "--bill", a_file(folder, requests, seconds | compute)).output
    assert "the bill is 0.850 of the estimates (requests 0.850, compute 0.850)" in shown
    assert "defaults: {prices: {aws: {discount: 0.150}}}" in shown
    shown = report(folder, "--bill", a_file(folder, dict.fromkeys(("BilledCost", "EffectiveCost"), "0"))).output
    assert "nothing was charged: within a free tier" in shown
    assert "paid ahead): 1 line\n" in shown


def test_writes_focus_that_reads_back_to_the_same_sums(folder: Path) -> None:
    out = folder / "estimates.csv.gz"
    assert found(folder, "--focus", out)["focus"] == {"file": str(out), "lines": 16, "left_out": []}
    bill = of_bills(folder, out)
    assert bill["unmatched_groups"] == []
    assert [row["difference"] for row in (*bill["endpoints"], bill["overall"])] == ["0"] * 5
    assert bill["overall"]["calls"] == len(calls())
    assert bill["not_billed_usd"] == "0"


def test_tells_what_of_the_log_focus_has_no_line_for(folder: Path) -> None:
    """Of a copy that never ended a request the log does not say where it is."""
    call = a_call(BEGIN, "word-count", Provider.AWS, 1_000.0, 1)
    written([replace(call, attempts=(an_attempt("gone", cost_usd=0.25), *call.attempts))], folder / "log.jsonl")
    document = found(folder, "--focus", folder / "estimates.csv")["focus"]
    assert document["left_out"] == [{"function": "word-count", "endpoint": "gone", "calls": 1, "usd": "0.25"}]
    assert "word-count/gone: 1 calls (0.25 USD)" in report(folder, "--focus", folder / "estimates.csv").output


def test_without_a_catalog_a_resource_is_taken_to_be_called_like_its_function(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    site = "/subscriptions/0a/resourcegroups/rg/providers/Microsoft.Web/sites/Pixels"
    bill = a_file(folder, {}, {"ProviderName": "Microsoft", "ResourceId": site, "RegionId": "eastus"})
    arguments = ["report", "savings", "--log", str(folder / "log.jsonl"), "--bill", str(bill)]
    arguments += ["--bill", str(SAMPLES / "gcp.csv")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    rows = {(row["function"], row["endpoint"]): row["bill"] for row in json.loads(result.output)["bill"]["endpoints"]}
    assert rows["word-count", "aws"] == rows["pixels", "azure"] == "0.000002"
    assert Decimal(rows["word-count", "gcp"]) > 0
    assert "taken to be called like their functions: pixels/azure" in CliRunner().invoke(app, arguments).output


def test_an_operators_terms_are_in_the_estimates_and_in_what_focus_says(folder: Path) -> None:
    terms = "version: 1\ndefaults: {prices: {aws: {discount: 0.2}}}\n"
    (folder / "fiso.yaml").write_text(CATALOG.replace("\nversion: 1\n", terms), encoding="utf-8")
    lower = [a_call(BEGIN, "word-count", Provider.AWS, 1_000.0, number, discount=0.2) for number in range(10)]
    written(lower, folder / "log.jsonl")
    out = folder / "estimates.csv"
    assert report(folder, "--focus", out).exit_code == 0
    lines = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [Decimal(line["ListCost"]) * Decimal("0.8") for line in lines] == [
        Decimal(line["BilledCost"]) for line in lines
    ]
    half = dict.fromkeys(("BilledCost", "EffectiveCost"), "0.0000008")
    assert "{aws: {discount: 0." in report(folder, "--bill", a_file(folder, half)).output
