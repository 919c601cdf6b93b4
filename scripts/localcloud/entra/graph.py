"""Graph: the part of Microsoft Graph v1.0 that trust is set up by, on loopback: applications, service principals,
federated credentials, assignments, deleted items. In memory; written from Microsoft's reference, held against nothing
of Microsoft's.

What was made is not seen at once (`lag` requests), lists come in pages of `page`, `faults` strike by method and path.
"""

import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

from localcloud.loopback import LoopbackHandler, LoopbackServer

if TYPE_CHECKING:
    from localcloud.entra.login import Login

Document: TypeAlias = dict[str, Any]
_KEY = re.compile(r"(\w+)\((\w+)='([^']+)'\)")
_FIELDS = {
    "applications": {
        *("displayName", "uniqueName", "tags", "signInAudience", "api", "appRoles", "identifierUris", "description"),
    },
    "servicePrincipals": {"appId", "tags", "appRoleAssignmentRequired", "accountEnabled", "displayName"},
    "federatedIdentityCredentials": {"name", "issuer", "subject", "audiences", "description"},
    "appRoleAssignedTo": {"principalId", "resourceId", "appRoleId"},
}
"""What a caller may write of each."""


class GraphError(Exception):
    """A refusal in Graph's form."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


@dataclass(slots=True, kw_only=True)
class Fault:
    """Strikes `times` requests that match, from the `skip`th on. `after`: what was asked for is done all the same;
    without a `refused` the connection ends."""

    match: str
    refused: GraphError | None = None
    after: bool = False
    skip: int = 0
    times: int = 1


@dataclass(kw_only=True, eq=False)
class Directory:
    """One tenant."""

    tenant: str = "72f988bf-86f1-41af-91ab-2d7cd011db47"
    applications: dict[str, Document] = field(default_factory=dict)
    principals: dict[str, Document] = field(default_factory=dict)
    deleted: dict[str, Document] = field(default_factory=dict)
    credentials: dict[str, dict[str, Document]] = field(default_factory=dict)
    assignments: dict[str, list[Document]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    made_at: dict[str, int] = field(default_factory=dict)
    lag: int = 0
    page: int = 2
    lock: threading.RLock = field(default_factory=threading.RLock)

    def is_seen(self, id: str) -> bool:
        return len(self.asked) >= self.made_at.get(id, 0) + self.lag

    @property
    def is_empty(self) -> bool:
        return not (self.applications or self.principals or self.deleted or self.assignments or self.credentials)


class Dropped(Exception):
    """The connection ends without an answer."""


def answer(directory: Directory, method: str, target: str, body: Document, headers: Any) -> tuple[int, Document]:
    """Status and document. Raises `GraphError`, `Dropped`."""
    with directory.lock:
        line = f"{method} {unquote(target)}"
        directory.asked.append(line)
        fault = _fault(directory, line)
        if fault and not fault.after:
            raise fault.refused or Dropped
        done = _carry_out(directory, method, target, body, headers)
        if fault:
            raise fault.refused or Dropped
        return done


def _fault(directory: Directory, line: str) -> Fault | None:
    for fault in directory.faults:
        if re.search(fault.match, line):
            if fault.skip:
                fault.skip -= 1
            elif fault.times:
                fault.times -= 1
                return fault
    return None


def _carry_out(directory: Directory, method: str, target: str, body: Document, headers: Any) -> tuple[int, Document]:
    split = urlsplit(target)
    parts = [unquote(part) for part in split.path.removeprefix("/v1.0/").split("/")]
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    if parts[0] == "organization":
        return 200, {"value": [{"id": directory.tenant}]}
    if parts[:2] == ["directory", "deletedItems"]:
        return _deleted(directory, method, parts, query)
    kind = parts[0].partition("(")[0]
    if kind == "applications":
        return _applications(directory, method, parts, body, headers)
    if kind == "servicePrincipals":
        return _principals(directory, method, parts, body, query)
    raise GraphError(400, "BadRequest", f"Resource not found for the segment '{parts[0]}'.")


def _deleted(directory: Directory, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Document]:
    if method == "GET" and parts[2:] == ["microsoft.graph.application"]:
        name = re.fullmatch(r"displayName eq '([^']*)'", query.get("$filter", ""))
        found = [each for each in directory.deleted.values() if name is None or each["displayName"] == name[1]]
        return 200, {"value": found}
    if method == "DELETE" and directory.deleted.pop(parts[2], {}):
        return 204, {}
    raise _missing(parts[2])


def _applications(
    directory: Directory, method: str, parts: list[str], body: Document, headers: Any
) -> tuple[int, Document]:
    found = _by_key(directory, directory.applications, parts)
    if len(parts) > 1 and parts[-1] != found_id(found) and "federatedIdentityCredentials" in parts:
        return _credentials(directory, method, parts, body, found)
    if method == "PATCH":
        _check(body, "applications")
        if found is None:
            key = _KEY.fullmatch(parts[0])
            if key is None or headers.get("prefer") != "create-if-missing":
                raise _missing(parts[-1])
            return 201, _make_application(directory, {**body, "uniqueName": key[3]})
        _check_uris(directory, body, found)
        found.update(body)
        return 204, {}
    if found is None:
        raise _missing(parts[-1])
    if method == "DELETE":
        del directory.applications[found["id"]]
        directory.deleted[found["id"]] = found
        directory.credentials.pop(found["id"], None)
        for id in [id for id, each in directory.principals.items() if each["appId"] == found["appId"]]:
            _drop_principal(directory, id)
        return 204, {}
    return 200, found


def found_id(found: Document | None) -> str:
    return str(found["id"]) if found else ""


def _make_application(directory: Directory, body: Document) -> Document:
    names = [each.get("uniqueName") for each in (*directory.applications.values(), *directory.deleted.values())]
    if body["uniqueName"] in names:
        raise GraphError(409, "Request_MultipleObjectsWithSameKeyValue", "uniqueName already exists")
    _check_uris(directory, body, {})
    made = {
        "identifierUris": [],
        "tags": [],
        "appRoles": [],
        "api": {},
        **body,
        "id": str(uuid4()),
        "appId": str(uuid4()),
    }
    directory.applications[made["id"]] = made
    directory.made_at[made["id"]] = len(directory.asked)
    return made


def _check_uris(directory: Directory, body: Document, own: Document) -> None:
    """An identifier URI is one application's in the tenant, also while that one is only deleted."""
    others = [*directory.applications.values(), *directory.deleted.values()]
    taken = {uri for each in others if each is not own for uri in each.get("identifierUris", [])}
    for uri in body.get("identifierUris", []):
        if uri in taken:
            raise GraphError(
                400, "Request_BadRequest", "Another object with the same value for property identifierUris"
            )
        if not re.fullmatch(r"api://[0-9a-f-]{36}(/[\w.:-]+)?", uri):
            raise GraphError(400, "HostNameNotOnVerifiedDomain", f"{uri} is not allowed by the tenant's policy")


def _credentials(
    directory: Directory, method: str, parts: list[str], body: Document, application: Document | None
) -> tuple[int, Document]:
    if application is None:
        raise _missing(parts[1])
    known = directory.credentials.setdefault(application["id"], {})
    name = parts[parts.index("federatedIdentityCredentials") + 1 :]
    if method == "POST":
        _check(body, "federatedIdentityCredentials")
        if body["name"] in known:
            raise GraphError(
                409, "Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential already exists"
            )
        if len(known) >= 20 or not str(body["issuer"]).startswith("https://"):
            raise GraphError(400, "Request_BadRequest", "invalid issuer, or more than 20 credentials")
        known[body["name"]] = {**body, "id": str(uuid4())}
        return 201, known[body["name"]]
    if not name or name[0] not in known:
        raise _missing("".join(name))
    if method == "PATCH":
        _check(body, "federatedIdentityCredentials")
        known[name[0]].update(body)
        return 204, {}
    return 200, known[name[0]]


def _principals(
    directory: Directory, method: str, parts: list[str], body: Document, query: dict[str, str]
) -> tuple[int, Document]:
    if method == "POST" and len(parts) == 1:
        return 201, _make_principal(directory, body)
    found = _by_key(directory, directory.principals, parts)
    if found is None:
        raise _missing(parts[-1])
    if parts[-1] == "appRoleAssignedTo":
        return _assignments(directory, method, found, body, query)
    if method == "PATCH":
        _check(body, "servicePrincipals")
        found.update(body)
        return 204, {}
    return 200, found


def _make_principal(directory: Directory, body: Document) -> Document:
    _check(body, "servicePrincipals")
    application = next((each for each in directory.applications.values() if each["appId"] == body["appId"]), None)
    if application is None or not directory.is_seen(application["id"]):
        message = f"The appId '{body['appId']}' of the service principal does not reference a valid application object."
        raise GraphError(400, "Request_BadRequest", message)
    if any(each["appId"] == body["appId"] for each in directory.principals.values()):
        raise GraphError(409, "Request_MultipleObjectsWithSameKeyValue", "The service principal already exists")
    made = {"accountEnabled": True, "appRoleAssignmentRequired": False, **body, "id": str(uuid4())}
    directory.principals[made["id"]] = made
    directory.made_at[made["id"]] = len(directory.asked)
    return made


def _drop_principal(directory: Directory, id: str) -> None:
    directory.principals.pop(id)
    directory.assignments.pop(id, None)
    for given in directory.assignments.values():
        given[:] = [each for each in given if each["principalId"] != id]


def _assignments(
    directory: Directory, method: str, resource: Document, body: Document, query: dict[str, str]
) -> tuple[int, Document]:
    given = directory.assignments.setdefault(resource["id"], [])
    if method == "POST":
        _check(body, "appRoleAssignedTo")
        if body["principalId"] not in directory.principals or not directory.is_seen(body["principalId"]):
            raise _missing(body["principalId"])
        if any(all(each[key] == value for key, value in body.items()) for each in given):
            raise GraphError(400, "Request_BadRequest", "Permission being assigned already exists on the object")
        given.append({**body, "id": str(uuid4())})
        return 201, given[-1]
    start = int(query.get("$skiptoken", 0))
    page: Document = {"value": given[start : start + directory.page]}
    if start + directory.page < len(given):
        page["@odata.nextLink"] = f"/v1.0/servicePrincipals/{resource['id']}/appRoleAssignedTo?$skiptoken={start + 2}"
    return 200, page


def _by_key(directory: Directory, things: dict[str, Document], parts: list[str]) -> Document | None:
    if key := _KEY.fullmatch(parts[0]):
        found = next((each for each in things.values() if each.get(key[2]) == key[3]), None)
    else:
        found = things.get(parts[1]) if len(parts) > 1 else None
    return found if found is not None and directory.is_seen(found["id"]) else None


def _check(body: Document, kind: str) -> None:
    for name in body:
        if name not in _FIELDS[kind]:
            raise GraphError(400, "Request_BadRequest", f"Property '{name}' does not exist or is read-only.")


def _missing(what: str) -> GraphError:
    return GraphError(404, "Request_ResourceNotFound", f"Resource '{what}' does not exist or one of its references.")


class _Handler(LoopbackHandler):
    server: "GraphServer"

    def _serve(self) -> None:
        content = self.content()
        extra: dict[str, str] = {}
        try:
            if why := self.refused():
                raise GraphError(403, "Forbidden", why)
            if (found := self._of_no_graph(content)) is not None:
                return self._send(*found, {})
            body = json.loads(content) if content and content != b"null" else {}
            status, document = answer(self.server.directory, self.command, self.path, body, self.headers)
            if link := document.get("@odata.nextLink"):
                document = {**document, "@odata.nextLink": self.server.url + link}
        except GraphError as error:
            status, extra = error.status, {name.replace("_", "-"): value for name, value in error.headers.items()}
            document = {"error": {"code": error.code, "message": str(error)}}
        except Dropped:
            self.close_connection = True
            return
        self._send(status, document, extra)

    def _of_no_graph(self, content: bytes) -> tuple[int, Document] | None:
        """What needs no bearer: health, keys, tokens."""
        if self.path == "/healthz":
            return 200, {"status": "ok"}
        login = self.server.login
        found = login.answer(self.command, self.path, content) if login else None
        if found is None and not self.headers.get("authorization", "").startswith("Bearer "):
            raise GraphError(401, "InvalidAuthenticationToken", "Access token is empty.")
        return found

    def _send(self, status: int, document: Document, extra: dict[str, str]) -> None:
        sent = b"" if status == 204 else json.dumps(document).encode()
        self.send(status, sent, "application/json", extra)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class calls these


class GraphServer(LoopbackServer):
    """One tenant's Graph, with its login where it has one."""

    def __init__(self, directory: Directory, port: int = 0, login: "Login | None" = None) -> None:
        super().__init__(_Handler, port)
        self.directory, self.login = directory, login
