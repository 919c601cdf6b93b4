"""Checks of what goes on by itself: the keeper's and the retrainer's rounds, and whom alarms tell."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, is_missing, listed, redeploy

KEEPER_WINDOW = timedelta(minutes=15)
ALARMS = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
LATE_RUNS = 2
"""Rounds of the retrainer that may be missed before it is said."""
_UNITS = {"minute": 60, "hour": 3600, "day": 86400}


def schedules(site: Site) -> Iterator[Finding]:
    """The rules that start keeper and retrainer."""
    for resource in site.deployed.of_kind("AWS::Events::Rule"):
        try:
            rule = site.client("events").describe_rule(Name=resource.name)
        except ClientError as error:
            if not is_missing(error):
                raise
            rule = {"State": "gone"}
        if rule["State"] != "ENABLED":
            yield wrong(
                f"{resource.name} is {str(rule['State']).lower()}",
                why="its function never starts",
                fix=f"aws events enable-rule --name {resource.name}",
            )
        else:
            yield ok(f"{resource.name}, {rule.get('ScheduleExpression')}")


def keeper(site: Site) -> Iterator[Finding]:
    """Whether the keeper's last rounds ended well, by Lambda's own counts."""
    if "keeper" not in site.functions:
        yield unknown("there is no keeper")
        return
    resource, there = site.functions["keeper"]
    group = there.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{resource.name}"
    fix = f"aws logs tail {group} --since 15m"
    ran, failed = (_sum(site, resource.name, metric) for metric in ("Invocations", "Errors"))
    minutes = int(KEEPER_WINDOW.total_seconds() / 60)
    why = "records stay open, spilled ones are not replayed, no catalog is published"
    if not ran:
        yield wrong(
            f"the keeper has not run for {minutes} minutes", why=why, fix=f"fiso doctor --only schedules; {fix}"
        )
    elif failed:
        found = wrong if failed >= ran else warning
        yield found(f"the keeper failed in {failed:.0f} of its last {ran:.0f} rounds", why=why, fix=fix)
    else:
        yield ok(f"the keeper ran {ran:.0f} times in {minutes} minutes")


def _sum(site: Site, function: str, metric: str) -> float:
    now = datetime.now(UTC)
    answer = site.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - KEEPER_WINDOW,
        EndTime=now,
        Period=int(KEEPER_WINDOW.total_seconds()),
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def retrainer(site: Site) -> Iterator[Finding]:
    """What the last retraining came to, and when."""
    from fiso.adapters.aws.s3 import S3RetrainingRuns

    runs = S3RetrainingRuns(site.client("s3"), site.bucket).latest(1)
    fix = f"fiso retrain --stage {site.name}"
    every = _every(site)
    if not runs:
        yield warning("the retrainer has not run yet", why="the packaged model serves", fix=fix)
        return
    (run,) = runs
    age = datetime.now(UTC) - run.started_at
    if every is not None and age > LATE_RUNS * every:
        yield wrong(f"the retrainer last ran {age.days} days ago", why="the model grows old", fix=fix)
    else:
        said = "promoted" if run.promoted else "kept the champion"
        yield ok(f"the retrainer ran {run.started_at:%Y-%m-%d %H:%M} UTC and {said}: {run.reason}")


def _every(site: Site) -> timedelta | None:
    for resource in site.deployed.of_kind("AWS::Events::Rule"):
        rate = str(resource.properties.get("ScheduleExpression", ""))
        if resource.name.endswith("-retrainer") and rate.startswith("rate("):
            number, _, unit = rate[5:-1].partition(" ")
            return timedelta(seconds=int(number) * _UNITS[unit.rstrip("s")])
    return None


def alarms(site: Site) -> Iterator[Finding]:
    """Whether alarms are there, whom they tell, and which of them ring."""
    names = [each.name for kind in ALARMS for each in site.deployed.of_kind(kind)]
    found = list(_described(site, names))
    there = {alarm["AlarmName"] for alarm in found}
    if gone := [name for name in names if name not in there]:
        yield wrong(
            f"alarms are gone: {listed(gone)}",
            why="nobody is told",
            fix=f"{redeploy(site)} --force",
        )
    if off := [alarm["AlarmName"] for alarm in found if not alarm.get("ActionsEnabled", True)]:
        yield wrong(
            f"alarms tell nobody, their actions are off: {listed(off)}",
            why="nobody hears of an outage",
            fix=f"aws cloudwatch enable-alarm-actions --alarm-names {' '.join(off)}",
        )
    if not site.stage.is_local:
        yield from _receivers(site, found)
    if ringing := [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]:
        yield warning(
            f"ringing: {listed(ringing)}",
            why="each says what it is for in its description",
            fix=f"aws cloudwatch describe-alarms --state-value ALARM --alarm-name-prefix fiso-{site.name}",
        )


def parts_of(template: Mapping[str, Any]) -> set[str]:
    """The logical names of alarms that tell nobody themselves, since others are composed of them."""
    resources = template.get("Resources", {}).items()
    rules = [json.dumps(each["Properties"]["AlarmRule"]) for _, each in resources if each["Type"] == ALARMS[1]]
    return {
        name for name, each in resources if each["Type"] == ALARMS[0] and any(f"{{{name}}}" in rule for rule in rules)
    }


def _described(site: Site, names: list[str]) -> Iterator[Any]:
    asked = site.client("cloudwatch")
    for begin in range(0, len(names), 100):  # as many as one question may name
        named = names[begin : begin + 100]
        answer = asked.describe_alarms(AlarmNames=named, MaxRecords=100, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        yield from (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ()))


def _receivers(site: Site, found: list[Any]) -> Iterator[Finding]:
    topics = sorted({arn for alarm in found for arn in alarm.get("AlarmActions", []) if ":sns:" in arn})
    parts = {site.deployed.names.get(logical) for logical in parts_of(site.deployed.template)}
    if mute := [each["AlarmName"] for each in found if not each.get("AlarmActions") and each["AlarmName"] not in parts]:
        yield wrong(
            f"{len(mute)} of {len(found)} alarms tell nobody: {listed(mute, 2)}",
            why="nobody hears of an outage",
            fix="set alarmActions and alarmReceivers in serverless.yml, and deploy",
        )
    heard = 0
    for arn in topics:
        try:
            pages = site.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            subscribed = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]
        except ClientError as error:
            if not is_missing(error):
                raise
            yield wrong(
                f"alarms tell topic {arn}, which is gone",
                why="nobody hears of an outage",
                fix=f"aws sns create-topic --name {arn.rpartition(':')[2]}",
            )
            continue
        confirmed = [each for each in subscribed if each.startswith("arn:")]
        heard += len(confirmed)
        if not confirmed:
            state = "waits for its receiver's confirmation" if subscribed else "has no receiver"
            yield wrong(
                f"topic {arn.rpartition(':')[2]} {state}",
                why="nobody hears of an outage",
                fix="set alarmReceivers: [{Protocol: email, Endpoint: you@example.com}] in serverless.yml, deploy, "
                "and confirm by the mail's link",
            )
    if heard and not mute:
        yield ok(f"{len(found)} alarms tell {heard} receivers")
