"""Alarms and dashboards of the packaged template: what they read is what the code counts, each rings, and is told."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from fiso import telemetry
from fiso.domain.endpoint import Provider
from fiso.domain.policy import Objectives
from fiso.domain.record import InvocationRecord
from fiso.routing.skill import prediction_lines
from fiso.services.request import recording
from fiso.testing.memory import InMemoryMetrics, away
from fiso.testing.rig import READ_AGAIN_S, Rig, word_count
from fiso_cli.packaging.template import make_template
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure
from tests.builders import a_record, a_summary
from tests.cloudwatch import Point, state_of
from tests.golden.test_names import metrics

ENDPOINTS = ("aws-us-east-1", "azure-eastus", "gcp-us-east4")
AWS = {
    "AWS/Lambda": "Errors Throttles IteratorAge ClaimedAccountConcurrency DroppedEventCount "
    "OnFailureDestinationDeliveredEventCount",
    "AWS/ApiGateway": "5xx",
    "AWS/DynamoDB": "WriteThrottleEvents",
}
"""Metrics of AWS's own that alarms and dashboards may read, as its pages name them."""


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found = json.loads(make_template("prod").read_text())["Resources"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def alarms(resources: Mapping[str, Any]) -> dict[str, Any]:
    every = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    return {alarm["AlarmName"].removeprefix("fiso-prod-"): alarm for alarm in every}


@pytest.fixture(scope="module")
def widgets(resources: Mapping[str, Any]) -> list[dict[str, Any]]:
    boards = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Dashboard"]
    return [
        widget["properties"] for board in boards for widget in json.loads(board["DashboardBody"]["Fn::Sub"])["widgets"]
    ]


def counted(run: Callable[[Rig], None], *, seed: int = 1) -> InMemoryMetrics:
    rig = Rig(word_count(), seed=seed)
    run(rig)
    return rig.metrics


def calls(number: int, *, pause_s: float = 1.0) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        for _ in range(number):
            rig.invoke("word-count", body=b"{}")
            rig.advance(pause_s)

    return run


def slow(rig: Rig) -> None:
    for endpoint in ENDPOINTS:
        rig.slow(endpoint, 5000)
    calls(3)(rig)


def failing(rig: Rig) -> None:
    for endpoint in ENDPOINTS:
        rig.fail(endpoint, Failure.UNREACHABLE)
    calls(12)(rig)


def broken_copy(rig: Rig) -> None:
    """Whichever is called most breaks, and the next one after it."""
    for _ in range(2):
        calls(20)(rig)
        rig.answer(rig.calls[-1], FunctionAnswer(status=500, body=b"", headers={}))
    calls(20)(rig)


def without_a_table(rig: Rig) -> None:
    rig.stores.log.before = away()
    calls(1)(rig)


def foretold(*, predicted_ms: float, mean_ms: float) -> InvocationRecord:
    """Of an answer that took 100 ms."""
    return a_record(
        candidates=(a_summary(latency_ms=predicted_ms),), features={"historical_avg_latency": mean_ms}, attempts=()
    )


def burning(rig: Rig) -> None:
    rig.change_policy("word-count", objectives=Objectives(availability=99.0))
    rig.advance(READ_AGAIN_S)
    failing(rig)


def unpriced(rig: Rig) -> None:
    recording.count(rig.metrics, a_record(candidates=(a_summary(cost_usd=None),)), lambda _: Provider.AWS)


def misled(rig: Rig) -> None:
    recording.count(rig.metrics, foretold(predicted_ms=900.0, mean_ms=110.0), lambda _: Provider.AWS)


MADE: Mapping[str, Callable[[Rig], None]] = {
    "fast-burn-hour": burning,
    "fast-burn-now": burning,
    "slow-burn-hours": burning,
    "slow-burn-now": burning,
    "high-latency": slow,
    "failure-rate": failing,
    "breaker-open": failing,
    "faults": broken_copy,
    "log-spill": without_a_table,
    "prediction-accuracy-drop": misled,
    "baseline-predictions": calls(1),
    "unpriced-endpoints": unpriced,
}
"""Alarms that are tripped by running the code that counts."""
STATED = {
    "cost-threshold": 11,
    "stream-iterator-age": 90_000,
    "archive-iterator-age": 240_000,
    "stale-prices": 200,
    "stale-catalog": 400,
    "concurrency": 900,
    "server-errors": 25,
}
"""Values that trip others, where 1 is not enough."""


def test_every_alarm_tells_the_stages_topic_when_it_rings_and_when_it_ends(
    alarms: Mapping[str, Any], resources: Mapping[str, Any]
) -> None:
    assert resources["AlarmTopic"]["Type"] == "AWS::SNS::Topic"
    composed = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::CompositeAlarm"]
    parts = {name for each in composed for name in re.findall(r"\$\{(\w+)\}", each["AlarmRule"]["Fn::Sub"])}
    assert len(parts) == 2 * len(composed) == 4
    told = [alarm for alarm in alarms.values() if not any(resources[part]["Properties"] == alarm for part in parts)]
    for alarm in [*told, *composed]:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], alarm["AlarmName"]


def test_every_alarm_reads_a_metric_that_is_counted_under_its_dimensions(alarms: Mapping[str, Any]) -> None:
    ours = metrics()
    for name, alarm in alarms.items():
        if alarm["Namespace"] == telemetry.NAMESPACE:
            assert alarm["MetricName"] in ours, name
            assert alarm["Dimensions"] == [{"Name": "service", "Value": "fiso-prod"}], name
        else:
            assert alarm["MetricName"] in AWS[alarm["Namespace"]].split(), name


def test_each_alarm_rings_once_and_is_silent_while_all_is_well(alarms: Mapping[str, Any]) -> None:
    for name, alarm in alarms.items():
        if name.endswith("-absent"):
            continue
        values = [1.0 * STATED.get(name, 1)]
        if name in MADE:
            found = counted(MADE[name]).values
            values = [value for metric, value, _ in found if metric == alarm["MetricName"]]
        ringing = [Point(period * alarm["Period"], v) for period in range(alarm["EvaluationPeriods"]) for v in values]
        assert state_of(alarm, ringing) == "ALARM", (name, values)
        assert state_of(alarm, []) == "OK", name
    assert set(MADE) | set(STATED) <= set(alarms)


@pytest.mark.parametrize("name", ["keeper-absent", "retrainer-absent", "compaction-absent"])
def test_a_heart_that_is_not_heard_rings(name: str, alarms: Mapping[str, Any]) -> None:
    alarm = alarms[name]
    last_beat = alarm["Period"] * alarm["EvaluationPeriods"]
    assert state_of(alarm, []) == "ALARM"
    assert state_of(alarm, [Point(last_beat + 1, 1)]) == "ALARM"
    assert state_of(alarm, [Point(last_beat - 1, 1)]) == "OK"


def test_healthy_traffic_rings_nothing_however_much_its_latency_scatters(alarms: Mapping[str, Any]) -> None:
    """A function of which no prediction comes near: its latency is 40 to 400 ms at random. Accuracy is low for ever."""

    def run(rig: Rig) -> None:
        for call in range(120):
            for endpoint in ENDPOINTS:
                rig.slow(endpoint, 40 * 10 ** ((call * 0.618) % 1))
            calls(1)(rig)

    found = counted(run).values
    accuracies = [value for metric, value, _ in found if metric == "PredictionAccuracy"]
    assert sum(accuracies) / len(accuracies) < 0.6, "a floor under accuracy would have rung"
    skills = [value for metric, value, _ in found if metric == "PredictionSkill"]
    assert len(skills) > 80
    for name, alarm in alarms.items():
        values = [value for metric, value, _ in found if metric == alarm["MetricName"]]
        points = [Point(back * alarm["Period"], v) for back in range(alarm["EvaluationPeriods"]) for v in values]
        if alarm["Namespace"] == telemetry.NAMESPACE and not name.endswith("-absent"):
            expected = "ALARM" if name == "baseline-predictions" else "OK"  # a rig has no model
            assert state_of(alarm, points) == expected, (name, values[-5:])


def read_by(widget: Mapping[str, Any]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Namespace, metric and dimensions of all that a widget shows."""
    for row in widget.get("metrics", []):
        if isinstance(row[0], dict):
            schema, name = re.findall(r"\{([\w,]+)\}.*MetricName=\"(\w+)\"", row[0]["expression"])[0]
            namespace, *dimensions = schema.split(",")
            yield namespace, name, frozenset(dimensions)
        else:
            namespace, name, *rest = row
            yield namespace, name, frozenset(rest[:-1:2] if isinstance(rest[-1], dict) else rest[::2])


def test_every_widget_shows_a_metric_that_is_counted_under_its_dimensions(widgets: list[dict[str, Any]]) -> None:
    ours = metrics()
    shown = {each for widget in widgets for each in read_by(widget)}
    assert len(shown) > 10
    for namespace, name, dimensions in shown:
        if namespace == telemetry.NAMESPACE:
            own: Any = ours[name]["dimensions"]
            assert dimensions in (frozenset({"service"}), frozenset({"service", *own})), name
        else:
            assert name in AWS[namespace].split()


def test_every_table_shows_fields_that_its_log_groups_lines_have(widgets: list[dict[str, Any]]) -> None:
    queries = [widget["query"] for widget in widgets if "query" in widget]
    assert len(queries) == 2
    (predicted,) = prediction_lines([foretold(predicted_ms=90.0, mean_ms=110.0)])
    for query in queries:
        assert "/fiso/ml-predictions'" in query
        renamed = set(re.findall(r" as (\w+)", query))
        words = set(re.findall(r"\b[a-z]+_?\w*\b", re.sub(r"'[^']*'", "", query))) - renamed
        words -= set("fields filter sort desc limit by stats sum avg as ispresent timestamp source".split())
        assert words <= telemetry.LOGGED | set(predicted), words
