"""Telemetry: what Cloud Run itself tells of a request to a copy: its metrics (cloud.google.com/monitoring/api/
metrics_gcp_p_z, `run/`), and a line of its request log.
"""

from typing import Any

from localcloud.google_cloud import monitoring, series
from localcloud.google_cloud.world import Document, World

BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)


def tell(world: World, name: str, *, method: str, url: str, status: int, seconds: float) -> None:
    """One request that is over; `name` is the service's."""
    _, project, _, region, _, service = name.split("/")
    revision = {"service_name": service, "revision_name": f"{service}-00001", "configuration_name": service}
    resource = {"type": "cloud_run_revision", "labels": {"project_id": project, "location": region, **revision}}
    by_code = {"response_code": str(status), "response_code_class": f"{status // 100}xx"}
    bucket = sum(seconds * 1000 > bound for bound in BOUNDS_MS)
    latency = {
        "count": "1",
        "mean": seconds * 1000,
        "bucketOptions": {"explicitBuckets": {"bounds": list(BOUNDS_MS)}},
        "bucketCounts": [str(int(number == bucket)) for number in range(len(BOUNDS_MS) + 1)],
    }
    with world.lock:
        _add(world, "request_count", by_code, resource, "DELTA", {"int64Value": "1"})
        _add(world, "request_latencies", by_code, resource, "DELTA", {"distributionValue": latency})
        _add(world, "container/instance_count", {"state": "active"}, resource, "GAUGE", {"int64Value": "1"})
        request = {"requestMethod": method, "requestUrl": url, "status": status, "latency": f"{seconds:.6f}s"}
        entry = {
            "logName": f"projects/{project}/logs/run.googleapis.com%2Frequests",
            "resource": resource,
            "timestamp": world.now().isoformat().replace("+00:00", "Z"),
            "insertId": f"{next(world.numbers):x}",
            "severity": "ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO",
            "httpRequest": request,
        }
        monitoring.keep(world, entry)


def _add(world: World, name: str, labels: Document, resource: Document, kind: str, value: dict[str, Any]) -> None:
    metric = {"type": f"run.googleapis.com/{name}", "labels": labels}
    type_ = "DISTRIBUTION" if "distributionValue" in value else "INT64"
    head = {"metric": metric, "resource": resource, "metricKind": kind, "valueType": type_}
    found = world.series.setdefault(f"{metric}{resource}", series.Series(head))
    found.points.append((world.now(), {"value": value}))
