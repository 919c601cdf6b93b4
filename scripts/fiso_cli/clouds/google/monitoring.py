"""Monitoring on Google: what `monitoring.json`, `system_health.json` and `prediction_metrics.json` beside this file
declare in Google's own terms, as steps. Stage `prod` has the brief's names, another one's end in its own.

What has labels carries the stage's; buckets and sinks, which have none, say the same in their description.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.clouds.google.names import DEPLOYMENT_LABEL, STAGE_LABEL, Names
from fiso_cli.clouds.google.steps import apis, bucket, ensured
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

APIS = ("storage.googleapis.com", "monitoring.googleapis.com", "logging.googleapis.com", "iam.googleapis.com")
DEPLOYMENT, RETENTION_DAYS = "monitoring", 30
_HERE = Path(__file__).parent
_LISTED = {"policy": "alertPolicies", "channel": "notificationChannels", "dashboard": "dashboards"}
Call: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When alerts ring, and whom they tell."""

    latency_ms: float = 1000.0
    daily_usd: float = 10.0
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One thing of a collection. `created` makes it, `changed` writes it over the one that has that name."""

    kind: str
    name: str
    api: str
    wanted: Document
    found: Callable[[], Document | None]
    created: Call
    changed: Callable[[str], Call]
    removed: Callable[[str], Call]
    more: Callable[[], Document] = dict
    """What is wanted beside, and only known once other things are made."""

    def is_ours(self, found: Document, marks: Mapping[str, str]) -> bool:
        if self.kind in ("bucket", "sink"):
            return str(found.get("description", "")).startswith(mark(marks))
        labels = found.get("userLabels") or found.get("labels") or {}
        return all(labels.get(name) == value for name, value in marks.items())


def mark(labels: Mapping[str, str]) -> str:
    """What stands in the description of what has no labels."""
    return " ".join(f"{name}={value}" for name, value in labels.items())


def labels(names: Names) -> dict[str, str]:
    """By which monitoring is found again."""
    return {STAGE_LABEL: names.stage, DEPLOYMENT_LABEL: DEPLOYMENT}


def named(name: str, stage: str) -> str:
    """A name of the brief's, which stage `prod` has as it is."""
    return name if stage == "prod" else f"{name}-{stage}" if name.startswith("fiso-") else f"{name} ({stage})"


def declared(names: Names, limits: Limits) -> Document:
    """All that is declared, with this stage's values."""
    values = {"stage": names.stage, "project": names.project}
    numbers = {
        "latency_s": limits.latency_ms / 1000,
        "latency_ms": limits.latency_ms,
        "daily_usd": limits.daily_usd * 23 / 24,
    }

    def read(file: str) -> Any:
        text = (_HERE / file).read_text(encoding="utf-8")
        for name, number in numbers.items():
            text = text.replace(f'"${{{name}}}"', json.dumps(number))
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return json.loads(text)

    whole: Document = read("monitoring.json")
    whole["dashboards"] = [read("system_health.json"), read("prediction_metrics.json")]
    for each in whole["policies"] + whole["dashboards"]:
        each["displayName"] = named(each["displayName"], names.stage)
    for each in whole["sinks"]:
        each["name"] = named(each["name"], names.stage)
    return whole


def steps(google: Google, names: Names, limits: Limits, more: Sequence[str] = ()) -> tuple[list[Step], list[Step]]:
    """Before the lock, and under it; `more` are APIs that are needed beside."""
    whole = declared(names, limits)
    made = [_step(thing, names, google) for thing in _things(google, names, whole, limits)]
    return [apis(google, (*APIS, *more)), bucket(google, names)], [_descriptors(google, whole["descriptors"]), *made]


def leftovers(google: Google, names: Names) -> list[Step]:
    """What carries the stage's marks, in the order in which it was made."""
    things = _things(google, names, declared(names, Limits()), Limits(email="-@-"))
    found = [_step(thing, names, google) for thing in things if thing.found() is not None]
    return [_descriptors(google, declared(names, Limits())["descriptors"], names), *found]


def _things(google: Google, names: Names, whole: Document, limits: Limits) -> Iterator[Thing]:
    parent, marks = f"projects/{names.project}", labels(names)
    for sink in whole["sinks"]:
        place = f"{parent}/locations/global/buckets/{sink['bucket']}"
        yield _bucket(google, place, marks)
    for sink in whole["sinks"]:
        place = f"logging.googleapis.com/{parent}/locations/global/buckets/{sink['bucket']}"
        wanted = {"name": sink["name"], "filter": sink["filter"], "destination": place, "description": mark(marks)}
        yield _sink(google, parent, wanted)
    channel = None
    if limits.email:
        name = named("fiso-alerts", names.stage)
        wanted = {"type": "email", "displayName": name, "labels": {"email_address": limits.email}, "userLabels": marks}
        yield (channel := _listed(google, "channel", parent, wanted))
    for policy in whole["policies"]:
        yield _listed(google, "policy", parent, {**policy, "userLabels": marks}, tells=channel)
    for dashboard in whole["dashboards"]:
        yield _listed(google, "dashboard", parent, {**dashboard, "labels": marks})


def _bucket(google: Google, place: str, marks: Mapping[str, str]) -> Thing:
    def buckets(api: Any) -> Any:
        return api.projects().locations().buckets()

    def found() -> Document | None:
        return google.find("logging", lambda api: buckets(api).get(name=place))

    parent, _, short = place.partition("/buckets/")
    wanted = {"retentionDays": RETENTION_DAYS, "description": mark(marks), "lifecycleState": "ACTIVE"}
    body = {"retentionDays": RETENTION_DAYS, "description": mark(marks)}

    def changed(_: str) -> Call:
        if (found() or {}).get("lifecycleState") == "DELETE_REQUESTED":  # its name is taken for a week
            google.call("logging", lambda api: buckets(api).undelete(name=place, body={}))
        return lambda api: buckets(api).patch(name=place, updateMask="retentionDays,description", body=body)

    return Thing(
        kind="bucket",
        name=short,
        api="logging",
        wanted=wanted,
        found=found,
        created=lambda api: buckets(api).create(parent=parent, bucketId=short, body=body),
        changed=changed,
        removed=lambda _: lambda api: buckets(api).delete(name=place),
    )


def _sink(google: Google, parent: str, wanted: Document) -> Thing:
    name, mask = f"{parent}/sinks/{wanted['name']}", "filter,destination,description"
    return Thing(
        kind="sink",
        name=wanted["name"],
        api="logging",
        wanted=wanted,
        found=lambda: google.find("logging", lambda api: api.projects().sinks().get(sinkName=name)),
        created=lambda api: api.projects().sinks().create(parent=parent, uniqueWriterIdentity=True, body=wanted),
        changed=lambda _: (
            lambda api: (
                api.projects().sinks().patch(sinkName=name, updateMask=mask, uniqueWriterIdentity=True, body=wanted)
            )
        ),
        removed=lambda _: lambda api: api.projects().sinks().delete(sinkName=name),
    )


def _listed(google: Google, kind: str, parent: str, wanted: Document, *, tells: Thing | None = None) -> Thing:
    """What is found by its display name and labels alone: its name is Google's to give."""
    noun, api = _LISTED[kind], "monitoring.v1" if kind == "dashboard" else "monitoring"
    above = {"parent" if kind == "dashboard" else "name": parent}

    def things(of: Any) -> Any:
        return getattr(of.projects(), noun)()

    def found() -> Document | None:
        pages = google.pages(api, lambda of, token: things(of).list(**above, pageToken=token), noun)
        same = [each for each in pages if each.get("displayName") == wanted["displayName"]]
        marks = wanted.get("userLabels") or wanted["labels"]
        ours = [each for each in same if (each.get("userLabels") or each.get("labels")) == marks]
        return next(iter([*ours, *same]), None)

    def more() -> Document:
        channel = tells.found() if tells else None
        return {"notificationChannels": [channel["name"]]} if channel else {}

    def changed(name: str) -> Call:
        body = {**wanted, **more(), "name": name} | (
            {"etag": (found() or {}).get("etag", "")} if kind == "dashboard" else {}
        )
        return lambda of: things(of).patch(name=name, body=body)

    return Thing(
        kind=kind,
        name=wanted["displayName"],
        api=api,
        wanted=wanted,
        found=found,
        created=lambda of: things(of).create(**above, body={**wanted, **more()}),
        changed=changed,
        removed=lambda name: lambda of: things(of).delete(name=name),
        more=more,
    )


def _step(thing: Thing, names: Names, google: Google) -> Step:
    marks = labels(names)

    def look() -> Look:
        found = thing.found()
        if found is None or (thing.kind == "bucket" and found.get("lifecycleState") == "DELETE_REQUESTED"):
            return ABSENT
        if not thing.is_ours(found, marks):
            # an alert or a dashboard of that name is nobody's in particular: ours stands beside it
            return ABSENT if thing.kind in _LISTED else not_ours(f"{thing.name} is not described as this stage's")
        where = difference(found, {**thing.wanted, **thing.more()})
        return different(f"{where} is not as declared") if where else AS_WANTED

    def make(say: Say) -> None:
        found = thing.found()
        if found is not None and thing.is_ours(found, marks):
            call = thing.changed(str(found.get("name", "")))
            google.call(thing.api, call)
        else:
            ensured(lambda: _once_known(google, thing))

    def undo(say: Say) -> None:
        found = thing.found()
        if found is not None and thing.is_ours(found, marks):
            google.find(thing.api, thing.removed(str(found.get("name", ""))))

    return Step(name=f"{thing.kind} {thing.name}", makes=_MAKES[thing.kind], look=look, make=make, undo=undo)


_MAKES = {
    "bucket": f"log bucket, kept for {RETENTION_DAYS} days",
    "sink": "what is logged, into its bucket",
    "channel": "whom alerts tell",
    "policy": "an alert",
    "dashboard": "a dashboard",
}


def _once_known(google: Google, thing: Thing) -> Document:
    """A metric that was described just now is not known everywhere for minutes, and a policy on it is refused."""
    pause = 2.0
    for _ in range(10):
        try:
            return google.call(thing.api, thing.created)
        except Refused as refused:
            if refused.code != 404 or "Cannot find metric" not in str(refused):
                raise
        google.pause(pause)
        pause = min(pause * 2, 60.0)
    return google.call(thing.api, thing.created)


def difference(found: Any, wanted: Any, where: str = "") -> str:
    """The first place that is not as declared; Google leaves out what is 0 or empty, and adds its own."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        inner = [difference(found.get(name), each, f"{where}.{name}".strip(".")) for name, each in wanted.items()]
    elif isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        inner = [difference(*pair, where) for pair in zip(found, wanted, strict=True)]
    else:
        return "" if found == wanted or (not found and not wanted) else where or "it"
    return next((each for each in inner if each), "")


def _descriptors(google: Google, wanted: list[Document], of: Names | None = None) -> Step:
    """All metrics; every stage of a project writes the same ones, so they go with the last."""
    name, own = f"projects/{google.project}", "custom.googleapis.com/fiso_"

    def found() -> dict[str, Document]:
        pages = google.pages(
            "monitoring",
            lambda api, token: (
                api.projects()
                .metricDescriptors()
                .list(name=name, filter=f'metric.type = starts_with("{own}")', pageToken=token)
            ),
            "metricDescriptors",
        )
        return {each["type"]: each for each in pages}

    def look() -> Look:
        there = found()
        missing = [each["type"] for each in wanted if each["type"] not in there]
        wrong = [each["type"] for each in wanted if difference(there.get(each["type"], each), each)]
        if of is not None and _others(google, of):
            return ABSENT  # another stage's still
        if len(missing) == len(wanted):
            return ABSENT
        return different(f"{(missing or wrong)[0]} is missing or another") if missing or wrong else AS_WANTED

    def make(say: Say) -> None:
        there = found()
        for each in wanted:
            if difference(there.get(each["type"]), each):
                google.call(
                    "monitoring",
                    lambda api, body=each: api.projects().metricDescriptors().create(name=name, body=body),  # type: ignore[misc]
                )

    def undo(say: Say) -> None:
        for each in set(found()) & {each["type"] for each in wanted}:
            full = f"{name}/metricDescriptors/{each}"
            google.find(
                "monitoring",
                lambda api, full=full: api.projects().metricDescriptors().delete(name=full),  # type: ignore[misc]
            )

    makes = f"{len(wanted)} metrics, described"
    return Step(name="metrics fiso_*", makes=makes, look=look, make=make, undo=undo)


def _others(google: Google, names: Names) -> bool:
    """Whether another stage's dashboards are in the project."""
    pages = google.pages(
        "monitoring.v1",
        lambda api, token: api.projects().dashboards().list(parent=f"projects/{names.project}", pageToken=token),
        "dashboards",
    )
    stages = [each.get("labels", {}) for each in pages]
    return any(
        each.get(DEPLOYMENT_LABEL) == DEPLOYMENT and each.get(STAGE_LABEL) not in (None, names.stage) for each in stages
    )
