"""Steps of a deployment to Azure, for the engine in `clouds.plan`: from the providers of the subscription to a function
that answers. What each looks at is the real thing; what each makes may be made twice.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fiso_cli.clouds.azure import publish
from fiso_cli.clouds.azure.arm import Arm, Busy, Document
from fiso_cli.clouds.azure.names import PACKAGE_TAG, Copy, Group, is_ours
from fiso_cli.clouds.azure.refusals import refusal
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours
from fiso_cli.errors import CommandError

GROUPS, DEPLOYMENTS, STORAGE, WEB = "2024-11-01", "2024-11-01", "2025-01-01", "2024-11-01"
WORKSPACES, INSIGHTS, ROLES = "2025-02-01", "2020-02-02", "2022-04-01"
PROVIDERS = ("Microsoft.Web", "Microsoft.Storage", "Microsoft.Insights", "Microsoft.OperationalInsights")
BLOB_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
"""Storage Blob Data Owner: what the Functions host needs of its storage, and the package's upload."""
BUSY_TRIES = 60
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What all copies of a run have in common."""

    application_id: str
    tenant_id: str
    python: str = "3.13"
    most_instances: int = 100


@cache
def template(name: str) -> Document:
    """`stage` or `copy`, say, as it stands beside this file."""
    found: Document = json.loads((_HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def shared(arm: Arm, group: Group, location: str) -> list[Step]:
    """What must be there before the lock, since the lock is in it. Two runs at once may make it together."""
    return group_and_providers(arm, group, location)


def group_and_providers(arm: Arm, group: Group, location: str, more: Iterable[str] = ()) -> list[Step]:
    """The same, with providers that not every stage needs."""
    return [
        *(provider(arm, name) for name in (*PROVIDERS, *more)),
        resource_group(arm, group, location),
        _stage(arm, group),
    ]


def workspace(group: Group) -> str:
    """The id of the stage's workspace of logs."""
    return group.resource("Microsoft.OperationalInsights/workspaces", "fiso-log-workspace")


def copy(arm: Arm, of: Copy, wanted: Wanted, package: bytes) -> list[Step]:
    """One copy: its resources, its identity's role, its package."""
    return [_app(arm, of, wanted), _role(arm, of), publish.step(arm, of, package)]


def provider(arm: Arm, name: str) -> Step:
    """A resource provider, registered; it stays so."""
    path = f"{arm.scope}/providers/{name}"

    def look() -> Look:
        state = str(arm.call("GET", path, GROUPS).get("registrationState"))
        return AS_WANTED if state == "Registered" else ABSENT if state == "NotRegistered" else different(state.lower())

    def make(say: Say) -> None:
        arm.call("POST", f"{path}/register", GROUPS)
        for _ in range(BUSY_TRIES):  # minutes, in a subscription that never had it
            if look() is AS_WANTED:
                return
            arm.waited(10)

    return Step(name=f"provider {name}", makes="registered in the subscription", look=look, make=make)


def resource_group(arm: Arm, group: Group, location: str, *, undo: bool = False) -> Step:
    """The group itself; with `undo` it goes again once nothing is in it."""

    def look() -> Look:
        found = arm.find(group.id, GROUPS)
        if found is None:
            return ABSENT
        if not is_ours(found.get("tags"), group.tags()):
            return not_ours(f"resource group {group.name} is not tagged as this stage's")
        state = found.get("properties", {}).get("provisioningState")
        return AS_WANTED if state == "Succeeded" else different(f"is {str(state).lower()}")

    def make(say: Say) -> None:
        while_busy(arm, say, lambda: arm.call("PUT", group.id, GROUPS, {"location": location, "tags": group.tags()}))

    def remove(say: Say) -> None:
        for other in arm.listed(f"{group.id}/resources", GROUPS):  # a group takes all that is in it along
            raise CommandError(f"it holds {other['name']}, which is not made by FISO: remove or move that first")
        while_busy(arm, say, lambda: arm.call("DELETE", group.id, GROUPS))

    what = f"a resource group in {location}"
    return Step(name=f"group {group.name}", makes=what, look=look, make=make, undo=remove if undo else None)


def _stage(arm: Arm, group: Group) -> Step:
    lock = group.resource("Microsoft.Storage/storageAccounts", group.lock_account)
    things = {
        lock: STORAGE,
        workspace(group): WORKSPACES,
        group.resource("Microsoft.Insights/components", group.insights): INSIGHTS,
    }

    def look() -> Look:
        look = _all_ours(arm, things, group.tags())
        if look is AS_WANTED and arm.find(group.lock_container, STORAGE) is None:
            return different("the lock's container is missing")
        return look

    def make(say: Say) -> None:
        given = {"lockAccount": group.lock_account, "insights": group.insights, "tags": group.tags()}
        deploy(arm, group, "fiso-stage", "stage", given, say)

    return Step(
        name="stage", makes="lock storage, fiso-log-workspace, Application Insights", look=look, make=make, is_slow=True
    )


def _app(arm: Arm, of: Copy, wanted: Wanted) -> Step:
    things = {of.storage_id: STORAGE, of.group.resource("Microsoft.Web/serverfarms", of.app): WEB, of.app_id: WEB}

    def look() -> Look:
        look = _all_ours(arm, things, of.tags)
        return look if look is not AS_WANTED else _as_declared(arm, of, wanted)

    def make(say: Say) -> None:
        given = parameters(of, wanted)
        if (app := arm.find(of.app_id, WEB)) is not None:
            given |= _kept(arm, of, app)
        deploy(arm, of.group, f"fiso-{of.app}", "copy", given, say)

    what = f"{of.memory_mb} MB in {of.region}, Flex Consumption, storage without keys"
    return Step(name=f"app {of.function} {of.deployment}", makes=what, look=look, make=make, is_slow=True)


def parameters(of: Copy, wanted: Wanted) -> Document:
    """What `copy.json` is given for an app that is not there yet."""
    return {
        "app": of.app,
        "storage": of.storage,
        "insights": of.group.insights,
        "location": of.region,
        "instanceMemoryMB": of.memory_mb,
        "maximumInstanceCount": wanted.most_instances,
        "pythonVersion": wanted.python,
        "applicationId": wanted.application_id,
        "tenantId": wanted.tenant_id,
        "tags": of.tags,
        "appTags": of.tags,
    }


def _kept(arm: Arm, of: Copy, app: Document) -> Document:
    """What a deployment would take away: the word for the package that is in it, settings that somebody else made."""
    taken = (app.get("tags") or {}).get(PACKAGE_TAG)
    found = arm.call("POST", f"{of.app_id}/config/appsettings/list", WEB).get("properties") or {}
    others = [{"name": name, "value": value} for name, value in found.items() if name not in _OWN_SETTINGS]
    return {
        "appTags": {**of.tags, **({PACKAGE_TAG: taken} if taken else {})},
        "keptSettings": {"list": others},
    }


_OWN_SETTINGS = ("AzureWebJobsStorage__accountName", "APPLICATIONINSIGHTS_CONNECTION_STRING", "FISO_HTTP_AUTH_LEVEL")


def _all_ours(arm: Arm, things: Mapping[str, str], tags: Mapping[str, str]) -> Look:
    """Over several resources that one deployment makes: what stands in the way is seen before anything is made."""
    missing: list[str] = []
    for path, version in things.items():
        found = arm.find(path, version)
        kind_and_name = "/".join(path.split("/")[-2:])
        if found is None:
            missing.append(kind_and_name)
        elif not is_ours(found.get("tags"), tags):
            return not_ours(f"{kind_and_name} is not tagged as this deployment's")
        elif (state := found.get("properties", {}).get("provisioningState")) in {"Failed", "Canceled"}:
            return different(f"{kind_and_name} is {str(state).lower()}")
    if len(missing) == len(things):
        return ABSENT
    return different(f"{missing[0]} is missing") if missing else AS_WANTED


def _as_declared(arm: Arm, of: Copy, wanted: Wanted) -> Look:
    app, storage = arm.call("GET", of.app_id, WEB), arm.call("GET", of.storage_id, STORAGE)
    auth = arm.find(f"{of.app_id}/config/authsettingsV2", WEB) or {}
    plan = of.group.resource("Microsoft.Web/serverfarms", of.app)
    entra = "properties.identityProviders.azureActiveDirectory"  # a host takes tokens for itself alone: decisions/0029
    expected: tuple[tuple[Document, str, object], ...] = (
        (storage, "properties.allowSharedKeyAccess", False),
        (storage, "properties.allowBlobPublicAccess", False),
        (app, "properties.httpsOnly", True),
        (app, "properties.serverFarmId", plan),
        (app, "properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB", of.memory_mb),
        (app, "properties.functionAppConfig.scaleAndConcurrency.maximumInstanceCount", wanted.most_instances),
        (app, "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency", 1),
        (app, "properties.functionAppConfig.runtime.name", "python"),
        (app, "properties.functionAppConfig.runtime.version", wanted.python),
        (app, "identity.type", "SystemAssigned"),
        (auth, "properties.globalValidation.requireAuthentication", bool(wanted.application_id)),
        (auth, f"{entra}.registration.clientId", wanted.application_id),
        (auth, f"{entra}.validation.allowedAudiences", [f"api://{wanted.tenant_id}/{publish.host(app)}"]),
    )
    for document, path, value in expected:
        found = _at(document, path)
        if not (_same(found, value) or (not found and not value)):
            return different(f"{path.rpartition('.')[2]} is {found}, not {value}")
    if arm.find(f"{of.storage_id}/blobServices/default/containers/packages", STORAGE) is None:
        return different("the packages' container is missing")
    return AS_WANTED


def _same(found: object, value: object) -> bool:
    """Ids differ in case between Azure's own services."""
    if isinstance(found, str) and isinstance(value, str):
        return found.lower() == value.lower()
    return found == value


def _at(document: Any, path: str) -> object:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _role(arm: Arm, of: Copy) -> Step:
    def principal() -> str | None:
        return _principal(arm, of)

    what, name = "its identity may read and write its own storage", f"role {of.function} {of.deployment}"
    return assigned(arm, name, what, of.storage_id, BLOB_OWNER, principal)


def assigned(arm: Arm, name: str, makes: str, scope: str, role: str, principal: Callable[[], str | None]) -> Step:
    """That an identity has a role on a thing. Named after the identity: one that was made anew is another, and an
    assignment cannot be changed."""

    def path(of: str) -> str:
        number = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{of}|{role}".lower())
        return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{number}"

    def look() -> Look:
        found = principal()
        return AS_WANTED if found and arm.find(path(found), ROLES) is not None else ABSENT

    def make(say: Say) -> None:
        found = principal()
        if found is None:
            raise CommandError("it has no identity yet: run it again")
        definition = f"{arm.scope}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        given = {"roleDefinitionId": definition, "principalId": found, "principalType": "ServicePrincipal"}
        _until_known(arm, say, lambda: arm.call("PUT", path(found), ROLES, {"properties": given}))
        for each in assignments(arm, scope):  # ours of an identity that is no more
            other = str(each["properties"]["principalId"])
            if other != found and str(each["id"]).lower() == path(other).lower():
                arm.call("DELETE", str(each["id"]), ROLES)

    return Step(name=name, makes=makes, look=look, make=make)


def assignments(arm: Arm, storage: str) -> Iterable[Document]:
    """Those on the thing itself; what is inherited from above is not its own."""
    listed = arm.listed(f"{storage}/providers/Microsoft.Authorization/roleAssignments?$filter=atScope()", ROLES)
    return [each for each in listed if str(each["properties"]["scope"]).lower() == storage.lower()]


def _principal(arm: Arm, of: Copy) -> str | None:
    found = arm.find(of.app_id, WEB)
    return None if found is None else found.get("identity", {}).get("principalId")


def _until_known(arm: Arm, say: Say, act: Callable[[], object]) -> None:
    """A new identity is not at once known in all of Entra (PrincipalNotFound), whatever its type is said to be."""
    for number in range(BUSY_TRIES):
        try:
            act()
            return
        except CommandError as error:
            if "PrincipalNotFound" not in str(error) or number == BUSY_TRIES - 1:
                raise
            if not number:
                say("  the new identity is not known everywhere yet …")
            arm.waited(5)


def deploy(arm: Arm, group: Group, name: str, which: str, given: Document, say: Say) -> None:
    """One ARM deployment. One of the same name that is under way (an earlier run's) is waited for, then repeated."""
    path = f"{group.id}/providers/Microsoft.Resources/deployments/{name[:64]}"
    try:
        while_busy(arm, say, lambda: arm.call("PUT", path, DEPLOYMENTS, body_of(which, given)))
    except CommandError as error:
        if "list deployment operations" not in str(error):
            raise
        raise CommandError(_of_operations(arm, path) or str(error)) from error


def _of_operations(arm: Arm, path: str) -> str:
    """Why a deployment failed that says so in general alone: each of its operations has a reason of its own."""
    found = [each["properties"] for each in arm.listed(f"{path}/operations", DEPLOYMENTS)]
    reasons = []
    for each in found:
        said = each.get("statusMessage")
        if str(each.get("provisioningState")).lower() == "failed" and isinstance(said, Mapping):
            target = each.get("targetResource") or {}
            what = (
                f"{target.get('resourceType', 'a resource')} {str(target.get('resourceName', '')).rpartition('/')[2]}"
            )
            reasons.append(refusal(400, said.get("error") or said, what))
    return "; ".join(reasons[:3])


def what_if(arm: Arm, group: Group, name: str, which: str, given: Document) -> list[Document]:
    """What Azure itself says the deployment would do: `[{resourceId, changeType, delta}]`."""
    path = f"{group.id}/providers/Microsoft.Resources/deployments/{name[:64]}/whatIf"
    found = arm.call("POST", path, DEPLOYMENTS, body_of(which, given))
    return list(found.get("properties", {}).get("changes", []))


def body_of(which: str, given: Document) -> Document:
    """A deployment's body. Incremental: what the template does not name is left alone."""
    values = {name: {"value": value} for name, value in given.items()}
    return {"properties": {"mode": "Incremental", "template": template(which), "parameters": values}}


def while_busy(arm: Arm, say: Say, act: Callable[[], object]) -> None:
    """Act once nobody else is at it (409), for ten minutes at most."""
    for number in range(BUSY_TRIES):
        try:
            act()
            return
        except Busy as error:
            if number == BUSY_TRIES - 1:
                raise CommandError(f"still busy, run it again later: {error}") from error
            if not number:
                say("  another operation is under way there: waiting for it …")
            arm.waited(10)
