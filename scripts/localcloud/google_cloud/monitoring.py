"""Monitoring and logging: dashboards, alert policies, channels, descriptors, sinks and log buckets; what is written to
them, and what queries answer of it. A sink copies what its filter lets through into its bucket, as it comes.
"""

import re
from collections.abc import Iterator
from typing import Any

from localcloud.google_cloud import series, training
from localcloud.google_cloud.filters import parsed
from localcloud.google_cloud.handlers import HANDLERS, PERMISSIONS, Call, answers
from localcloud.google_cloud.world import Document, Refused, World, exists, not_found

_POLICIES, _DASHBOARDS = "monitoring.projects.alertPolicies", "monitoring.projects.dashboards"
_CHANNELS, _DESCRIPTORS = "monitoring.projects.notificationChannels", "monitoring.projects.metricDescriptors"
_SINKS, _BUCKETS = "logging.projects.sinks", "logging.projects.locations.buckets"
_ENTRY_FIELDS = tuple(
    "severity logName timestamp insertId trace textPayload resource.type httpRequest. jsonPayload. labels. "
    "resource.labels.".split()
)


def _kept(call: Call, name: str, body: Document, *, is_new: bool = True) -> Document:
    if is_new and f"watch/{name}" in call.world.things:
        raise exists(name)
    return _stored(call.world, name, {**body, "name": name})


def _stored(world: World, name: str, document: Document) -> Document:
    """Dashboards alone have etags."""
    kept = world.put(f"watch/{name}", document)
    if "/dashboards/" not in name:
        del kept["etag"]
    return kept


def _listing(prefix: str, key: str, parameter: str) -> Any:
    def listed(call: Call) -> Document:
        start = f"watch/{call.name(parameter)}/{prefix}/"
        return call.world.listed(sorted(each for each in call.world.things if each.startswith(start)), call.query, key)

    return listed


def _got(call: Call) -> Document:
    return call.world.get(f"watch/{call.name()}")


def _dropped(call: Call) -> Document:
    call.world.get(f"watch/{call.name()}")
    call.world.drop(f"watch/{call.name()}")
    return {}


def _patched(call: Call) -> Document:
    found = call.world.get(f"watch/{call.name()}")
    if call.body.get("etag", "") != found.get("etag", ""):
        raise Refused(409, "ABORTED", "The etag does not match.")
    return _kept(call, call.name(), {**found, **call.body}, is_new=False)


for _api, _noun, _permission in (
    (_POLICIES, "alertPolicies", "monitoring.alertPolicies"),
    (_DASHBOARDS, "dashboards", "monitoring.dashboards"),
    (_CHANNELS, "notificationChannels", "monitoring.notificationChannels"),
    (_DESCRIPTORS, "metricDescriptors", "monitoring.metricDescriptors"),
):
    answers(f"{_api}.get", f"{_permission}.get")(_got)
    answers(f"{_api}.delete", f"{_permission}.delete")(_dropped)
    answers(f"{_api}.list", f"{_permission}.list")(
        _listing(_noun, _noun, "parent" if _noun == "dashboards" else "name")
    )
    if _noun != "metricDescriptors":
        answers(f"{_api}.patch", f"{_permission}.update")(_patched)


@answers(f"{_DASHBOARDS}.create", "monitoring.dashboards.create")
def make_dashboard(call: Call) -> Document:
    name = call.body.get("name") or f"{call.name('parent')}/dashboards/{next(call.world.numbers)}"
    for widget in widgets(call.body):
        for query in queries(widget):
            _check_query(query)
    return _kept(call, name, call.body)


@answers(f"{_POLICIES}.create", "monitoring.alertPolicies.create")
def make_policy(call: Call) -> Document:
    """Its name is Google's to give: two of the same words can stand side by side."""
    if not call.body.get("conditions") or "combiner" not in call.body:
        raise Refused(400, "INVALID_ARGUMENT", "Field alert_policy.conditions and combiner must be set.")
    for condition in call.body["conditions"]:
        threshold = condition["conditionThreshold"]
        _check_query({"filter": threshold["filter"], "aggregation": threshold["aggregations"][0]})
        _check_metric(call, threshold["filter"])
        if "resource.type" not in threshold["filter"]:
            raise Refused(400, "INVALID_ARGUMENT", "Field filter must specify a restriction on resource.type.")
        if float(threshold["aggregations"][0]["alignmentPeriod"].removesuffix("s")) > 23.5 * 3600:
            raise Refused(400, "INVALID_ARGUMENT", "The alignment period must be at most 23 h 30 min.")
    for channel in call.body.get("notificationChannels", []):
        call.world.get(f"watch/{channel}")
    return _kept(call, f"{call.name()}/alertPolicies/{next(call.world.numbers):020d}", call.body)


def _check_metric(call: Call, text: str) -> None:
    """A policy is refused until its metric is there; Google's own always are."""
    found = re.search(r'metric\.type\s*=\s*"(custom\.googleapis\.com/[^"]+)"', text)
    if found and f"watch/projects/{call.project}/metricDescriptors/{found[1]}" not in call.world.things:
        text = f'Cannot find metric(s) that match type = "{found[1]}". If a metric was created recently, it could take'
        raise Refused(404, "NOT_FOUND", f"{text} up to 10 minutes to become available.")


@answers(f"{_CHANNELS}.create", "monitoring.notificationChannels.create")
def make_channel(call: Call) -> Document:
    if call.body.get("type") == "email" and "@" not in call.body.get("labels", {}).get("email_address", ""):
        raise Refused(400, "INVALID_ARGUMENT", "Field labels.email_address must be an address.")
    return _kept(call, f"{call.name()}/notificationChannels/{next(call.world.numbers):020d}", call.body)


@answers(f"{_DESCRIPTORS}.create", "monitoring.metricDescriptors.create")
def make_descriptor(call: Call) -> Document:
    name = f"{call.name()}/metricDescriptors/{call.body['type']}"
    before = call.world.things.get(f"watch/{name}", call.body)
    if any(before[each] != call.body[each] for each in ("metricKind", "valueType")):
        raise Refused(400, "INVALID_ARGUMENT", "A descriptor's metric kind and value type cannot be changed.")
    return _kept(call, name, call.body, is_new=False)


def widgets(dashboard: Document) -> Iterator[Document]:
    """All widgets, whatever the layout."""
    for tile in dashboard.get("mosaicLayout", {}).get("tiles", []):
        yield tile["widget"]


def queries(widget: Document) -> Iterator[Document]:
    """Filters with their aggregations, of a chart or a scorecard, and of a ratio both of its sides."""
    told = [each["timeSeriesQuery"] for each in widget.get("xyChart", {}).get("dataSets", [])]
    told += [widget["scorecard"]["timeSeriesQuery"]] if "scorecard" in widget else []
    for query in told:
        if "timeSeriesFilter" in query:
            yield query["timeSeriesFilter"]
        else:
            ratio = query["timeSeriesFilterRatio"]
            yield from (ratio["numerator"], ratio["denominator"])


def _check_query(query: Document) -> None:
    told = {f"aggregation.{name}": value for name, value in query.get("aggregation", {}).items()}
    told["aggregation.groupByFields"] = ",".join(query.get("aggregation", {}).get("groupByFields", []))
    interval = {"interval.startTime": "2026-01-01T00:00:00Z", "interval.endTime": "2026-01-01T00:01:00Z"}
    series.queried([], {"filter": query["filter"], **told, **interval})


@answers("monitoring.projects.timeSeries.create", "monitoring.timeSeries.create")
def write_series(call: Call) -> Document:
    """Each is taken or refused by itself; one that is refused makes the answer an error all the same."""
    given = call.body["timeSeries"]
    if len(given) > series.MOST_SERIES:
        raise Refused(
            400, "INVALID_ARGUMENT", "Field timeSeries had an invalid value: at most 200 are written at once."
        )
    world, wrong = call.world, list[str]()
    for number, each in enumerate(given):
        head = {name: each[name] for name in ("metric", "resource", "metricKind", "valueType")}
        key = f"{each['metric']}{each['resource']}"
        descriptor = world.things.get(f"watch/projects/{call.project}/metricDescriptors/{each['metric']['type']}")
        why = series.refusal(world.series.get(key), each, descriptor, world.now())
        if why:
            wrong.append(f"timeSeries[{number}]: {why}")
            continue
        found = world.series.setdefault(key, series.Series(head))
        found.points.append((series.moment(each["points"][0]["interval"]["endTime"]), each["points"][0]))
    if wrong:
        raise Refused(400, "INVALID_ARGUMENT", f"One or more TimeSeries could not be written: {'; '.join(wrong)}")
    return {}


@answers("monitoring.projects.timeSeries.list", "monitoring.timeSeries.list")
def read_series(call: Call) -> Document:
    return {"timeSeries": series.queried(call.world.series.values(), call.query)}


@answers("logging.entries.write", "logging.logEntries.create")
def write_entries(call: Call) -> Document:
    """An entry of the same log, time and `insertId` is the same entry."""
    for entry in call.body["entries"]:
        for name in ("logName", "resource"):
            if name not in entry and name not in call.body:
                raise Refused(400, "INVALID_ARGUMENT", f"Field {name} is required")
        keep(call.world, {**{name: call.body[name] for name in ("logName", "resource") if name in call.body}, **entry})
    return {}


def keep(world: World, entry: Document) -> None:
    """Into the project's default bucket, and into those of the sinks that let it through."""
    key = f"{entry['logName']} {entry['timestamp']} {entry['insertId']}"
    world.entries.setdefault("_Default", {})[key] = entry
    project = entry["logName"].split("/")[1]
    for name, sink in world.things.items():
        is_on = name.startswith(f"watch/projects/{project}/sinks/") and not sink.get("disabled")
        if is_on and parsed(sink["filter"], _is_entry_field)(entry):
            bucket = sink["destination"].removeprefix("logging.googleapis.com/")
            world.entries.setdefault(bucket, {})[key] = entry


@answers("logging.entries.list", "logging.logEntries.list")
def read_entries(call: Call) -> Document:
    """Of the default bucket, or of a bucket's view that is named; of a training job, what it wrote."""
    wanted, most = call.body.get("filter", ""), int(call.body.get("pageSize", 50))
    if "job_id=" in wanted:
        return {"entries": training.written_lines(call.world, wanted)[:most]}
    holds = parsed(wanted, _is_entry_field)
    found: list[Document] = []
    for name in call.body["resourceNames"]:
        bucket = name.partition("/views/")[0] if "/buckets/" in name else "_Default"
        found += [each for each in call.world.entries.get(bucket, {}).values() if holds(each)]
    return {"entries": found[:most]}


def _is_entry_field(name: str) -> bool:
    return any(name == each or (each.endswith(".") and name.startswith(each)) for each in _ENTRY_FIELDS)


@answers(f"{_BUCKETS}.create", "logging.buckets.create")
def make_bucket(call: Call) -> Document:
    name = f"{call.name('parent')}/buckets/{call.query['bucketId']}"
    return _kept(call, name, {"lifecycleState": "ACTIVE", **call.body})


@answers(f"{_BUCKETS}.get", "logging.buckets.get")
def get_bucket(call: Call) -> Document:
    return _got(call)


@answers(f"{_BUCKETS}.list", "logging.buckets.list")
def list_buckets(call: Call) -> Document:
    """In one place, or by `-` in all."""
    start, _, place = f"watch/{call.name('parent')}".rpartition("/")
    start = f"{start}/" if place == "-" else f"{start}/{place}/buckets/"
    names = sorted(each for each in call.world.things if each.startswith(start) and "/buckets/" in each)
    return call.world.listed(names, call.query, "buckets")


@answers(f"{_BUCKETS}.delete", "logging.buckets.delete")
def delete_bucket(call: Call) -> Document:
    """It can be had back for a week, under its name."""
    found = call.world.get(f"watch/{call.name()}")
    _kept(call, call.name(), {**found, "lifecycleState": "DELETE_REQUESTED"}, is_new=False)
    return {}


@answers(f"{_BUCKETS}.undelete", "logging.buckets.undelete")
def undelete_bucket(call: Call) -> Document:
    found = call.world.get(f"watch/{call.name()}")
    _kept(call, call.name(), {**found, "lifecycleState": "ACTIVE"}, is_new=False)
    return {}


@answers(f"{_BUCKETS}.patch", "logging.buckets.update")
def patch_bucket(call: Call) -> Document:
    return _patched(call)


@answers(f"{_SINKS}.create", "logging.sinks.create")
def make_sink(call: Call) -> Document:
    name = f"{call.name('parent')}/sinks/{call.body['name']}"
    if f"watch/{name}" in call.world.things:
        raise exists(name)
    return _sink(call, name)


@answers(f"{_SINKS}.patch", "logging.sinks.update")
def patch_sink(call: Call) -> Document:
    call.world.get(f"watch/{call.name('sinkName')}")
    return _sink(call, call.name("sinkName"))


def _sink(call: Call, name: str) -> Document:
    """Its bucket must be there. One in the same project asks for no right of anybody's."""
    bucket = call.body["destination"].removeprefix("logging.googleapis.com/")
    if call.world.things.get(f"watch/{bucket}", {}).get("lifecycleState") != "ACTIVE":
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid destination: bucket {bucket} does not exist.")
    parsed(call.body.get("filter", ""), _is_entry_field)
    return _stored(call.world, name, {**call.body, "name": name.rpartition("/")[2]})


@answers(f"{_SINKS}.get", "logging.sinks.get")
def get_sink(call: Call) -> Document:
    return call.world.get(f"watch/{call.name('sinkName')}")


answers(f"{_SINKS}.list", "logging.sinks.list")(_listing("sinks", "sinks", "parent"))


@answers(f"{_SINKS}.delete", "logging.sinks.delete")
def delete_sink(call: Call) -> Document:
    name = f"watch/{call.name('sinkName')}"
    if name not in call.world.things:
        raise not_found(call.name("sinkName"))
    call.world.drop(name)
    return {}


for _id in [each for each in HANDLERS if each.startswith("logging.projects.") and not each.endswith("sinks.patch")]:
    # the same methods are described for any parent, under the same paths
    answers(_id.replace("projects.", "", 1), PERMISSIONS[_id])(HANDLERS[_id])
