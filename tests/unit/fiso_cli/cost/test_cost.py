"""`fiso cost`: what is counted is what the code writes and the template makes, and the lines add up."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from fiso.billing import hop
from fiso.billing.hop import FrontDoor
from fiso.codecs.record import to_document
from fiso.domain.record import InvocationRecord
from fiso_cli.cost import measured, monitored, report, template
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import project_file
from fiso_cli.main import app


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["cost", *args])


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1e7), min_size=1, max_size=30))
def test_cents_add_up_to_the_rounded_sum_and_none_is_a_cent_off(usd: dict[str, float]) -> None:
    found = report.cents(usd)
    total = sum(map(Decimal, map(repr, usd.values())), Decimal(0))
    assert abs(sum(found.values()) - total) <= Decimal("0.005")
    assert all(abs(found[name] - Decimal(repr(value))) < report.CENT for name, value in usd.items())


@pytest.mark.parametrize("door", FrontDoor)
@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0, 1_000.0])
def test_lines_add_up_to_the_price_of_the_hop(rate: float, door: FrontDoor) -> None:
    prices, work, setup = hop.current(), measured.work(), template.setup(door)
    found = report.cost(prices, work, setup, report.Load(rate_per_s=rate, waited_ms=100.0))
    usd = hop.total_usd(hop.proxy_hop(prices, work, setup, waited_ms=100.0, rate_per_s=rate))
    assert float(found.sum()) == pytest.approx(usd * 1e6, abs=0.006)
    assert float(found.sum(by_month=True)) == pytest.approx(usd * rate * hop.MONTH_S, abs=0.006)
    assert found.sum() == sum(line.per_million for line in found.lines)
    assert found.sum() == found.sum(is_fixed=False) + found.sum(is_fixed=True)


def test_telling_other_clouds_is_priced_by_what_is_told() -> None:
    azure, google = monitored.told()
    assert (azure.cloud, google.cloud) == ("azure", "gcp")
    assert 100 < azure.bytes_each < google.bytes_each < 1_500
    assert azure.usd_per_million == pytest.approx(azure.bytes_each * 1e6 / 1e9 * 2.30)
    assert f"{azure.usd_per_million:.2f} USD" in "".join(monitored.remarks())


def test_every_part_has_its_words() -> None:
    found = report.cost(hop.current(), measured.work(), template.setup(), report.Load(rate_per_s=1.0, waited_ms=1.0))
    assert {line.part for line in found.lines} == report.WORDS.keys()


def test_work_is_what_the_code_writes() -> None:
    work = measured.work()
    record = measured.of_records(measured.Meter().sampled(3))
    assert record.record_units == work.record_units == work.intent_units == 1
    assert 2 <= work.fold_units.per_record(1) < 2.5, "a state that carries its marks, and an entry of a list"
    assert work.fold_units.per_record(50) < 0.5, "a batch is one transaction, its records share an entry"
    assert work.archive_puts.per_record(1) == 1
    assert 300 < work.log_bytes < 2_000
    assert work.metrics > 5


def test_the_setup_is_what_the_template_makes() -> None:
    setup, folder = template.setup(), Path(project_file("serverless.yml")).parent / "scripts/serverless"
    alarms = yaml.safe_load((folder / "alarms.yml").read_text())["Resources"].values()
    assert setup.alarms >= sum(each["Type"] == "AWS::CloudWatch::Alarm" for each in alarms)
    assert setup.dashboards >= 3
    assert setup.keys == 2
    assert template.setup(stage="dev").log_days < template.setup(stage="prod").log_days


def records(count: int, *, seconds: float) -> Iterator[InvocationRecord]:
    found = measured.Meter().sampled(count)
    start = datetime(2026, 11, 1, tzinfo=UTC)
    for number, record in enumerate(found):
        at = start + timedelta(seconds=number * seconds / (count - 1))
        yield replace(record, timestamp=at, result=replace(record.result, execution_time_ms=250.0, overhead_ms=20.0))


def test_a_log_tells_its_own_rate_times_and_sizes(tmp_path: Path) -> None:
    log = tmp_path / "records.jsonl"
    log.write_text("".join(json.dumps(to_document(record)) + "\n" for record in records(41, seconds=4_100.0)))
    done = run("--log", str(log), "--json")
    assert done.exit_code == 0, done.output
    (rate,) = json.loads(done.stdout)["rates"]
    assert (rate["rate_per_s"], rate["waited_ms"], rate["own_ms"], rate["functions"]) == (0.01, 250.0, 20.0, 1)


def test_too_short_a_log_has_no_rate() -> None:
    with pytest.raises(CommandError, match="name one with --rate"):
        report.of_log(records(5, seconds=10.0), span_s=None, keyed_share=0.0)
    with pytest.raises(CommandError, match="0 records of 86400 s"):
        report.of_log([], span_s=86_400.0, keyed_share=0.0)


@pytest.mark.parametrize(
    "args", [["--rate", "0"], ["--rate", "nan"], ["--rate", "-1"], ["--rate", "1", "--stage", "prod"], ["--ms", "-1"]]
)
def test_what_cannot_be_meant_is_one_line(args: list[str]) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_the_tables_fit_a_terminal() -> None:
    for args in ([], ["--rate", "100", "--front-door", "url"]):
        done = run(*args)
        assert done.exit_code == 0
        table = done.stdout.splitlines()[1:-8]
        assert max(map(len, table)) <= 80
        assert any(line.startswith("all") for line in table)
