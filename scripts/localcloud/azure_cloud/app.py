"""Resource Manager over WSGI: which request means what. One table of routes; all else of a resource's id is generic."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from localcloud.azure_cloud import deployments, leases, logs, machine_learning, providers, sites, subscription
from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.world import PYTHONS, REGIONS, Document, Operation, World

PAGE = 3
"""Resources on a page of a list: few, so that whoever does not follow `nextLink` is found out."""
_HIDDEN = "_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, its path as it was sent less the encoding."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str

    @property
    def document(self) -> Document:
        """The body as a JSON object; `{}` without one."""
        try:
            found = json.loads(self.body) if self.body else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(
                400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
            )
        return found

    def link(self, path: str, **query: str) -> str:
        """An address of this server's."""
        return f"{self.origin}{path}?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = None  # type: ignore[assignment]


Handler = Callable[[World, Request, "re.Match[str]"], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureCloud:
    """The application."""

    world: World

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = _request(environ)
        with self.world.lock:
            answer = self.answered(request)
        content = b"" if answer.body is None else json.dumps(_shown(answer.body)).encode()
        headers = {"content-type": "application/json", **(answer.headers or {}), "content-length": str(len(content))}
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(headers.items()))
        return [content]

    def answered(self, request: Request) -> Answer:
        """The answer to a request, refusals too."""
        self.world.requests += 1
        named = f"{request.method} {request.path}"
        try:
            if not re.match("Bearer .", request.headers.get("authorization", "")) and request.path not in (
                "/healthz",
                "/v2.1/track",  # who sends is known by the key in what is sent
            ):
                raise Refused(
                    401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
                )
            self.world.faults.answer(named, is_after=False)
            deployments.step(self.world)
            sites.step(self.world)
            found = self._routed(request)
            self.world.faults.answer(named, is_after=True)
        except Refused as error:
            return Answer(status=error.status, body={"error": error.error}, headers=error.headers)
        return found

    def _routed(self, request: Request) -> Answer:
        if (
            not request.path.startswith(("/_", "/healthz", "/operations/", "/v1/", "/v2.1/"))
            and "api-version" not in request.query
        ):
            raise Refused(
                400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required."
            )
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, request.path, re.IGNORECASE)
            if match is not None and method == request.method:
                return handler(self.world, request, match)
        raise Refused(404, "NotFound", f"No route for {request.method} {request.path}.")


def _shown(value: Any) -> Any:
    """Without what is kept for this server alone."""
    if isinstance(value, Mapping):
        return {name: _shown(each) for name, each in value.items() if not str(name).startswith(_HIDDEN)}
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _request(environ: dict[str, Any]) -> Request:
    raw = str(environ.get("RAW_URI") or environ.get("PATH_INFO", "/")).partition("?")[0]
    length = int(environ.get("CONTENT_LENGTH") or 0)
    query = {name: values[0] for name, values in parse_qs(str(environ.get("QUERY_STRING", ""))).items()}
    return Request(
        method=str(environ["REQUEST_METHOD"]),
        path=unquote(raw),
        query=query,
        headers={key[5:].replace("_", "-").lower(): str(v) for key, v in environ.items() if key.startswith("HTTP_")},
        body=environ["wsgi.input"].read(length) if length else b"",
        origin=f"http://{environ.get('HTTP_HOST', '')}",
    )


def _provider(world: World, request: Request, match: "re.Match[str]") -> Answer:
    name = match["name"]
    state = world.providers.get(name.lower(), "Registered" if world.is_registered else "NotRegistered")
    if state == "Registering":  # one look later it is
        world.providers[name.lower()] = "Registered"
    return Answer(body={"namespace": name, "registrationState": state})


def _register(world: World, request: Request, match: "re.Match[str]") -> Answer:
    world.faults.check_permission(f"{match['name']}/register/action", f"/subscriptions/{match['sub']}")
    world.providers[match["name"].lower()] = "Registering"
    return Answer(body={"namespace": match["name"], "registrationState": "Registering"})


def _get_group(world: World, request: Request, match: "re.Match[str]") -> Answer:
    return Answer(body=world.group_of(request.path))


def _put_group(world: World, request: Request, match: "re.Match[str]") -> Answer:
    world.faults.check_permission("Microsoft.Resources/subscriptions/resourceGroups/write", request.path)
    body, key = request.document, match["group"].lower()
    before = world.groups.get(key)
    if before is not None and before["location"] != body["location"]:
        raise Refused(409, "InvalidResourceGroupLocation", f"Resource group already exists in '{before['location']}'.")
    kept = {"id": request.path, "name": match["group"], "type": "Microsoft.Resources/resourceGroups", **body}
    world.groups[key] = {**kept, "properties": {"provisioningState": "Succeeded"}}
    return Answer(status=200 if before else 201, body=world.groups[key])


def _delete_group(world: World, request: Request, match: "re.Match[str]") -> Answer:
    group = world.group_of(request.path)
    world.faults.check_permission("Microsoft.Resources/subscriptions/resourceGroups/delete", request.path)
    for key in [key for key in world.resources if key.startswith(f"{request.path.lower()}/")]:
        if key in world.resources:
            _forget_workspace(world, world.resources[key], is_for_good=False)
            world.drop(str(world.resources[key]["id"]))
    del world.groups[str(group["name"]).lower()]
    return _begun(world, request, Operation(status="Succeeded"), in_location=True)


def _listed(world: World, request: Request, found: list[Document]) -> Answer:
    first = int(request.query.get("$skiptoken", "0"))
    page: Document = {"value": found[first : first + PAGE]}
    if first + PAGE < len(found):
        query = {**request.query, "$skiptoken": str(first + PAGE)}
        page["nextLink"] = request.link(quote(request.path), **query)
    return Answer(body=page)


def _resources(world: World, request: Request, match: "re.Match[str]") -> Answer:
    """What is tagged so, or all of a group: what stands for itself, not what is part of something."""
    wanted = re.search(r"tagName eq '([^']*)' and tagValue eq '([^']*)'", request.query.get("$filter", ""))
    start = f"{request.path.rpartition('/')[0].lower()}/"
    found: list[Document] = [
        {name: each[name] for name in ("id", "name", "type", "tags", "location") if name in each}
        for key, each in sorted(world.resources.items())
        if key.startswith(start)
        and str(each["type"]).count("/") == 1
        and (wanted is None or (each.get("tags") or {}).get(wanted[1]) == wanted[2])
    ]
    return _listed(world, request, found)


def _put_deployment(world: World, request: Request, match: "re.Match[str]") -> Answer:
    group = world.group_of(request.path)
    world.faults.check_permission("Microsoft.Resources/deployments/write", request.path)
    operation = deployments.begin(world, request.path, group, request.document)
    body = {"id": request.path, "name": match["name"], "properties": {"provisioningState": "Accepted"}}
    return _begun(world, request, operation, status=201, body=body)


def _deployments(world: World, request: Request, match: "re.Match[str]") -> Answer:
    world.group_of(request.path)
    start = request.path.lower().rstrip("/") + "/"
    found: list[Document] = [
        {
            "id": each["id"],
            "name": str(each["id"]).rpartition("/")[2],
            "properties": {"provisioningState": world.operations[each["operation"]].status},
        }
        for key, each in sorted(world.deployments.items())
        if key.startswith(start)
    ]
    return _listed(world, request, found)


def _cancel(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.deployments.get(request.path.rpartition("/")[0].lower())
    operation = world.operations[found["operation"]] if found else None
    if operation is None or operation.status != "Running":
        raise Refused(409, "DeploymentCannotBeCancelled", "The deployment cannot be cancelled, it is not in progress.")
    operation.status, operation.error = "Canceled", {"code": "DeploymentCanceled", "message": "canceled"}
    return Answer(status=204)


def _what_if(world: World, request: Request, match: "re.Match[str]") -> Answer:
    changes = deployments.what_if(world, world.group_of(request.path), request.document)
    result = {"status": "Succeeded", "properties": {"changes": changes}}
    return _begun(world, request, Operation(status="Succeeded", result=result), in_location=True)


def _begun(
    world: World,
    request: Request,
    operation: Operation,
    *,
    status: int = 202,
    body: Any = None,
    in_location: bool = False,
) -> Answer:
    number = next((key for key, each in world.operations.items() if each is operation), None) or world.begin(operation)
    address = request.link(f"/operations/{number}", **{"api-version": "2024-11-01"})
    name = "location" if in_location else "azure-asyncoperation"
    return Answer(status=status, body=body, headers={name: address, "retry-after": "1"})


def _operation(world: World, request: Request, match: "re.Match[str]") -> Answer:
    operation = world.operations[match["number"]]
    if operation.result is not None or (operation.status == "Succeeded" and "location" in request.query):
        return Answer(body=operation.result)
    body: Document = {"status": operation.status}
    return Answer(body=body | ({"error": operation.error} if operation.error else {}), headers={"retry-after": "1"})


def _get(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.resource(request.path)
    if found is None:
        world.group_of(request.path)
        raise Refused(404, "ResourceNotFound", f"The Resource '{request.path}' was not found.")
    if str(found["type"]).lower().endswith("/containers"):
        leases.show(found)
    return Answer(body=found, headers={"etag": str(found["etag"])})


def _put(world: World, request: Request, match: "re.Match[str]") -> Answer:
    before = world.resource(request.path)
    _check_etag(request, before)
    parts = request.path.partition("/providers/")[2].split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    made = providers.put(
        world, request.path, {"type": kind, "apiVersion": request.query["api-version"], **request.document}
    )
    return Answer(status=200 if before else 201, body=made, headers={"etag": str(made["etag"])})


def _check_etag(request: Request, before: Document | None) -> None:
    wanted = request.headers.get("if-match")
    if wanted and (before is None or wanted not in {"*", before["etag"]}):
        raise Refused(412, "PreconditionFailed", "The condition If-Match does not hold.")
    if request.headers.get("if-none-match") == "*" and before is not None:
        raise Refused(412, "PreconditionFailed", "The condition If-None-Match does not hold.")


def _delete(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.resource(request.path)
    if found is None:
        return Answer(status=204)
    world.faults.check_permission(f"{found['type']}/delete", request.path)
    if any("/microsoft.authorization/locks/" in str(each["id"]).lower() for each in world.below(request.path)):
        raise Refused(409, "ScopeLocked", "The scope cannot perform delete operation because it is locked.")
    if str(found["type"]).lower() == "microsoft.web/serverfarms" and _apps_of(world, request.path):
        raise Refused(409, "Conflict", "Server farm cannot be deleted because it has web app(s) assigned to it.")
    _forget_workspace(world, found, is_for_good=request.query.get("force") == "true")
    world.drop(request.path)
    return Answer(status=200)


def _apps_of(world: World, plan: str) -> list[Document]:
    return [
        each
        for each in world.resources.values()
        if str(each["properties"].get("serverFarmId", "")).lower() == plan.lower()
    ]


def _forget_workspace(world: World, found: Document, *, is_for_good: bool) -> None:
    if str(found["type"]).lower() == "microsoft.operationalinsights/workspaces" and not is_for_good:
        world.soft_deleted[str(found["name"]).lower()] = str(found["id"]).split("/")[4].lower()


def _tags(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.resource(match["of"])
    if found is None:
        raise Refused(404, "ResourceNotFound", f"The Resource '{match['of']}' was not found.")
    given = request.document
    if given.get("operation") != "Merge":
        raise Refused(400, "InvalidTagsOperation", "Merge is the one that is known here.")
    kept = world.put(str(found["id"]), {**found, "tags": {**(found.get("tags") or {}), **given["properties"]["tags"]}})
    return Answer(body={"properties": {"tags": kept["tags"]}})


def _get_role(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.assignments.get(request.path.lower())
    if found is None:
        raise Refused(404, "RoleAssignmentNotFound", f"The role assignment '{match['name']}' is not found.")
    return Answer(body=found)


def _put_role(world: World, request: Request, match: "re.Match[str]") -> Answer:
    is_new = request.path.lower() not in world.assignments
    return Answer(status=201 if is_new else 200, body=providers.assign(world, request.path, request.document))


def _delete_role(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.assignments.pop(request.path.lower(), None)
    return Answer(status=200 if found else 204, body=found)


def _roles(world: World, request: Request, match: "re.Match[str]") -> Answer:
    scope = match["scope"].lower()
    found = [each for each in world.assignments.values() if str(each["properties"]["scope"]).lower() == scope]
    return _listed(world, request, found)


def _app(world: World, name: str) -> Document:
    for each in world.resources.values():
        if str(each["type"]).lower() == "microsoft.web/sites" and each["name"] == name:
            return each
    raise Refused(404, "NotFound", f"No app {name}.")


def _deployment_operations(world: World, request: Request, match: "re.Match[str]") -> Answer:
    found = world.deployments.get(request.path.lower().rpartition("/")[0])
    if found is None:
        raise Refused(404, "DeploymentNotFound", f"Deployment '{match['name']}' could not be found.")
    return _listed(world, request, found.get("failed", []))


def _lock_of(world: World, request: Request, match: "re.Match[str]") -> Answer:
    """A management lock of one resource."""
    if world.resource(match["of"]) is None:
        raise Refused(404, "ResourceNotFound", f"The Resource '{match['of']}' was not found.")
    if request.method == "PUT":
        world.faults.check_permission("Microsoft.Authorization/locks/write", match["of"])
        kind = "Microsoft.Authorization/locks"
        return Answer(status=201, body=world.put(request.path, {"type": kind, **request.document}))
    found = world.resource(request.path)
    if found is None:
        raise Refused(404, "LockNotFound", f"The lock '{match['name']}' could not be found.")
    if request.method == "DELETE":
        world.drop(request.path)
    return Answer(body=found)


def _scm(world: World, request: Request, match: "re.Match[str]") -> Answer:
    app, what = _app(world, match["app"]), match["what"]
    if request.method == "POST" and what == "publish":
        if request.headers.get("content-type", "application/zip") != "application/zip":
            raise Refused(415, "UnsupportedMediaType", "application/zip is expected.")
        return Answer(status=202, body=sites.publish(world, app, request.body))
    number, _, is_log = what.removeprefix("deployments/").partition("/")
    return Answer(body=sites.log(world, app, number) if is_log else sites.told(world, app, number))


def _functions(world: World, request: Request, match: "re.Match[str]") -> Answer:
    return _listed(world, request, sites.functions(_app(world, match["app"])))


def _settings(world: World, request: Request, match: "re.Match[str]") -> Answer:
    world.faults.check_permission("Microsoft.Web/sites/config/list/Action", request.path)
    return Answer(body={"properties": dict(_app(world, match["app"])["properties"]["_settings"])})


def _regions(world: World, request: Request, match: "re.Match[str]") -> Answer:
    return _listed(world, request, [{"name": name, "type": "Microsoft.Web/geoRegions"} for name in REGIONS])


def _stacks(world: World, request: Request, match: "re.Match[str]") -> Answer:
    def offered(version: str) -> Document:
        skus = [
            {"skuCode": "Y1"},
            {"skuCode": "FC1", "functionAppConfigProperties": {"runtime": {"name": "python", "version": version}}},
        ]
        return {"value": version, "stackSettings": {"linuxRuntimeSettings": {"Sku": skus}}}

    minors = [offered(each) for each in PYTHONS]
    stack = {"name": "python", "properties": {"majorVersions": [{"value": "3", "minorVersions": minors}]}}
    return Answer(body={"value": [stack]})


def _ingest(world: World, request: Request, match: "re.Match[str]") -> Answer:
    encoding = request.headers.get("content-encoding", "")
    logs.ingest(world, match["rule"], match["stream"], request.body, encoding, world.now())
    return Answer(status=204)


def _track(world: World, request: Request, match: "re.Match[str]") -> Answer:
    taken = logs.track(world, request.body)
    return Answer(body={"itemsReceived": taken, "itemsAccepted": taken, "errors": []})


def _query(world: World, request: Request, match: "re.Match[str]") -> Answer:
    asked = request.document
    found = logs.queried(world, match["workspace"], str(asked["query"]), str(asked.get("timespan", "")), world.now())
    return Answer(body=found)


def _healthz(world: World, request: Request, match: "re.Match[str]") -> Answer:
    return Answer(body={"status": "ok", "resources": len(world.resources)})


_SUB, _GROUP = r"/subscriptions/(?P<sub>[^/]+)", r"/subscriptions/(?P<sub>[^/]+)/resourceGroups/(?P<group>[^/]+)"
_DEPLOYMENT = _GROUP + r"/providers/Microsoft\.Resources/deployments/(?P<name>[^/]+)"
_ROLE = r"(?P<scope>.+)/providers/Microsoft\.Authorization/roleAssignments"
_LOCK = r"(?P<of>.+)/providers/Microsoft\.Authorization/locks/(?P<name>[^/]+)"
_WORKSPACE = _GROUP + r"/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
_ANY = _GROUP + r"/providers/.+"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/healthz", _healthz),
    ("GET", r"/operations/(?P<number>.+)", _operation),
    ("POST", r"/dataCollectionRules/(?P<rule>dcr-[0-9a-f]{32})/streams/(?P<stream>[^/]+)", _ingest),
    ("POST", r"/v2\.1/track", _track),
    ("POST", r"/v1/workspaces/(?P<workspace>[^/]+)/query", _query),
    ("POST", r"/_scm/(?P<app>[^/]+)/api/(?P<what>publish)", _scm),
    ("GET", r"/_scm/(?P<app>[^/]+)/api/(?P<what>deployments/.+)", _scm),
    ("GET", "/subscriptions", lambda _, r, __: _listed(_, r, subscription.listed())),
    ("GET", _SUB + "/locations", lambda _, r, __: _listed(_, r, subscription.locations())),
    (
        "GET",
        _SUB + r"/providers/Microsoft\.Authorization/permissions",
        lambda world, r, _: _listed(world, r, subscription.permissions(world)),
    ),
    (
        "GET",
        _SUB + r"/providers/Microsoft\.Web/sites",
        lambda world, r, _: _listed(world, r, subscription.sites(world)),
    ),
    (
        "GET",
        _SUB + r"/providers/Microsoft\.Web/locations/(?P<region>[^/]+)/usages",
        lambda world, r, match: _listed(world, r, subscription.usages(world, match["region"])),
    ),
    ("GET", _SUB + r"/providers/(?P<name>[^/]+)", _provider),
    ("POST", _SUB + r"/providers/(?P<name>[^/]+)/register", _register),
    ("GET", _SUB + r"/providers/Microsoft\.Web/geoRegions", _regions),
    ("GET", r"/providers/Microsoft\.Web/locations/[^/]+/functionAppStacks", _stacks),
    ("GET", _SUB + "/resources", _resources),
    ("GET", _GROUP + "/resources", _resources),
    ("GET", _GROUP, _get_group),
    ("PUT", _GROUP, _put_group),
    ("DELETE", _GROUP, _delete_group),
    ("PUT", _DEPLOYMENT, _put_deployment),
    ("POST", _DEPLOYMENT + "/whatIf", _what_if),
    ("GET", _DEPLOYMENT + "/operations", _deployment_operations),
    ("POST", _DEPLOYMENT + "/cancel", _cancel),
    ("GET", _GROUP + r"/providers/Microsoft\.Resources/deployments/", _deployments),
    ("GET", _ROLE, _roles),
    ("GET", _ROLE + r"/(?P<name>[^/]+)", _get_role),
    ("PUT", _ROLE + r"/(?P<name>[^/]+)", _put_role),
    ("DELETE", _ROLE + r"/(?P<name>[^/]+)", _delete_role),
    *((verb, _LOCK, _lock_of) for verb in ("GET", "PUT", "DELETE")),
    ("PATCH", r"(?P<of>.+)/providers/Microsoft\.Resources/tags/default", _tags),
    ("POST", r"(?P<of>.+/blobServices/default/containers/[^/]+)/lease", leases.lease),
    ("PATCH", r"(?P<of>.+/blobServices/default/containers/[^/]+)", leases.set_metadata),
    ("GET", r".+/sites/(?P<app>[^/]+)/functions", _functions),
    ("POST", r".+/sites/(?P<app>[^/]+)/config/appsettings/list", _settings),
    ("PUT", _WORKSPACE + r"/environments/[^/]+/versions/[^/]+", machine_learning.put_environment),
    ("PUT", _WORKSPACE + r"/jobs/(?P<name>[^/]+)", machine_learning.put_job),
    ("GET", _WORKSPACE + r"/jobs/(?P<name>[^/]+)", machine_learning.get_job),
    ("POST", _WORKSPACE + r"/jobs/(?P<name>[^/]+)/cancel", machine_learning.cancel),
    ("GET", _ANY, _get),
    ("PUT", _ANY, _put),
    ("DELETE", _ANY, _delete),
)
