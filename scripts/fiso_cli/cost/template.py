"""A stage's setup, as serverless.yml and the files beside it declare it: what is counted there is what is paid for."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from fiso.adapters.aws.dynamodb import KEEP_S
from fiso.billing.hop import LAMBDA_LINES_BYTES, FrontDoor, Setup
from fiso.domain.endpoint import Architecture
from fiso_cli.local_stage import project_file
from fiso_cli.setup.signing_keys import SIGNERS

_PARAMETER = re.compile(r"\$\{param:(\w+)\}")
_USUAL = {
    "requestId": "JKJaXmPLvHcESHA=",
    "requestTime": "23/Nov/2026:09:30:00 +0000",
    "requestTimeEpoch": "1795426200",
    "identity.sourceIp": "203.0.113.117",
    "httpMethod": "POST",
    "path": "/v1/invoke/word-count",
    "routeKey": "ANY /v1/invoke/{function}",
    "status": "200",
    "responseLength": "1024",
    "responseLatency": "115",
    "integrationLatency": "112",
    "integrationStatus": "200",
}
SECRETS = 2
"""The database's and the gateway's, which `fiso setup` makes, as it makes the keys that sign."""


def setup(front_door: FrontDoor | None = None, stage: str = "prod") -> Setup:
    """By the files of this checkout, whose front door it has unless another is named. `CommandError` outside of it."""
    declared = _declared()
    functions, provider = declared["functions"], declared["provider"]
    (stream,) = (event["stream"] for event in functions["stream_consumer"]["events"])
    (archived,) = (event["stream"] for event in functions["archiver"]["events"])
    params = {**declared["params"]["default"], **declared["params"].get(stage, {})}
    kinds = [resource["Type"] for _, resource in _resources()]

    def said(name: str, key: str) -> str:
        """Of a function, else of all; a stage's parameter by its value."""
        value = str(functions[name].get(key, provider[key]))
        named = _PARAMETER.fullmatch(value)
        return str(params[named[1]]) if named else value

    def memory_mb(name: str) -> int:
        return int(said(name, "memorySize"))

    return Setup(
        memory_mb=memory_mb("orchestrator"),
        architecture=Architecture(said("orchestrator", "architecture")),
        front_door=front_door or FrontDoor(params.get("frontDoor", FrontDoor.API)),
        consumer_mb=memory_mb("stream_consumer"),
        keeper_mb=memory_mb("keeper"),
        retrainer_mb=memory_mb("retrainer"),
        batch_size=int(stream["batchSize"]),
        batch_window_s=float(stream["batchWindow"]),
        archiver_mb=memory_mb("archiver"),
        archive_batch_size=int(archived["batchSize"]),
        archive_window_s=float(params["archiveWindow"]),
        lambda_lines_bytes=0 if _is_quiet(functions) else LAMBDA_LINES_BYTES,
        access_log_bytes=len(_access_line(provider["logs"]["httpApi"]["format"]).encode()),
        kept_days=KEEP_S / 86_400,
        archive_days=_archive_days(),
        log_days=float(params["logRetentionDays"]),
        alarms=kinds.count("AWS::CloudWatch::Alarm"),
        dashboards=kinds.count("AWS::CloudWatch::Dashboard"),
        keys=len(SIGNERS) + kinds.count("AWS::KMS::Key"),
        secrets=SECRETS + kinds.count("AWS::SecretsManager::Secret"),
        has_route_metrics=bool(params["routeMetrics"]),
        traced_share=float(params["tracedShare"] or 0) if params["otlpUrl"] else 0.0,
    )


def table_keys() -> dict[str, tuple[str, ...]]:
    """The tables' key attributes, by their names in the template."""
    return {
        name: tuple(str(key["AttributeName"]) for key in resource["Properties"]["KeySchema"])
        for name, resource in _resources()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }


def _is_quiet(functions: Mapping[str, Any]) -> bool:
    """Whether Lambda writes no lines of an invocation that went well, of those that are invoked by requests."""
    by_requests = (functions[name]["logs"] for name in ("orchestrator", "stream_consumer", "archiver"))
    return all(logs.get("systemLogLevel") == "WARN" for logs in by_requests)


def _access_line(format: str) -> str:
    """As API Gateway fills it in for a usual request."""
    return re.sub(r"\$context\.([\w.]+)", lambda found: _USUAL.get(found[1], "-"), format)


def _archive_days() -> float:
    buckets = [resource["Properties"] for name, resource in _resources() if name == "Artifacts"]
    rules = [rule for bucket in buckets for rule in bucket["LifecycleConfiguration"]["Rules"]]
    return float(next(rule["ExpirationInDays"] for rule in rules if rule["Id"] == "archive-expires"))


@cache
def _declared() -> Mapping[str, Any]:
    declared: Mapping[str, Any] = yaml.safe_load(project_file("serverless.yml").read_text(encoding="utf-8"))
    return declared


@cache
def _resources() -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return tuple(_read())


def _read() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted((project_file("serverless.yml").parent / "scripts/serverless").glob("*.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(document, Mapping):
            yield from (document.get("Resources") or {}).items()
