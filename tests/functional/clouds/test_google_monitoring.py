"""Monitoring on Google, against a local server that speaks by Google's own description of its APIs and answers queries
from what it was told: declared, deployed, killed anywhere, taken back; and told of its copies by the archiver."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiso.adapters.http.monitoring import google_monitor
from fiso.codecs import google_monitoring
from fiso.domain.endpoint import EndpointId, Plan, Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.identity import GoogleMonitoring
from fiso.domain.state import EndpointState
from fiso.services.log import monitored
from fiso.services.log.ingest import ingest
from fiso.services.request import scrape
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates
from fiso_cli.clouds import plan
from fiso_cli.clouds.google import monitoring, sender
from fiso_cli.clouds.google.monitoring import Limits
from fiso_cli.clouds.google.names import Names
from fiso_cli.errors import CommandError
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.transport import HttpTransport
from localcloud.google_cloud import monitoring as local
from localcloud.google_cloud import world as google_world
from tests.builders import NOW, a_record, a_summary, an_attempt
from tests.functional.clouds.google_rig import PROJECT, Killed, Rig, cloud

LIMITS = Limits(latency_ms=500, daily_usd=2, email="ops@example.com")
FOUND = EndpointId("gcp-us-east4-512")
BRIEF = {
    "dashboard FISO System Health",
    "dashboard Prediction Model Metrics",
    "policy Latency SLA Violation",
    "policy Cost Budget Alert",
    "sink fiso-invocation-sink",
    "sink fiso-error-sink",
}


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with cloud(tmp_path) as made:
        made.world.enabled[PROJECT] = {f"{name}.googleapis.com" for name in ("logging", "monitoring")}
        made.world.now = lambda: NOW + timedelta(minutes=10)
        yield made


def names(stage: str = "prod") -> Names:
    return Names(stage=stage, project=PROJECT, region="us-east4")


def deployed(rig: Rig, stage: str = "prod", limits: Limits = LIMITS) -> plan.Done:
    first, own = monitoring.steps(rig.google, names(stage), limits)
    return plan.apply([*first, *own], quiet, sleep=lambda _: None)


def removed(rig: Rig, stage: str = "prod") -> plan.Done:
    return plan.remove(monitoring.leftovers(rig.google, names(stage)), quiet)


def watched(rig: Rig) -> dict[str, Any]:
    """All that is there of monitoring, without names that are Google's to give and what differs from run to run."""
    found = {}
    for name, thing in rig.world.things.items():
        if name.startswith("watch/") and thing.get("lifecycleState") != "DELETE_REQUESTED":
            known = {key: each for key, each in thing.items() if key not in ("etag", "name", "notificationChannels")}
            found[name.rpartition("/")[0] + str(thing.get("displayName", name))] = known
    return found


def test_every_name_of_the_brief_is_made_and_made_once(rig: Rig) -> None:
    made = deployed(rig).made
    assert set(made) >= BRIEF
    assert (deployed(rig).made, deployed(rig).changed) == ([], [])
    changed = deployed(rig, limits=replace(LIMITS, daily_usd=3)).changed
    assert changed == ["policy Cost Budget Alert"]


def test_policies_tell_the_address_that_is_named(rig: Rig) -> None:
    def told() -> set[str]:
        policies = [each for name, each in rig.world.things.items() if "/alertPolicies/" in name]
        return {
            rig.world.things[f"watch/{name}"]["labels"]["email_address"]
            for each in policies
            for name in each.get("notificationChannels", [])
        }

    deployed(rig, limits=replace(LIMITS, email=""))
    assert told() == set()
    assert {"policy Cost Budget Alert", "policy Latency SLA Violation"} <= set(deployed(rig).changed)
    assert told() == {"ops@example.com"}
    assert deployed(rig, limits=replace(LIMITS, email="other@example.com")).changed == ["channel fiso-alerts"]
    assert told() == {"other@example.com"}


def test_another_stage_stands_beside_and_the_metrics_go_with_the_last(rig: Rig) -> None:
    deployed(rig)
    before = watched(rig)
    assert {"dashboard FISO System Health (dev)", "sink fiso-error-sink-dev"} <= set(deployed(rig, "dev").made)
    removed(rig, "dev")
    assert watched(rig) == before
    removed(rig)
    assert watched(rig) == {}


def test_killed_at_any_request_it_comes_to_the_same_end(rig: Rig) -> None:
    begin = dict(rig.world.things)
    deployed(rig)
    rig.world.things = dict(begin)
    rig.switch.set()
    deployed(rig)
    whole, requests = watched(rig), rig.switch.count
    points = range(1, requests, 2)
    assert len(points) > 20
    for at in points:
        rig.world.things = dict(begin)
        rig.switch.set(at, before=bool(at % 4 == 1))
        with pytest.raises(Killed):
            deployed(rig)
        rig.switch.set()
        deployed(rig)
        assert watched(rig) == whole, at
    full = dict(rig.world.things)
    for at in range(1, 40, 6):
        rig.world.things = dict(full)
        rig.switch.set(at, before=bool(at % 4 == 1))
        with pytest.raises(Killed):
            removed(rig)
        rig.switch.set()
        removed(rig)
        assert watched(rig) == {}, at


def lookalikes(rig: Rig) -> None:
    """Of the same names, but nobody's; and of another stage that begins alike."""
    things = monitoring._things  # what is declared, less the marks
    for marks in ({}, {"fiso-stage": "prod2", "fiso-deployment": "monitoring"}, {"fiso-stage": "prod"}):
        for thing in things(rig.google, names(), monitoring.declared(names(), LIMITS), LIMITS):
            if thing.kind in ("policy", "dashboard", "channel"):
                label = "labels" if thing.kind == "dashboard" else "userLabels"
                noun = {"policy": "alertPolicies", "dashboard": "dashboards", "channel": "notificationChannels"}[
                    thing.kind
                ]
                name = f"projects/{PROJECT}/{noun}/{next(rig.world.numbers)}"
                rig.world.things[f"watch/{name}"] = {**thing.wanted, label: marks, "name": name}


def test_lookalikes_survive_a_hundred_rounds(rig: Rig) -> None:
    deployed(rig)
    removed(rig)
    lookalikes(rig)
    before = json.dumps(
        {name: each for name, each in rig.world.things.items() if name.startswith("watch/")}, default=str
    )
    for _ in range(100):
        removed(rig)
    after = json.dumps(
        {name: each for name, each in rig.world.things.items() if name.startswith("watch/")}, default=str
    )
    assert before == after
    assert set(deployed(rig).made) >= BRIEF - {"sink fiso-invocation-sink", "sink fiso-error-sink"}
    removed(rig)
    assert len(json.dumps(watched(rig))) > 0


def test_somebody_elses_sink_of_that_name_stops_the_plan(rig: Rig) -> None:
    deployed(rig)
    rig.world.things[f"watch/projects/{PROJECT}/sinks/fiso-error-sink"]["description"] = "mine"
    with pytest.raises(CommandError, match="fiso-error-sink is not described as this stage's"):
        deployed(rig)
    assert "sink fiso-error-sink" in removed(rig).left


@pytest.mark.parametrize("method", ["monitoring.projects.alertPolicies.create", "logging.projects.sinks.create"])
def test_a_missing_right_is_one_line_with_the_command_that_grants_it(rig: Rig, method: str) -> None:
    permission = method.replace("projects.", "")
    rig.world.denied.add(permission)
    with pytest.raises(CommandError, match=f"{permission} is missing: gcloud projects add-iam-policy-binding"):
        deployed(rig)


@pytest.mark.parametrize("refused", [google_world.throttled(), google_world.Refused(503, "UNAVAILABLE", "away")])
def test_what_is_busy_or_away_is_asked_again(rig: Rig, refused: google_world.Refused) -> None:
    rig.world.faults.append(google_world.Fault(method="*", refused=refused, times=4, skip=9))
    assert set(deployed(rig).made) >= BRIEF


def test_a_metric_that_is_not_known_everywhere_yet_is_waited_for(rig: Rig) -> None:
    unknown = google_world.Refused(
        404, "NOT_FOUND", 'Cannot find metric(s) that match type = "custom.googleapis.com/x".'
    )
    rig.world.faults.append(
        google_world.Fault(method="monitoring.projects.alertPolicies.create", refused=unknown, times=5)
    )
    assert set(deployed(rig).made) >= BRIEF


def test_a_bucket_that_waits_to_be_deleted_is_taken_back(rig: Rig) -> None:
    deployed(rig)
    removed(rig)
    bucket = rig.world.things[f"watch/projects/{PROJECT}/locations/global/buckets/fiso-prod-errors"]
    assert bucket["lifecycleState"] == "DELETE_REQUESTED"
    assert "bucket fiso-prod-errors" in deployed(rig).made
    assert rig.world.things[f"watch/{bucket['name']}"]["lifecycleState"] == "ACTIVE"


def test_who_tells_is_the_archivers_role_and_nobody_else(rig: Rig) -> None:
    def roles() -> dict[str, list[str]]:
        policy = rig.world.policies.get(f"projects/{PROJECT}", {})
        return {each["role"]: each["members"] for each in policy.get("bindings", [])}

    def made(role: str) -> plan.Done:
        first, own = monitoring.steps(rig.google, names(), LIMITS, sender.APIS)
        told = sender.steps(rig.google, names(), sender.Sender(account="123456789012", role=role))
        return plan.apply([*first, *own, *told], quiet, sleep=lambda _: None)

    assert sender.setting(rig.google, names()) == ""
    made("fiso-prod-archiver")
    assert (made("fiso-prod-archiver").made, sorted(roles())) == ([], sorted(sender.ROLES))
    pool = f"principalSet://iam.googleapis.com/{sender.provider(rig.google, names()).partition('/providers/')[0]}"
    assert set(map(tuple, roles().values())) == {(f"{pool}/attribute.aws_role/fiso-prod-archiver",)}
    assert "provider archiver" in made("another-role").changed
    assert set(map(tuple, roles().values())) == {(f"{pool}/attribute.aws_role/another-role",)}
    parsed = GoogleMonitoring.parsed(sender.setting(rig.google, names()), is_local=False)
    assert parsed.project == PROJECT
    plan.remove([*monitoring.leftovers(rig.google, names()), *sender.leftovers(rig.google, names())], quiet)
    assert (roles(), sender.setting(rig.google, names())) == ({}, "")
    assert sender.leftovers(rig.google, names()) == []
    made("fiso-prod-archiver")
    assert sender.setting(rig.google, names())


# What is told, and what queries find of it


def records(count: int = 20) -> list[Any]:
    """Requests of Google's copy, every fifth of which failed there and was answered by AWS."""
    found = []
    for number in range(count):
        at = NOW + timedelta(seconds=number)
        ours = an_attempt(FOUND, started_at=at, latency_ms=120.0, plan=Plan.REQUEST_BASED.value, cost_usd=1e-6)
        record = a_record(
            number,
            timestamp=at,
            endpoint=FOUND,
            cloud_provider=Provider.GCP,
            region="us-east4",
            attempts=(ours,),
            execution_time_ms=120.0,
            features={**a_record().decision.features, "historical_avg_latency": 150.0},
            candidates=(a_summary(FOUND, latency_ms=100.0),),
        )
        if number % 5 == 0:
            failed = replace(ours, failure=Failure.TIMED_OUT, verdict=Fault.PROVIDER, status=None)
            elsewhere = an_attempt("aws", started_at=at + timedelta(milliseconds=130), plan=Plan.ON_DEMAND.value)
            record = replace(a_record(number, timestamp=at), attempts=(failed, elsewhere), decision=record.decision)
        found.append(record)
    return found


def tell(rig: Rig, some: list[Any], minute: int = 1) -> InMemoryEndpointStates:
    states = InMemoryEndpointStates()
    ingest(some, states=states, archive=InMemoryArchive(), batch_id="1")
    told = monitored.rows(some, Provider.GCP, stage="prod")
    monitor(rig, minute).put(told, monitored.states_of(told, states))
    return states


def monitor(rig: Rig, minute: int = 1, **given: Any) -> Any:
    given = {"clock": lambda: NOW + timedelta(minutes=minute), "pause": lambda _: None, **given}
    return google_monitor(HttpTransport(), lambda: "word", project=PROJECT, stage="prod", url=rig.server.url, **given)


def asked(rig: Rig, query: dict[str, Any], start: int = 0, end: int = 10) -> list[dict[str, Any]]:
    """As the console asks it of `timeSeries.list`."""
    told = {f"aggregation_{name}": value for name, value in query["aggregation"].items()}
    interval = {"interval_startTime": _at(start), "interval_endTime": _at(end)}
    answer = rig.google.call(
        "monitoring",
        lambda api: (
            api.projects().timeSeries().list(name=f"projects/{PROJECT}", filter=query["filter"], **told, **interval)
        ),
    )
    return list(answer.get("timeSeries", []))


def _at(minute: int) -> str:
    return (NOW + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def all_queries() -> dict[str, dict[str, Any]]:
    """Every query of a dashboard or a policy, by where it stands."""
    whole = monitoring.declared(names(), LIMITS)
    found = {
        f"{board['displayName']}: {widget['title']} {number}": query
        for board in whole["dashboards"]
        for widget in local.widgets(board)
        for number, query in enumerate(local.queries(widget))
    }
    for policy in whole["policies"]:
        for condition in policy["conditions"]:
            threshold = condition["conditionThreshold"]
            found[f"{policy['displayName']}: {condition['displayName']}"] = {
                "filter": threshold["filter"],
                "aggregation": threshold["aggregations"][0],
            }
    return found


def test_every_query_of_fisos_own_metrics_is_answered_from_what_the_archiver_told(rig: Rig) -> None:
    deployed(rig)
    tell(rig, records(10), minute=1)
    tell(rig, records(20), minute=2)
    own = {where: query for where, query in all_queries().items() if "custom.googleapis.com" in query["filter"]}
    assert len(own) == 19
    long = {where for where, query in own.items() if int(query["aggregation"]["alignmentPeriod"][:-1]) > 600}
    for where, query in own.items():
        found = asked(rig, query, start=-60 * 24 if where in long else 0)
        assert found, where
        assert all(each["points"] for each in found), where


def test_what_the_answers_say_is_what_was_told(rig: Rig) -> None:
    deployed(rig)
    tell(rig, records(10), minute=1)
    states = tell(rig, records(20), minute=2)
    queries = all_queries()
    (state,) = (
        each for each in states.of_function(a_record().request.function_name).values() if each.endpoint == FOUND
    )
    (cost,) = asked(rig, queries["Cost Budget Alert: USD in 23 hours"], start=-60 * 24)
    assert cost["points"][0]["value"]["doubleValue"] == pytest.approx(state.cost_usd)
    by_status = asked(rig, queries["FISO System Health: Requests that copies ended, by status 0"])
    rates = {each["metric"]["labels"]["status"]: each["points"][0]["value"]["doubleValue"] * 60 for each in by_status}
    assert rates == pytest.approx({"success": 8, "error": 0})
    (p99,) = asked(rig, queries["Latency SLA Violation: p99 as FISO saw it"])
    assert 0.1 < p99["points"][0]["value"]["doubleValue"] <= 0.25
    assert p99["resource"]["labels"]["task_id"] == FOUND


def test_the_policies_limits_are_the_stages(rig: Rig) -> None:
    policies = {each["displayName"]: each for each in monitoring.declared(names(), LIMITS)["policies"]}
    thresholds = {
        condition["displayName"]: condition["conditionThreshold"]["thresholdValue"]
        for each in policies.values()
        for condition in each["conditions"]
    }
    assert thresholds == pytest.approx(
        {"p99 as FISO saw it": 0.5, "p99 as Cloud Run saw it": 500, "USD in 23 hours": 2 * 23 / 24}
    )


def test_sinks_and_panels_get_the_attempts_and_the_errors_among_them_once(rig: Rig) -> None:
    deployed(rig)
    for _ in range(3):
        tell(rig, records(20))
    buckets = f"projects/{PROJECT}/locations/global/buckets/fiso-prod-"
    assert len(rig.world.entries[f"{buckets}invocations"]) == 20
    assert len(rig.world.entries[f"{buckets}errors"]) == 4
    panels = [
        widget["logsPanel"]["filter"]
        for board in monitoring.declared(names(), LIMITS)["dashboards"]
        for widget in local.widgets(board)
        if "logsPanel" in widget
    ]
    for text, count in zip(panels, (4, 20), strict=True):
        body = {"resourceNames": [f"projects/{PROJECT}"], "filter": text}
        found = rig.google.call("logging", lambda api, body=body: api.entries().list(body=body))  # type: ignore[misc]
        assert len(found["entries"]) == count, text


def test_metrics_have_the_names_of_get_metrics_and_are_all_described() -> None:
    state = ingested()
    told = {each["metric"]["type"].rpartition("/")[2] for each in series(state)}
    assert told <= {family.name for family in scrape._Families().all}
    described = {each["type"].rpartition("/")[2]: each for each in monitoring.declared(names(), LIMITS)["descriptors"]}
    assert told == set(described)
    for each in series(state):
        own = described[each["metric"]["type"].rpartition("/")[2]]
        assert (own["metricKind"], own["valueType"]) == (each["metricKind"], each["valueType"])
        assert {label["key"] for label in own.get("labels", [])} == set(each["metric"]["labels"])


def ingested() -> EndpointState:
    states = InMemoryEndpointStates()
    ingest(records(20), states=states, batch_id="1")
    return states.of_function(a_record().request.function_name)[FOUND]


def series(state: EndpointState) -> list[dict[str, Any]]:
    return google_monitoring.series([state], project=PROJECT, stage="prod", now=NOW)


@pytest.mark.parametrize("minutes", [(2, 2), (2, 1)])
def test_points_that_somebody_else_was_quicker_with_are_no_failure_and_count_nothing_twice(
    rig: Rig, minutes: tuple[int, int]
) -> None:
    deployed(rig)
    for minute in minutes:
        tell(rig, records(20), minute=minute)
    (cost,) = asked(rig, all_queries()["Cost Budget Alert: USD in 23 hours"], start=-60 * 24)
    assert cost["points"][0]["value"]["doubleValue"] == pytest.approx(ingested().cost_usd)


def test_more_series_than_a_call_takes_go_in_several(rig: Rig) -> None:
    states = [replace(ingested(), endpoint=EndpointId(f"gcp-{number}")) for number in range(40)]
    monitor(rig).put([], states)
    assert len(rig.world.series) == 40 * 13


@pytest.mark.parametrize(
    ("refused", "is_told"),
    [
        (google_world.throttled(1), True),
        (google_world.Refused(503, "UNAVAILABLE", "away"), True),
        (google_world.Refused(403, "PERMISSION_DENIED", "no"), False),
        (google_world.Refused(400, "INVALID_ARGUMENT", "no such label"), False),
    ],
)
def test_a_passing_refusal_is_waited_for_and_another_is_said_without_googles_words(
    rig: Rig, refused: google_world.Refused, is_told: bool
) -> None:
    rig.world.faults.append(google_world.Fault(method="logging.entries.write", refused=refused, times=2))
    if is_told:
        tell(rig, records(3))
        assert len(rig.world.entries["_Default"]) == 3
    else:
        with pytest.raises(StoreUnavailable, match=f"status {refused.code} {refused.status}$"):
            tell(rig, records(3))


def test_a_cloud_that_stays_away_costs_a_batch_its_budget_and_no_more(rig: Rig) -> None:
    away = google_world.Refused(503, "UNAVAILABLE", "away")
    rig.world.faults.append(google_world.Fault(method="*", refused=away, times=10**6))
    paused: list[float] = []
    where = monitor(rig, 0, pause=paused.append, stopwatch=lambda: sum(paused))
    with pytest.raises(StoreUnavailable, match="503"):
        where.put(monitored.rows(records(1), Provider.GCP, stage="prod"), [])
    assert 5 <= sum(paused) <= 10


def test_after_that_the_next_batches_wait_for_nobody_until_a_minute_is_over(rig: Rig) -> None:
    away = google_world.Refused(503, "UNAVAILABLE", "away")
    rig.world.faults.append(google_world.Fault(method="*", refused=away, times=10**6))
    now: list[float] = [0.0]
    told = monitored.rows(records(1), Provider.GCP, stage="prod")
    where = monitor(rig, 0, pause=now.append, stopwatch=lambda: sum(now))
    waited = []
    for _ in range(3):
        before = len(now)
        with pytest.raises(StoreUnavailable):
            where.put(told, [])
        waited.append(sum(now[before:]))
        now.append(20.0)
    assert waited[0] >= 5
    assert waited[1:] == [0, 0]
    now.append(60.0)
    rig.world.faults.clear()
    where.put(told, [])
    assert len(rig.world.entries["_Default"]) == 1
