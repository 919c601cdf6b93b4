"""Burn-rate alarms by function: as objectives want them, against CloudWatch's own model of what it takes."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from fiso.domain.catalog import CatalogEntry
from fiso.domain.policy import Objectives
from fiso.services.request import recording
from fiso.testing.memory import InMemoryMetrics
from fiso_cli.catalog import alarms
from fiso_cli.catalog.alarms import MONTHLY_USD, WINDOWS, CloudWatchAlarms, name_of, parts, wanted, whole
from tests.builders import a_record, an_entry
from tests.cloudwatch import Point, state_of

MODEL = botocore.session.get_session().get_service_model("cloudwatch")
TOPIC = "arn:aws:sns:us-east-1:111122223333:fiso-prod-alarms"


class CloudWatch:
    """Holds alarms under its own rules: every call by the service's model, a composite alarm names alarms that there
    are, and none goes while one names it."""

    def __init__(self, *others: dict[str, Any]) -> None:
        self.alarms = {each["AlarmName"]: each for each in others}
        self.calls: list[str] = []
        self.killed_after = 10**6

    def _checked(self, operation: str, given: dict[str, Any]) -> None:
        if len(self.calls) >= self.killed_after:
            raise KeyboardInterrupt
        self.calls.append(operation)
        report = ParamValidator().validate(given, MODEL.operation_model(operation).input_shape)
        assert not report.has_errors(), report.generate_report()

    def put_metric_alarm(self, **given: Any) -> None:
        self._checked("PutMetricAlarm", given)
        self.alarms[given["AlarmName"]] = given

    def put_composite_alarm(self, **given: Any) -> None:
        self._checked("PutCompositeAlarm", given)
        assert set(re.findall(r'"([^"]+)"', given["AlarmRule"])) <= set(self.alarms)
        self.alarms[given["AlarmName"]] = given

    def delete_alarms(self, **given: Any) -> None:
        self._checked("DeleteAlarms", given)
        assert sum("AlarmRule" in self.alarms[name] for name in given["AlarmNames"]) <= 1
        for name in given["AlarmNames"]:
            del self.alarms[name]
            assert not [each for each in self.alarms.values() if f'"{name}"' in each.get("AlarmRule", "")]

    def describe_alarms(self, **given: Any) -> dict[str, Any]:
        """In pages of three."""
        self._checked("DescribeAlarms", given)
        names = given.get("AlarmNames")
        found = [
            each
            for name, each in sorted(self.alarms.items())
            if (name in names if names else name.startswith(given["AlarmNamePrefix"]))
        ]
        first = int(given.get("NextToken", 0))
        page = found[first : first + 3]
        answer = {
            "MetricAlarms": [each for each in page if "AlarmRule" not in each],
            "CompositeAlarms": [each for each in page if "AlarmRule" in each],
        }
        return answer | ({"NextToken": str(first + 3)} if found[first + 3 :] else {})


STAGES_OWN = {"AlarmName": "fiso-prod-fast-burn", "AlarmRule": "TRUE", "AlarmActions": [TOPIC]}
LOOKALIKES = (
    {"AlarmName": "fiso-prod-burn-in", "Namespace": "Ops", "MetricName": "Heat", "Dimensions": []},
    {
        "AlarmName": "fiso-prod-burn-faults",
        "MetricName": "CopyFaults",
        "Dimensions": [{"Name": "service", "Value": "fiso-prod-burn"}],
    },
    {"AlarmName": "fiso-prod-burn-fast-burn", "AlarmRule": 'ALARM("fiso-prod-burn-fast-burn-hour")'},
    {
        "AlarmName": "fiso-prod-burn-fast-burn-hour",
        "MetricName": "ObjectiveBurn",
        "Dimensions": [{"Name": "service", "Value": "fiso-prod-burn"}],
    },
)


def promising(*names: str, availability: float = 99.9) -> list[CatalogEntry]:
    return [an_entry(name=name, objectives=Objectives(availability=availability)) for name in names]


def reconcile(cloud: CloudWatch, entries: Sequence[CatalogEntry], most: int = alarms.MOST) -> alarms.Difference:
    standing = CloudWatchAlarms(cloud, "prod")
    actions = standing.actions()
    found = standing.difference(wanted(entries, most).functions, actions)
    standing.apply(found, actions)
    return found


def test_functions_that_promise_something_have_alarms_that_tell_whom_the_stages_tell() -> None:
    cloud = CloudWatch(STAGES_OWN)
    assert reconcile(cloud, [*promising("bfs"), an_entry(name="text")]).make == ("bfs",)
    assert set(cloud.alarms) == {"fiso-prod-fast-burn", name_of("prod", "bfs")} | {
        name_of("prod", "bfs", window) for window in WINDOWS
    }
    assert cloud.alarms[name_of("prod", "bfs")]["AlarmActions"] == [TOPIC]
    assert reconcile(cloud, promising("bfs")) == alarms.Difference(make=(), remove=())


def test_what_promises_nothing_any_more_loses_its_own_and_nothing_elses() -> None:
    cloud = CloudWatch(STAGES_OWN, *LOOKALIKES)
    reconcile(cloud, promising("bfs", "text"))
    for _ in range(100):
        reconcile(cloud, promising("text"))
    reconcile(cloud, [an_entry(name="text")])
    assert set(cloud.alarms) == {each["AlarmName"] for each in (STAGES_OWN, *LOOKALIKES)}


def test_killed_anywhere_and_run_again_it_ends_the_same() -> None:
    whole_run = CloudWatch(STAGES_OWN)
    reconcile(whole_run, promising("bfs", "text"))
    reconcile(whole_run, promising("bfs", "more"))
    for killed_after in range(len(whole_run.calls)):
        cloud = CloudWatch(STAGES_OWN)
        cloud.killed_after = killed_after
        with suppress(KeyboardInterrupt):
            reconcile(cloud, promising("bfs", "text"))
            reconcile(cloud, promising("bfs", "more"))
        cloud.killed_after = 10**6
        reconcile(cloud, promising("bfs", "more"))
        assert cloud.alarms == whole_run.alarms


def test_the_strictest_have_their_own_and_the_others_are_named() -> None:
    entries = [*promising("a", "b", "c", availability=99), *promising("z", availability=99.99)]
    latency = an_entry(name="y", objectives=Objectives(latency_ms=100, latency_share=99.9))
    chosen = wanted([*entries, latency], 3)
    assert (chosen.functions, chosen.left) == (("z", "y", "a"), ("b", "c"))
    assert chosen.monthly_usd == pytest.approx(3 * MONTHLY_USD) == pytest.approx(2.70)


def burned(objectives: Objectives, *, errors: int, of: int) -> float:
    """The mean of what the orchestrator counts for so many requests."""
    metrics = InMemoryMetrics()
    for number in range(of):
        told = a_record(1, error_occurred=number < errors, response_status=502 if number < errors else 200)
        recording.count_objectives(metrics, told, objectives)
    return metrics.total("ObjectiveBurn") / of


@pytest.mark.parametrize(
    ("errors", "since_s", "rings"),
    [(0, 86_400, False), (20, 7_200, True), (20, 240, True), (7, 30_000, True), (7, 240, True), (5, 86_400, False)],
)
def test_each_alarm_rings_by_what_the_orchestrator_counts(errors: int, since_s: int, rings: bool) -> None:
    """Of a thousand requests under a promise of 99.9; windows are means, so a short outage rings where it is bad."""
    rate = burned(Objectives(availability=99.9), errors=errors, of=1_000)
    points = [Point(float(ago), rate) for ago in range(0, since_s, 60)]
    states = {each["AlarmName"]: state_of(each, points) for each in parts("prod", "bfs")}
    rule = whole("prod", "bfs", [])["AlarmRule"].replace("AND", "and").replace("OR", "or")
    rule = re.sub(r'ALARM\("([^"]+)"\)', lambda found: str(states[found[1]] == "ALARM"), rule)
    assert re.fullmatch(r"[ ()TrueFalsandor]+", rule)
    assert eval(rule) is rings
