"""FOCUS files as exports are known to write them, and as they are when broken."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fiso_cli.reports.bills.focus import InvalidBill, Money, Reader, moment
from tests.bills import LINE, SAMPLES, a_bill, read

NINE = int(datetime(2026, 6, 1, 9, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01T09:00:00Z",
        "2026-06-01T09:00Z",  # Azure before 1.0r2
        "2026-06-01T09:00:00.000Z",  # AWS
        "2026-06-01 09:00:00",  # the working group's sample data
        "2026-06-01 09:00:00 UTC",  # BigQuery
        "2026-06-01 09:00:00.000000+00",  # DuckDB
        "2026-06-01T11:00:00+02:00",
        "2026-06-01T14:30:00+05:30",
        "20260601T090000Z",
    ],
)
def test_reads_every_spelling_of_a_moment(text: str) -> None:
    assert moment(text) == NINE


@pytest.mark.parametrize(
    "text", ["06/01/2026", "1/6/2026 09:00", "", "yesterday", "46174.375", "2026-13-01", "0000-01-01"]
)
def test_refuses_a_moment_that_could_be_another(text: str) -> None:
    with pytest.raises(ValueError, match="no time in ISO 8601"):
        moment(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", "1.5"), ("-0.0000004", "-4E-7"), ("7.992e-05", "0.00007992"), ("35.2E-7", "0.00000352"), (".5", "0.5")],
)
def test_reads_amounts_exactly(tmp_path: Path, text: str, value: str) -> None:
    (charge,) = read(tmp_path, a_bill({"BilledCost": text}))
    assert charge.money.billed == Decimal(value)


@pytest.mark.parametrize(
    "text", ["1,234.56", "0,0012", "$32", "+333", "0." + "1" * 61, "nan", "Infinity", "1e99", "0x10", "٣", "1" * 40]
)
def test_refuses_an_amount_that_the_specification_does_not_spell(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidBill, match=r"bill.csv: line 2: .* is no amount"):
        read(tmp_path, a_bill({"BilledCost": text}))


@pytest.mark.parametrize("null", ["", "NULL", "null", "None", r"\N"])
def test_every_spelling_of_null_is_no_value(tmp_path: Path, null: str) -> None:
    (charge,) = read(
        tmp_path, a_bill({"ResourceId": null, "ListCost": null, "ChargeClass": null, "EffectiveCost": null})
    )
    assert (charge.resource, charge.is_correction) == ("", False)
    assert charge.money == Money(Decimal("0.000002"), Decimal("0.000002"), Decimal(0))


def test_columns_stand_in_any_order_and_case_and_may_be_more(tmp_path: Path) -> None:
    header, *lines = a_bill({"x_CostCategories": "a,b"}).splitlines()
    folded = "\n".join([header.lower().replace("providername", "serviceprovidername"), *lines])
    (charge,) = read(tmp_path, folded)
    assert charge.provider_name == "AWS"
    assert "a,b" in charge.cells
    names = list(LINE)
    backwards = "\n".join(",".join(row) for row in ([*reversed(names)], [LINE[name] for name in reversed(names)]))
    assert read(tmp_path, backwards)[0].service == "AWS Lambda"


@pytest.mark.parametrize("text", ["\ufeff{}", "\ufeff\ufeff{}"])
def test_byte_order_marks_are_no_text_also_before_the_first_line(tmp_path: Path, text: str) -> None:
    header, line = a_bill({"BilledCost": "7"}).splitlines()
    (charge,) = read(tmp_path, text.format(f"{header}\r\n\ufeff{line}\r\n"))
    assert charge.money.billed == 7


@pytest.mark.parametrize("name", ["aws.csv", "azure.csv", "gcp.csv"])
def test_reads_each_clouds_own_columns_plain_and_packed(tmp_path: Path, name: str) -> None:
    plain = list(Reader([str(SAMPLES / name)]))
    packed = tmp_path / "bill.csv.gz"
    packed.write_bytes(gzip.compress((SAMPLES / name).read_bytes()))
    assert len(plain) >= 5
    assert {charge.provider for charge in plain} == {plain[0].provider} != {None}
    assert [charge.money for charge in Reader([str(packed)])] == [charge.money for charge in plain]


GOOD = a_bill({}, {}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (GOOD.replace(b"BilledCost", b"Cost").replace(b"ResourceId", b"Id"), "has no BilledCost, ResourceId"),
        (GOOD.replace(b",", b";"), "semicolons"),
        (GOOD.replace(b"ResourceName", b"servicename"), "two columns servicename"),
        (GOOD[: len(GOOD) // 2 + 60], "is it cut?"),
        (GOOD.replace(b"USD", b'"USD', 1), "within quotes"),
        (GOOD.replace(b"USD", b'"USD"x', 1), "line 2"),
        (GOOD.replace(b"USD", b"U\0D", 1), "line 2 holds a null byte"),
        (GOOD.replace(b"USD", b"\xffSD", 1), "is not UTF-8"),
        (GOOD.replace(b"USD", b"x" * 10_000_000, 1), "longer than 1,000,000"),
        (GOOD.replace(b"USD", b"x" * 200_000, 1), "field larger than field limit"),
        (GOOD.replace(b"USD", b'"' + b"x\n" * 5_000_000 + b'"', 1), "field larger than field limit"),
        (GOOD.decode().encode("utf-16"), "is UTF-16"),
        (b"PAR1....", "duckdb -c"),
        (b"PK\x03\x04....", "unzip"),
        (gzip.compress(GOOD)[:-20], "cannot be read"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "cannot be read"),
        (GOOD.replace(b"0.000002,0.000002", b",", 1), "neither BilledCost nor EffectiveCost"),
    ],
)
def test_a_broken_file_is_one_line_that_says_where(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidBill) as raised:
        read(tmp_path, content)
    assert said in str(raised.value)
    assert "bill.csv" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("tags", "value"),
    [
        ('{"fiso-function": "pixels"}', "pixels"),
        ('{"user:fiso-function": "pixels"}', "pixels"),
        ('{"user_fiso_function": "pixels"}', "pixels"),
        ('{"Fiso:Function": "pixels"}', "pixels"),
        (r'"{\"fiso-function\": \"pixels\"}"', "pixels"),
        ('[{"key": "fiso-function", "value": "pixels"}, 7]', "pixels"),
        ('"fiso-function": "pixels"', ""),
        ('["fiso-function"]', ""),
        ("[" * 100_000 + "fiso", ""),
        ("{}", ""),
    ],
)
def test_tags_are_read_as_clouds_spell_them(tmp_path: Path, tags: str, value: str) -> None:
    (charge,) = read(tmp_path, a_bill({"Tags": tags}))
    assert charge.tag("fiso-function") == value
