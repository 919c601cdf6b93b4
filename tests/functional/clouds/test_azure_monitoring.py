"""Monitoring on Azure, against a local server that keeps what it is sent and answers queries from it: declared,
deployed, killed anywhere, taken back; and told of its copies by the archiver."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fiso.adapters.http.monitoring import azure_monitor
from fiso.domain.endpoint import EndpointId, Plan, Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.identity import AzureMonitoring
from fiso.services.log import monitored
from fiso_cli.clouds import plan
from fiso_cli.clouds.azure import monitoring, removal, steps
from fiso_cli.clouds.azure.monitoring import Limits
from fiso_cli.errors import CommandError
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.transport import HttpTransport
from localcloud.azure_cloud import logs, types
from localcloud.azure_cloud.deployments import declared, scope_of
from localcloud.azure_cloud.faults import Fault as Asked
from tests.builders import NOW, a_record, a_summary, an_attempt
from tests.functional.clouds import azure_sdk
from tests.functional.clouds.azure_world import Killed, Site, azure

LIMITS = Limits(email="ops@example.com")
COPY = EndpointId("azure-eastus-512")
ISSUER = "https://12345678.tokens.sts.global.api.aws"
SENDER = monitoring.Sender(role="arn:aws:iam::123456789012:role/fiso-prod-archiver", issuer=lambda: ISSUER)
PARSER = Path(__file__).parents[3] / "node_modules" / "@kusto" / "language-service-next"


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with azure(tmp_path, b"") as made:
        made.world.now = lambda: NOW + timedelta(minutes=10)
        yield made


def deployed(site: Site, limits: Limits = LIMITS, sender: monitoring.Sender | None = SENDER) -> plan.Done:
    first, own = monitoring.steps(site.arm, site.group, "eastus", limits, sender)
    return plan.apply([*first, *own], quiet, sleep=lambda _: None)


def removed(site: Site) -> plan.Done:
    removal.end_deployments(site.arm, site.group)
    return plan.remove(monitoring.leftovers(site.arm, site.group), quiet)


def names(site: Site) -> set[str]:
    return {str(each["properties"].get("displayName", each["name"])) for each in site.world.resources.values()}


BRIEF = {
    "fiso-log-workspace",
    "FISO Analytics",
    "ML Model Performance",
    "Resource Usage Alert",
    "Failed Invocation Alert",
}


def test_every_name_of_the_brief_is_made_and_made_once(site: Site) -> None:
    assert "monitoring" in deployed(site).made
    assert names(site) >= BRIEF
    assert (deployed(site).made, deployed(site).changed) == ([], [])
    assert deployed(site, replace(LIMITS, failed_percent=7)).changed == ["monitoring"]
    (alert,) = (each for each in site.world.resources.values() if each["name"] == "Failed Invocation Alert")
    alert["properties"]["enabled"] = False
    (planned,) = plan.look_at(
        [monitoring.steps(site.arm, site.group, "eastus", replace(LIMITS, failed_percent=7), None)[1][0]]
    )
    assert planned.found.why == "scheduledQueryRules/Failed Invocation Alert: enabled is not as declared"


def test_it_is_taken_back_and_the_copies_stay(site: Site) -> None:
    plan.apply(steps.shared(site.arm, site.group, "eastus"), quiet, sleep=lambda _: None)
    before = site.world.snapshot()
    deployed(site)
    assert site.world.snapshot() != before
    removed(site)
    assert site.world.snapshot() == before
    deployed(site)
    site.destroy()
    assert site.world.snapshot()["resources"] == {}


def test_killed_at_any_request_it_comes_to_the_same_end(site: Site) -> None:
    plan.apply(steps.shared(site.arm, site.group, "eastus"), quiet, sleep=lambda _: None)
    counted = site.mortal()
    deployed(counted)
    whole, requests = site.world.snapshot(), counted.arm.client.sent
    removed(site)
    for at in range(1, requests, 2):
        with pytest.raises(Killed):
            deployed(site.mortal(at, is_after=bool(at % 2)))
        deployed(site)
        assert site.world.snapshot() == whole, at
        with pytest.raises(Killed):
            removed(site.mortal(1 + at % 20, is_after=bool(at % 2)))
        removed(site)
    assert requests > 40


def test_lookalikes_survive_a_hundred_rounds(site: Site) -> None:
    deployed(site)
    removed(site)
    for number, tags in enumerate(
        ({}, {"fiso-stage": "prod"}, {"fiso-stage": "prod2", "fiso-deployment": "monitoring"})
    ):
        for kind, name in (
            ("Microsoft.Insights/scheduledQueryRules", f"Failed Invocation Alert {number}"),
            ("Microsoft.Insights/actionGroups", f"fiso-alerts-{number}"),
            ("Microsoft.OperationalInsights/workspaces/fiso-log-workspace/tables", f"Other{number}_CL"),
        ):
            path = site.group.resource(kind, name)
            properties: dict[str, Any] = {"schema": {"columns": []}}
            site.world.put(path, {"type": kind, "tags": tags, "properties": properties})
    before = site.world.snapshot()
    for _ in range(100):
        removed(site)
    assert site.world.snapshot() == before


def test_somebody_elses_thing_of_that_name_stops_the_plan(site: Site) -> None:
    deployed(site)
    (alert,) = (each for each in site.world.resources.values() if each["name"] == "Failed Invocation Alert")
    alert["tags"] = {"team": "other"}
    with pytest.raises(CommandError, match="not tagged as this stage's monitoring"):
        deployed(site)


@pytest.mark.parametrize("kind", ["Microsoft.Insights/workbooks", "Microsoft.OperationalInsights/workspaces/tables"])
def test_a_missing_right_is_one_line_with_the_command_that_grants_it(site: Site, kind: str) -> None:
    site.world.faults.denied.add(f"{kind}/write")
    with pytest.raises(CommandError, match=f"the permission {kind}/write is missing: az role assignment create"):
        deployed(site)


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (503, "ServiceUnavailable")])
def test_what_is_busy_or_away_is_asked_again(site: Site, status: int, code: str) -> None:
    headers = {"retry-after": "0"}
    site.world.faults.requests.append(Asked(match="GET", status=status, code=code, times=3, skip=9, headers=headers))
    assert "monitoring" in deployed(site).made


def resources(site: Site) -> Iterator[dict[str, Any]]:
    """Every declared resource as it goes to its provider."""
    group = {"id": site.group.id, "location": "eastus"}
    sending = {
        "tags": site.group.tags("monitoring"),
        "identity": "x",
        "issuer": ISSUER,
        "role": SENDER.role,
    }
    for which, given in (("monitoring", monitoring.given(site.group, LIMITS)), ("sending", sending)):
        body = steps.body_of(which, given)
        for resource in declared(site.world, group, body):
            yield scope_of(site.world, group, body).value(resource)


def test_every_declared_resource_fits_the_vendors_type(site: Site) -> None:
    root = types.folder()
    if root is None:
        pytest.skip("FISO_AZURE_TYPES names no folder of the vendor's types")
    found = {f"{each['type']} {each['name']}": types.problems(root, each) for each in resources(site)}
    found = {name: wrong for name, wrong in found.items() if not any(each.startswith("no types") for each in wrong)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_declared_resource_fits_the_model_of_the_vendors_sdk(site: Site) -> None:
    found = {str(each["name"]): azure_sdk.problems(each) for each in resources(site)}
    assert len(found) == 9
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("kind", "place", "value", "wrong"),
    [
        ("scheduledQueryRules", "criteria.allOf.0.threshhold", 1, "threshhold is unknown"),
        ("scheduledQueryRules", "severity", "2", "severity is not"),
        ("dataCollectionRules", "dataFlows.0.stream", [], "stream is unknown"),
        ("dataCollectionRules", "immutableId", "x", "immutableId is read-only"),
        ("workbooks", "displayname", "x", "displayname is unknown"),
        ("tables", "schema.columns.0.type", "reel", "type is 'reel'"),
        ("federatedIdentityCredentials", "audience", [], "audience is unknown"),
    ],
)
def test_the_models_find_what_does_not_fit(site: Site, kind: str, place: str, value: object, wrong: str) -> None:
    resource = next(each for each in resources(site) if str(each["type"]).endswith(f"/{kind}"))
    inner: Any = resource["properties"]
    *way, last = place.split(".")
    for name in way:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    assert any(wrong in each for each in azure_sdk.problems(resource)), azure_sdk.problems(resource)


def test_the_table_the_stream_and_the_rows_have_the_same_columns(site: Site) -> None:
    by_type = {str(each["type"]).rpartition("/")[2]: each.get("properties", {}) for each in resources(site)}
    stream = by_type["dataCollectionRules"]["streamDeclarations"]["Custom-FISOAttempts"]["columns"]
    table = by_type["tables"]["schema"]["columns"]  # which writes dateTime
    assert [{**each, "type": str(each["type"]).lower()} for each in table] == stream
    assert {each["name"]: each["type"] for each in stream} == monitored.COLUMNS


# What is told, and what queries find of it


def records(count: int = 20) -> list[Any]:
    """Requests of Azure's copy, every fifth of which failed there and was answered by AWS."""
    found = []
    for number in range(count):
        at = NOW + timedelta(seconds=number)
        ours = an_attempt(
            COPY,
            started_at=at,
            latency_ms=120.0 + number,
            plan=Plan.FLEX_CONSUMPTION.value,
            cost_usd=1e-6,
            cold_start=False,
        )
        record = a_record(
            number,
            timestamp=at,
            endpoint=COPY,
            cloud_provider=Provider.AZURE,
            region="eastus",
            is_slow=number % 2 == 0,
            features={"historical_avg_latency": 150.0},
            attempts=(ours,),
            candidates=(a_summary(COPY, latency_ms=100.0),),
        )
        if number % 5 == 0:
            failed = replace(ours, failure=Failure.TIMED_OUT, verdict=Fault.PROVIDER, status=None)
            elsewhere = an_attempt("aws", started_at=at + timedelta(milliseconds=130), plan=Plan.ON_DEMAND.value)
            record = replace(a_record(number, timestamp=at), attempts=(failed, elsewhere), decision=record.decision)
        found.append(record)
    return found


def url_of(site: Site) -> str:
    return monitoring.setting(replace(site.arm), replace(site.group, stage="prod")).split()[-1]


def tell(site: Site, some: list[Any], **given: Any) -> None:
    (rule,) = (each for each in site.world.resources.values() if "immutableId" in each["properties"])
    url = f"{site.arm.endpoint}/dataCollectionRules/{rule['properties']['immutableId']}/streams/{monitoring.STREAM}"
    told = monitored.rows(some, Provider.AZURE, stage="prod")
    azure_monitor(HttpTransport(), lambda: "word", url, **{"pause": lambda _: None, **given}).put(told, [])


def ask(site: Site, query: str, timespan: str = "P1D") -> list[dict[str, Any]]:
    """As the portal asks it of the query API."""
    (workspace,) = (each for each in site.world.resources.values() if each["name"] == "fiso-log-workspace")
    path = f"/v1/workspaces/{workspace['properties']['customerId']}/query"
    answer = site.arm.send("POST", path, {"query": query, "timespan": timespan})
    (table,) = answer.body["tables"]
    return [dict(zip([each["name"] for each in table["columns"]], row, strict=True)) for row in table["rows"]]


def request_telemetry(number: int) -> bytes:
    """What Application Insights is sent of a request of a function (Microsoft.ApplicationInsights.Request)."""
    data = {
        "ver": 2,
        "id": f"r{number}",
        "name": "compress",
        "duration": f"00:00:00.{100 + number:03d}0000",
        "success": number % 4 != 0,
        "responseCode": "500" if number % 4 == 0 else "200",
        "url": "https://fiso-prod-compress.azurewebsites.net/api/compress",
    }
    envelope = {
        "name": "Microsoft.ApplicationInsights.Request",
        "time": (NOW + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
        "iKey": "0",
        "sampleRate": 100,
        "tags": {"ai.cloud.role": "fiso-prod-compress", "ai.cloud.roleInstance": f"instance-{number % 3}"},
        "data": {"baseType": "RequestData", "baseData": data},
    }
    return json.dumps(envelope).encode()


def all_queries() -> dict[str, str]:
    """Every query of a workbook or an alert, by where it stands."""
    found = {}
    for book in ("fiso_analytics", "ml_model_performance"):
        for item in steps.template(book)["items"]:
            if "query" in item["content"]:
                found[f"{book}: {item['name']}"] = item["content"]["query"]
    for resource in steps.template("monitoring")["resources"]:
        for condition in resource.get("properties", {}).get("criteria", {}).get("allOf", []):
            found[resource["name"]] = condition["query"]
    return found


def test_every_query_is_answered_from_what_was_told(site: Site) -> None:
    deployed(site)
    tell(site, records(20))
    for number in range(12):
        site.arm.send("POST", "/v2.1/track", request_telemetry(number))
    assert len(all_queries()) == 14
    for where, query in all_queries().items():
        assert ask(site, query), where


def test_what_the_answers_say_is_what_was_told_and_a_repetition_changes_nothing(site: Site) -> None:
    deployed(site)
    for _ in range(2):
        tell(site, records(20))
    queries = all_queries()
    (copy,) = ask(site, queries["fiso_analytics: copies"])
    assert (copy["attempts"], copy["failed_percent"], copy["endpoint"]) == (20, 20.0, COPY)
    assert copy["cost_usd"] == pytest.approx(20e-6)
    (failed,) = ask(site, queries["Failed Invocation Alert"], "PT15M")
    assert failed == {"copy": f"word-count {COPY}", "failed_percent": 20.0}
    (usage,) = ask(site, queries["Resource Usage Alert"], "PT15M")
    assert usage["busy_instances"] == pytest.approx(sum(120 + number for number in range(20)) / 900_000)
    (why,) = ask(site, queries["fiso_analytics: failures"])
    assert why == {"verdict": "provider", "failure": "timed_out", "response_status": None, "attempts": 4}
    (model,) = ask(site, queries["ml_model_performance: models"])
    errors = [20.0 + number for number in range(20) if number % 5]
    assert model["answers"] == 16
    assert model["error_ms"] == -model["bias_ms"] == pytest.approx(sum(errors) / 16)


def test_without_any_telemetry_of_the_hosts_the_alerts_still_read_fisos(site: Site) -> None:
    deployed(site)
    tell(site, records(20))
    assert "AppRequests" not in site.world.logs
    assert ask(site, all_queries()["Failed Invocation Alert"], "PT15M")


def test_an_alert_reads_the_hosts_own_requests_where_fiso_tells_nothing(site: Site) -> None:
    deployed(site)
    for number in range(12):
        site.arm.send("POST", "/v2.1/track", request_telemetry(number))
    (failed,) = ask(site, all_queries()["Failed Invocation Alert"], "PT15M")
    assert failed == {"copy": "fiso-prod-compress", "failed_percent": 25.0}


def test_more_than_a_call_takes_goes_in_several_and_each_row_once(site: Site) -> None:
    deployed(site)
    some = records(20)
    many = [replace(some[number % 20], invocation_id=f"{number:032x}") for number in range(4000)]
    tell(site, many)
    assert len(site.world.logs["FISOAttempts_CL"]) == 4000
    assert site.world.requests < 200


@pytest.mark.parametrize(("status", "is_told"), [(429, True), (503, True), (403, False), (413, False)])
def test_a_passing_refusal_is_waited_for_as_long_as_azure_says(site: Site, status: int, is_told: bool) -> None:
    deployed(site)
    asked = Asked(
        match="POST /dataCollectionRules", status=status, code="Refused", times=2, headers={"retry-after": "3"}
    )
    site.world.faults.requests.append(asked)
    paused: list[float] = []
    if is_told:
        tell(site, records(3), pause=paused.append)
        assert (len(site.world.logs["FISOAttempts_CL"]), paused) == (3, [3.0, 6.0])
    else:
        with pytest.raises(StoreUnavailable, match=f"status {status} Refused"):
            tell(site, records(3), pause=paused.append)
        assert paused == []


NONE = [
    "FISOAttempts_CL | where nope > 3",
    "FISOAttempts_CL | project nope = cost_usd | where cost_usd > 1",
    "Nope | take 1",
    "FISOAttempts_CL | summarize p = percentil(cost_usd, 99)",
    "FISOAttempts_CL | frobnicate cost_usd",
    "FISOAttempts_CL | where cost_usd >",
]


def test_a_query_that_is_none_is_refused(site: Site) -> None:
    deployed(site)
    for query in NONE:
        with pytest.raises(CommandError, match=r"BadArgument|SemanticError"):
            ask(site, query)


def test_microsofts_own_parser_finds_nothing_wrong_with_any_query() -> None:
    if not PARSER.is_dir():
        pytest.skip("Microsoft's parser of KQL is not installed: npm ci")
    found = said({**all_queries(), **{query: query for query in NONE}})
    assert len(all_queries()) == 14
    assert {where for where, wrong in found.items() if wrong} == set(NONE)


def said(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """What the parser that Azure's own editors use says of queries, knowing the tables' columns."""
    kinds = {
        "boolean": "bool",
        "real": "real",
        "int": "int",
        "long": "long",
        "string": "string",
        "datetime": "datetime",
    }
    attempts = ", ".join(f"{name}: {kinds[kind]}" for name, kind in monitored.COLUMNS.items())
    others = {"TimeGenerated": "datetime", "Success": "bool", "DurationMs": "real", "ItemCount": "int"}
    requests = ", ".join(f"{name}: {others.get(name, 'string')}" for name in logs.APP_REQUESTS)
    asked = {"tables": {"FISOAttempts_CL": f"({attempts})", "AppRequests": f"({requests})"}, "queries": dict(queries)}
    node = shutil.which("node")
    assert node
    program = str(Path(__file__).parent / "kql.js")
    done = subprocess.run(
        [node, program, str(PARSER)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def test_the_setting_is_what_the_archiver_takes(site: Site) -> None:
    deployed(site)
    parsed = AzureMonitoring.parsed(monitoring.setting(site.arm, site.group), is_local=False)
    assert parsed.identity is not None
    assert url_of(site) == parsed.url
