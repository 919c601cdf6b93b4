"""Laws of bills: not a digit of one is lost, whatever its lines are of."""

import csv
import gzip
import tempfile
from decimal import Decimal, localcontext
from io import StringIO
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fiso_cli.catalog import declaration
from fiso_cli.reports.bills import matching, writing
from fiso_cli.reports.bills.focus import InvalidBill, Money, Reader
from fiso_cli.reports.bills.matching import Found
from fiso_cli.reports.bills.resources import Resources
from fiso_cli.reports.bills.sharing import summed
from fiso_cli.reports.bills.usage import Usage
from tests.bills import ARN, CATALOG, LINE, SAMPLES, a_bill, calls

SITE = "/subscriptions/0a/resourcegroups/rg/providers/microsoft.web/sites/fn-prod-eastus"
RUN = "//run.googleapis.com/projects/418/locations/us-east4/services/word-count"
RESOURCES = Resources(declaration.parse(CATALOG, declaration.Setting(variables={}, is_local=False)).entries)

amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=18)


@st.composite
def a_line(draw: st.DrawFn) -> dict[str, str]:
    provider, resource = draw(
        st.sampled_from([("AWS", ARN), ("Microsoft", SITE), ("Google Cloud", RUN), ("AWS", "bucket"), ("Oracle", "x")])
    )
    day, hour, minute = draw(st.tuples(st.integers(1, 3), st.integers(0, 23), st.sampled_from([0, 15, 30])))
    until = draw(st.sampled_from([f"2026-06-{day + 1:02}T00:00:00Z", "2026-07-01T00:00:00Z", "2026-05-01T00:00:00Z"]))
    return {
        "ProviderName": provider,
        "ResourceId": resource,
        "BilledCost": format(draw(amounts), "f"),
        "EffectiveCost": format(draw(amounts), "f"),
        "ListCost": draw(st.sampled_from(["", "1.5e-07", "3"])),
        "ChargeCategory": draw(st.sampled_from(["Usage", "Usage", "Usage", "Tax", "Credit", "Purchase", "Adjustment"])),
        "ChargeClass": draw(st.sampled_from(["", "Correction"])),
        "ChargePeriodStart": f"2026-06-{day:02}T{hour:02}:{minute:02}:00Z",
        "ChargePeriodEnd": until,
        "RegionId": "",
        "ChargeDescription": draw(st.sampled_from(["Requests", "Compute", "Data transfer", "?"])),
        "ConsumedUnit": "",
    }


def matched(bill: str, usage: Usage) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bill.csv"
        path.write_text(bill, encoding="utf-8")
        reader = Reader([str(path)])
        return matching.match(
            usage, RESOURCES, reader, convert=lambda charge: charge.money, told=lambda _charge, _why, _money: None
        )


def a_usage(hours: list[int], each: int) -> Usage:
    usage = Usage(RESOURCES.endpoints)
    for record in calls(hours, each):
        usage.add(record)
    return usage


@given(
    st.lists(a_line(), max_size=12),
    st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_what_is_matched_and_what_is_not_add_up_to_the_bill(
    lines: list[dict[str, str]], hours: list[int], each: int
) -> None:
    bill = a_bill(
        LINE | {"ChargePeriodStart": "2026-06-01T00:00:00Z", "ChargePeriodEnd": "2026-06-05T00:00:00Z"}, *lines
    )
    found = matched(bill, a_usage(hours, each))
    with localcontext(prec=matching.PRECISION):
        rows = list(csv.DictReader(StringIO(bill)))
        total = Money(
            *(
                sum((Decimal(row[name] or 0) for row in rows), Decimal(0))
                for name in ("BilledCost", "EffectiveCost", "ListCost")
            )
        )
        assert found.total == total
        assert found.matched.plus(found.left) == total
        by_hour = summed(money for copy in found.copies.values() for money in copy.hours.values())
        by_part = summed(copy.parts[part] for copy in found.copies.values() for part in matching.ESTIMATED)
        assert by_hour == by_part
    assert found.matched_lines + sum(group.lines for group in found.unmatched.values()) - found.partly.total() == len(
        rows
    )


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=4, unique=True), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_a_log_that_is_written_as_focus_reads_back_to_its_estimates(hours: list[int], each: int) -> None:
    usage = a_usage(hours, each)
    with localcontext(prec=matching.PRECISION):
        lines = list(writing.lines(usage, "prod"))
        out = StringIO()
        writer = csv.DictWriter(out, writing.COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
        found = matched(out.getvalue(), usage)
        for copy, uses in usage.by_copy.items():
            by_hour = {hour: money.billed for hour, money in found.copies[copy].hours.items()}
            assert by_hour == {hour: use.usd for hour, use in uses.items()}
        for line in lines:
            product = Decimal(line["PricingQuantity"]) * Decimal(line["ListUnitPrice"])
            assert abs(product - Decimal(line["ListCost"])) < Decimal("1e-12")
    assert not found.unmatched


@given(st.sampled_from(["aws.csv", "azure.csv", "gcp.csv"]), st.data())
@settings(deadline=None)
def test_a_file_in_any_state_is_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    content = bytearray((SAMPLES / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content)))
        junk = data.draw(
            st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"-", b"\xef\xbb\xbf", b"9" * 99])
        )
        content[place : place + data.draw(st.sampled_from([0, 1, 40]))] = junk
    cut = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    packed = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bill.csv"
        path.write_bytes(gzip.compress(content)[: cut + 1] if packed else content[:cut])
        said = _read_or_refused(path)
    assert "\n" not in said


def _read_or_refused(path: Path) -> str:
    """What was said against a file, "" where it was read."""
    try:
        list(Reader([str(path)]))
    except InvalidBill as error:
        return str(error)
    return ""
