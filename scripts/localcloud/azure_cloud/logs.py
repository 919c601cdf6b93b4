"""Logs of a workspace: rows as a data collection rule takes them, and as Application Insights does, and what queries
answer of them (Logs Ingestion API 2023-01-01, Log Analytics query API v1).

Limits are Azure's: 1 MB of a call, plain and compressed; a stream and its columns as the rule declares them.
"""

import gzip
import json
import re
import uuid
from datetime import datetime, timedelta
from typing import Any

from localcloud.azure_cloud import kql
from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.world import Document, World

MOST_BYTES = 1024 * 1024
APP_REQUESTS = (
    "TimeGenerated Id Name Url Success ResultCode DurationMs ItemCount OperationId OperationName ParentId AppRoleName "
    "AppRoleInstance AppVersion PerformanceBucket Properties Measurements SDKVersion ClientType _ResourceId"
).split()
"""Columns of the table (learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests)."""
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "datetime": (str,),
    "int": (int,),
    "long": (int,),
    "real": (int, float),
    "boolean": (bool,),
    "dynamic": (dict, list, str),
}


def ingest(world: World, rule: str, stream: str, body: bytes, encoding: str, now: datetime) -> None:
    """Rows for a stream. What its declaration does not have is dropped, as Azure does; a wrong type is refused."""
    if len(body) > MOST_BYTES:
        raise Refused(413, "ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes.")
    plain = gzip.decompress(body) if encoding == "gzip" else body
    if len(plain) > MOST_BYTES:
        raise Refused(413, "ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes.")
    found = _rule(world, rule)
    declared = found["properties"]["streamDeclarations"].get(stream)
    if declared is None:
        raise Refused(400, "InvalidStream", f"The stream {stream} was not configured in the DCR.")
    try:
        rows = json.loads(plain)
    except ValueError as error:
        raise Refused(400, "InvalidRequestContent", "The payload is not JSON.") from error
    if not isinstance(rows, list):
        raise Refused(400, "InvalidRequestContent", "The payload is not a JSON array.")
    columns = {each["name"]: each["type"] for each in declared["columns"]}
    kept = [_row(row, columns) for row in rows]
    for flow in found["properties"]["dataFlows"]:
        if stream in flow["streams"]:
            table = flow["outputStream"].removeprefix("Custom-")
            world.logs.setdefault(table, []).extend(
                {**row, "TimeGenerated": row.get("TimeGenerated") or now, "_in": now} for row in kept
            )


def _rule(world: World, rule: str) -> Document:
    for each in world.resources.values():
        if each["properties"].get("immutableId") == rule:
            return each
    raise Refused(404, "NotFound", f"Data collection rule with immutable Id '{rule}' not found.")


def _row(row: Any, columns: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, kind in columns.items():
        value = row.get(name)
        if value is not None and (
            not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) != (kind == "boolean"))
        ):
            raise Refused(400, "InvalidRecord", f"Column {name} is not {kind}.")
        made[name] = _moment(str(value)) if value is not None and kind == "datetime" else value
    return made


def track(world: World, body: bytes) -> int:
    """Telemetry as Application Insights takes it (`POST /v2.1/track`): requests alone are kept."""
    taken = 0
    for line in body.decode().splitlines():
        each = json.loads(line)
        data, tags = each.get("data", {}), each.get("tags", {})
        if data.get("baseType") != "RequestData":
            continue
        told = data["baseData"]
        world.logs.setdefault("AppRequests", []).append(
            {
                "TimeGenerated": _moment(each["time"]),
                "Id": told["id"],
                "Name": told.get("name"),
                "Url": told.get("url"),
                "Success": told["success"],
                "ResultCode": str(told["responseCode"]),
                "DurationMs": _milliseconds(told["duration"]),
                "ItemCount": int(100 / each.get("sampleRate", 100)),
                "AppRoleName": tags.get("ai.cloud.role"),
                "AppRoleInstance": tags.get("ai.cloud.roleInstance"),
            }
        )
        taken += 1
    return taken


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)\.)?(\d\d):(\d\d):(\d\d(?:\.\d+)?)", text)
    if found is None:
        raise Refused(400, "InvalidRequestContent", f"{text} is no duration.")
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000


def queried(world: World, workspace: str, query: str, timespan: str, now: datetime) -> Document:
    """The answer of the query API, in its form of tables."""
    found = next((each for each in world.resources.values() if each["properties"].get("customerId") == workspace), None)
    if found is None:
        raise Refused(404, "WorkspaceNotFoundError", "The requested path does not exist")
    since = now - _timespan(timespan) if timespan else datetime.min.replace(tzinfo=now.tzinfo)
    tables: dict[str, tuple[list[str], list[dict[str, Any]]]] = {}
    for key, each in world.resources.items():
        if key.startswith(f"{str(found['id']).lower()}/tables/"):
            columns = [column["name"] for column in each["properties"]["schema"]["columns"]]
            tables[str(each["name"])] = (columns, [])
    if world.logs.get("AppRequests"):
        tables["AppRequests"] = (APP_REQUESTS, [])
    for name, (columns, rows) in tables.items():
        rows += [
            {column: row.get(column) for column in columns}
            for row in world.logs.get(name, [])
            if row["TimeGenerated"] > since
        ]
    columns, rows = kql.answered(query, tables, now)
    told = [{"name": name, "type": "dynamic"} for name in columns]
    return {
        "tables": [
            {"name": "PrimaryResult", "columns": told, "rows": [[_told(row.get(c)) for c in columns] for row in rows]}
        ]
    }


def _told(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _timespan(text: str) -> timedelta:
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text)
    if found is None:
        raise Refused(400, "BadArgumentError", f"{text} is no timespan.")
    days, hours, minutes = (int(each or 0) for each in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def immutable_id(path: str) -> str:
    return f"dcr-{uuid.uuid5(uuid.NAMESPACE_URL, path.lower()).hex}"
