"""Metrics in CloudWatch's embedded metric format: what is past its limits is left out there without a word."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from fiso import telemetry


def lines(values: Iterable[tuple[str, float]], capsys: pytest.CaptureFixture[str], **labels: str) -> list[Any]:
    collector = telemetry.EmbeddedMetrics("fiso-test")
    for name, value in values:
        collector.add(name, value, "Count", **labels)
    collector.flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_value_of_a_metric_stands_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines([("Invocations", 1), ("Invocations", 5)], capsys)
    assert line["Invocations"] == [1.0, 5.0]


@pytest.mark.parametrize(
    "values",
    [[("Spilled", n) for n in range(250)], [(f"Metric{n}", n) for n in range(250)]],
    ids=["one metric's values", "metrics"],
)
def test_a_line_has_a_hundred_metrics_of_a_hundred_values_and_nothing_is_left_out(
    values: list[tuple[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(values, capsys, provider="aws")
    told: list[tuple[str, float]] = []
    for line in found:
        (stated,) = line["_aws"]["CloudWatchMetrics"]
        names = [each["Name"] for each in stated["Metrics"]]
        assert len(names) <= 100
        assert all(len(line[name]) <= 100 for name in names)
        assert stated["Dimensions"] == [["service"], ["service", "provider"]]
        told += [(name, value) for name in names for value in line[name]]
    assert told == values


def test_without_values_there_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines([], capsys) == []
