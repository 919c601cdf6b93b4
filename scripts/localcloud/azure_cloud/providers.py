"""What each resource provider does with a resource that is put: its own rules, and what it adds. One function a type.

Rules are Azure's as documented: Flex Consumption takes no worker settings and one app a plan, storage accounts and apps
have names of the whole world, a workspace that was deleted keeps its name, an assignment's principal never changes.
"""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from localcloud.azure_cloud import logs, machine_learning, types
from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.running import free_port
from localcloud.azure_cloud.world import PYTHONS, REGIONS, TENANT, Document, World

REFUSED_SETTINGS = frozenset(
    {
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_WORKER_RUNTIME_VERSION",
        "FUNCTIONS_EXTENSION_VERSION",
        "WEBSITE_RUN_FROM_PACKAGE",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
        "ENABLE_ORYX_BUILD",
        "WEBSITE_NODE_DEFAULT_VERSION",
    }
)
"""learn.microsoft.com, Flex Consumption plan deprecations."""
REFUSED_CONFIG = frozenset(
    {"ftpsState", "use32BitWorkerProcess", "netFrameworkVersion", "functionAppScaleLimit", "linuxFxVersion"}
)
"""microsoft/azure-pipelines-tasks#21032, #22254."""
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]")


def put(world: World, path: str, body: Document) -> Document:
    """Make or change a resource as its provider does. `body` has `type` and `apiVersion`."""
    kind = str(body["type"])
    world.faults.of_resource(kind)
    make = _KINDS.get(kind.lower())
    if make is None:
        raise Refused(400, "InvalidResourceType", f"The resource type '{kind}' could not be found.")
    _check_types(body, path)
    world.group_of(path)
    world.faults.check_permission(f"{kind}/write", path)
    state = world.providers.get(
        kind.partition("/")[0].lower(), "Registered" if world.is_registered else "NotRegistered"
    )
    if state != "Registered":
        raise Refused(
            409,
            "MissingSubscriptionRegistration",
            f"The subscription is not registered to use namespace '{kind.partition('/')[0]}'.",
        )
    if kind.count("/") > 1 and world.resource(path.rsplit("/", 2)[0]) is None:
        raise Refused(
            404, "ParentResourceNotFound", f"Can not perform requested operation on nested resource: '{path}'."
        )
    before = world.resource(path)
    made = make(world, path, before, {name: value for name, value in body.items() if name not in _ENVELOPE})
    made.setdefault("properties", {})["provisioningState"] = "Succeeded"
    made["type"] = kind
    if "location" in body:
        made["location"] = str(body["location"]).lower().replace(" ", "")
        if before is not None and before.get("location") != made["location"]:
            raise Refused(
                409, "InvalidResourceLocation", f"'{path}' already exists in location '{before['location']}'."
            )
    return world.put(path, made)


_ENVELOPE = frozenset({"dependsOn", "apiVersion"})


def _check_types(body: Document, path: str) -> None:
    root = types.folder()
    wrong = types.problems(root, {**body, "name": path.rpartition("/")[2]}) if root else []
    if wrong:
        raise Refused(400, "InvalidRequestContent", f"The request content was invalid: {'; '.join(wrong)}")


def _account(world: World, path: str, before: Document | None, body: Document) -> Document:
    name = path.rpartition("/")[2]
    if not _ACCOUNT.fullmatch(name):
        raise Refused(400, "AccountNameInvalid", f"{name} is not a valid storage account name.")
    if before is None and name in world.taken:
        raise Refused(409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")
    endpoints = {each: f"https://{name}.{each}.core.windows.net/" for each in ("blob", "queue", "table")}
    return {**body, "properties": {**body["properties"], "primaryEndpoints": endpoints}}


def _plain(world: World, path: str, before: Document | None, body: Document) -> Document:
    kept = before.get("properties", {}) if before else {}
    return {**body, "properties": {**kept, **body.get("properties", {})}}


def _workspace(world: World, path: str, before: Document | None, body: Document) -> Document:
    name, group = path.rpartition("/")[2].lower(), path.split("/")[4].lower()
    if before is None and world.soft_deleted.get(name, group) != group:
        raise Refused(409, "Conflict", f"The workspace name '{name}' is not unique")
    world.soft_deleted.pop(name, None)
    return {**body, "properties": {**body["properties"], "customerId": str(uuid.uuid5(uuid.NAMESPACE_URL, path))}}


def _component(world: World, path: str, before: Document | None, body: Document) -> Document:
    if world.resource(str(body["properties"].get("WorkspaceResourceId", ""))) is None:
        raise Refused(400, "BadRequest", "The workspace of the component could not be found.")
    if before is None:
        _put_beside(world, path)
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, path))
    added = {
        "InstrumentationKey": key,
        "ConnectionString": f"InstrumentationKey={key};IngestionEndpoint={world.url or 'https://x'}/",
    }
    return {**body, "properties": {**body["properties"], **added}}


def _put_beside(world: World, path: str) -> None:
    """What Azure adds to a new component by itself, without tags (hashicorp/terraform-provider-azurerm#18026)."""
    group, name = path.partition("/providers/")[0], path.rpartition("/")[2]
    for kind, called in (
        ("microsoft.alertsmanagement/smartDetectorAlertRules", f"Failure Anomalies - {name}"),
        ("microsoft.insights/actiongroups", "Application Insights Smart Detection"),
    ):
        world.put(f"{group}/providers/{kind}/{called}", {"type": kind, "location": "global", "properties": {}})


def _plan(world: World, path: str, before: Document | None, body: Document) -> Document:
    region = str(body["location"]).lower().replace(" ", "")
    if region not in {each.lower().replace(" ", "") for each in REGIONS}:
        raise Refused(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{region}' is not available for resource type 'Microsoft.Web/serverFarms'.",
        )
    if body.get("sku", {}).get("tier") == "FlexConsumption" and body["properties"].get("reserved") is not True:
        raise Refused(400, "BadRequest", "Flex Consumption runs on Linux: reserved must be true.")
    return _plain(world, path, before, body)


def _site(world: World, path: str, before: Document | None, body: Document) -> Document:
    name, properties = path.rpartition("/")[2], body["properties"]
    if not _APP.fullmatch(name) or (before is None and name in world.taken):
        raise Refused(409, "Conflict", f"Website with given name {name} already exists.")
    _check_flex(world, path, properties)
    kept = before or {}
    identity = kept.get("identity") or {"principalId": world.new_principal(), "tenantId": TENANT}
    port = kept.get("properties", {}).get("_port") or (free_port() if world.runs else 1)
    host = f"127.0.0.1:{port}"
    states = [{"name": f"{name}.scm.azurewebsites.net", "hostType": "Repository", "sslState": "Disabled"}]
    added = {"defaultHostName": host, "state": "Running", "hostNameSslStates": states, "_port": port}
    settings = {each["name"]: each["value"] for each in properties.get("siteConfig", {}).get("appSettings", [])}
    return {
        **body,
        "identity": {**identity, "type": body.get("identity", {}).get("type", "None")},
        "properties": {**kept.get("properties", {}), **properties, **added, "_settings": settings},
    }


def _check_flex(world: World, path: str, properties: Document) -> None:
    def bad(message: str) -> Refused:
        return Refused(400, "BadRequest", message)

    plan = str(properties.get("serverFarmId", "")).lower()
    if world.resource(plan) is None:
        raise Refused(404, "NotFound", f"Cannot find serverFarm with name {plan.rpartition('/')[2]}.")
    others = [
        each
        for key, each in world.resources.items()
        if str(each.get("type")).lower() == "microsoft.web/sites"
        and key != path.lower()
        and str(each["properties"].get("serverFarmId")).lower() == plan
    ]
    if others:
        raise bad("A Flex Consumption plan takes one app.")
    config = properties.get("functionAppConfig")
    if not config:
        raise bad("Site.FunctionAppConfig is required for Flex Consumption.")
    if config["runtime"]["name"] != "python" or config["runtime"]["version"] not in PYTHONS:
        raise bad(f"Site.FunctionAppConfig.Runtime.Version is invalid: {config['runtime']['version']}")
    if config["scaleAndConcurrency"]["instanceMemoryMB"] not in {512, 2048, 4096}:
        raise bad("Site.FunctionAppConfig.ScaleAndConcurrency.InstanceMemoryMB must be 512, 2048 or 4096.")
    settings = {each["name"] for each in properties.get("siteConfig", {}).get("appSettings", [])}
    if wrong := settings & REFUSED_SETTINGS:
        raise bad(f"The app setting {min(wrong)} is invalid for Flex Consumption sites.")
    if wrong := set(properties.get("siteConfig", {})) & REFUSED_CONFIG:
        raise bad(f"The site configuration property {min(wrong)} for Flex Consumption sites is invalid.")
    account, _, container = (
        str(config["deployment"]["storage"]["value"]).removeprefix("https://").partition(".blob.core.windows.net/")
    )
    group = "/".join(path.split("/")[:5])
    place = f"{group}/providers/Microsoft.Storage/storageAccounts/{account}/blobServices/default/containers/{container}"
    if world.resource(place) is None:
        raise bad(f"The deployment storage {account}/{container} does not exist.")


_NO_STANDBY = "Burstable"


def _flexible_server(world: World, path: str, before: Document | None, body: Document) -> Document:
    """learn.microsoft.com/azure/postgresql: no standby on burstable sizes, 32 GB at least."""
    properties, key = dict(body["properties"]), path.lower()
    password = properties.pop("administratorLoginPassword", None)
    if properties.get("highAvailability", {}).get("mode", "Disabled") != "Disabled" and (
        body["sku"]["tier"] == _NO_STANDBY
    ):
        raise Refused(400, "HANotSupportedForBurstableSkuOption", "High availability is not supported for Burstable.")
    if properties["storage"]["storageSizeGB"] < 32:
        raise Refused(400, "InvalidStorageSize", "The storage size must be at least 32 GB.")
    if before is None and not password:
        raise Refused(400, "MissingRequiredParameter", "administratorLoginPassword is required.")
    host = before["properties"]["fullyQualifiedDomainName"] if before else world.databases.start(key, str(password))
    kept = before.get("properties", {}) if before else {}
    return {**body, "properties": {**kept, **properties, "fullyQualifiedDomainName": host, "state": "Ready"}}


def assign(world: World, path: str, body: Document) -> Document:
    """A role assignment at the scope that its id begins with."""
    scope, _, _ = path.partition("/providers/Microsoft.Authorization/")
    world.faults.check_permission("Microsoft.Authorization/roleAssignments/write", scope)
    root = types.folder()
    kind = {"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01"}
    if root and (wrong := types.problems(root, {**kind, "name": path.rpartition("/")[2], **body})):
        raise Refused(400, "BadRequestFormat", "; ".join(wrong))
    if world.resource(scope) is None and not scope.lower().startswith("/subscriptions/"):
        raise Refused(404, "ResourceNotFound", f"The Resource '{scope}' was not found.")
    given = body["properties"]
    principal = str(given["principalId"])
    if world.principals.get(principal, 10**9) > world.requests:
        raise Refused(400, "PrincipalNotFound", f"Principal {principal} does not exist in the directory {TENANT}.")
    key = path.lower()
    before = world.assignments.get(key)
    if before is not None and before["properties"]["principalId"] != principal:
        raise Refused(
            409,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )
    for other, each in world.assignments.items():
        same = all(each["properties"].get(name) == given[name] for name in ("principalId", "roleDefinitionId"))
        if other != key and same and str(each["properties"]["scope"]).lower() == scope.lower():
            raise Refused(409, "RoleAssignmentExists", "The role assignment already exists.")
    made: dict[str, Any] = {"id": path, "name": path.rpartition("/")[2], "properties": {**given, "scope": scope}}
    world.assignments[key] = made
    return made


def _table(world: World, path: str, before: Document | None, body: Document) -> Document:
    columns = {each["name"]: each["type"] for each in body["properties"]["schema"]["columns"]}
    if not path.endswith("_CL") or columns.get("TimeGenerated", "").lower() != "datetime":
        raise Refused(400, "InvalidParameter", "A custom table's name ends in _CL, and it has TimeGenerated.")
    return _plain(world, path, before, body)


def _rule(world: World, path: str, before: Document | None, body: Document) -> Document:
    """Its flows lead from declared streams into tables that are there, with the same columns."""
    given = body["properties"]
    workspaces = {each["name"]: str(each["workspaceResourceId"]) for each in given["destinations"]["logAnalytics"]}
    for flow in given["dataFlows"]:
        for name in flow["destinations"]:
            place = f"{workspaces[name]}/tables/{flow['outputStream'].removeprefix('Custom-')}"
            table = world.resource(place)
            if table is None:
                raise Refused(
                    400, "InvalidOutputTable", f"Table for output stream '{flow['outputStream']}' is not available"
                )
            known = {each["name"]: str(each["type"]).lower() for each in table["properties"]["schema"]["columns"]}
            for stream in flow["streams"]:
                for column in given["streamDeclarations"][stream]["columns"]:
                    if known.get(column["name"]) != column["type"]:
                        raise Refused(
                            400, "InvalidTransformOutput", f"Types of transform output columns do not match: {column}"
                        )
    own: Document = {"immutableId": logs.immutable_id(path)}
    if body.get("kind") == "Direct":
        own["endpoints"] = {
            "logsIngestion": f"https://{path.rpartition('/')[2]}-local.eastus-1.ingest.monitor.azure.com"
        }
    return {**body, "properties": {**given, **own}}


def _workbook(world: World, path: str, before: Document | None, body: Document) -> Document:
    try:
        uuid.UUID(path.rpartition("/")[2])
        json.loads(body["properties"]["serializedData"])
    except ValueError as error:
        raise Refused(400, "BadRequest", f"Name must be a GUID and serializedData JSON: {error}") from error
    return _plain(world, path, before, body)


def _alert(world: World, path: str, before: Document | None, body: Document) -> Document:
    given = body["properties"]
    for scope in given["scopes"]:
        workspace = world.resource(scope)
        if workspace is None:
            raise Refused(400, "BadRequest", f"Scope {scope} does not exist.")
        for each in given["criteria"]["allOf"]:
            found = logs.queried(world, workspace["properties"]["customerId"], each["query"], "PT15M", world.now())
            columns = {column["name"] for column in found["tables"][0]["columns"]}
            wanted = {each["metricMeasureColumn"], *(dimension["name"] for dimension in each["dimensions"])}
            if not wanted <= columns:
                raise Refused(400, "BadRequest", f"The query does not give {', '.join(sorted(wanted - columns))}.")
    return _plain(world, path, before, body)


def _identity(world: World, path: str, before: Document | None, body: Document) -> Document:
    kept = (before or {}).get("properties") or {
        "principalId": world.new_principal(),
        "clientId": str(uuid.uuid5(uuid.NAMESPACE_URL, path)),
        "tenantId": TENANT,
    }
    return {**body, "properties": kept}


_KINDS: dict[str, Callable[[World, str, Document | None, Document], Document]] = {
    "microsoft.storage/storageaccounts": _account,
    "microsoft.storage/storageaccounts/blobservices": _plain,
    "microsoft.storage/storageaccounts/blobservices/containers": _plain,
    "microsoft.operationalinsights/workspaces": _workspace,
    "microsoft.operationalinsights/workspaces/tables": _table,
    "microsoft.insights/components": _component,
    "microsoft.insights/actiongroups": _plain,
    "microsoft.insights/datacollectionrules": _rule,
    "microsoft.insights/scheduledqueryrules": _alert,
    "microsoft.insights/workbooks": _workbook,
    "microsoft.managedidentity/userassignedidentities": _identity,
    "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials": _plain,
    "microsoft.dbforpostgresql/flexibleservers": _flexible_server,
    "microsoft.dbforpostgresql/flexibleservers/databases": _plain,
    "microsoft.machinelearningservices/workspaces": machine_learning.workspace,
    "microsoft.machinelearningservices/workspaces/computes": machine_learning.compute,
    "microsoft.web/serverfarms": _plan,
    "microsoft.web/sites": _site,
    "microsoft.web/sites/config": _plain,
    "microsoft.web/sites/basicpublishingcredentialspolicies": _plain,
}
