"""Handlers: which function answers which method of Google's, by the method's id. Each module of them adds its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from localcloud.google_cloud.world import Document, Fault, Refused, World, not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that has the form that its method takes."""

    world: World
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Document
    content: bytes = b""
    fault: Fault | None = None
    bearer: str = ""

    def name(self, parameter: str = "name") -> str:
        """A resource's full name."""
        return self.path[parameter]

    @property
    def project(self) -> str:
        """The project that a path speaks of, by its id; 403 as Google says it for one that there is not."""
        named = (self.path.get(each) for each in ("name", "parent", "endpoint", "resource", "sinkName"))
        told = [
            *self.body.get("resourceNames", []),
            *(each.get("logName", "") for each in self.body.get("entries", [])),
        ]
        whole = next((each for each in (*named, *told) if each), "")
        alone = self.path.get("project") or self.query.get("project", "")
        given = [*whole.split("/"), "", ""][1] if whole.startswith("projects/") else alone
        by_number = {number: name for name, number in self.world.projects.items()}
        project = by_number.get(given, given)
        if project not in self.world.projects:
            raise Refused(403, "PERMISSION_DENIED", f"Permission denied on resource project {given}.")
        return project


Handler: TypeAlias = Callable[[Call], Document]
HANDLERS: dict[str, Handler] = {}
PERMISSIONS: dict[str, str] = {}
"""What a caller needs for a method, where it can be taken away."""


def answers(method: str, permission: str = "") -> Callable[[Handler], Handler]:
    """Registers the function that answers a method."""

    def register(handler: Handler) -> Handler:
        if method in HANDLERS:
            raise ValueError(f"{method} is answered twice")
        HANDLERS[method] = handler
        if permission:
            PERMISSIONS[method] = permission
        return handler

    return register


def read_policy(world: World, resource: str, version: int = 3) -> Document:
    """A policy with its etag; an empty one where none was set. Below version 3 its conditions are not shown."""
    found = world.policies.get(resource, {"version": 1, "etag": "ACAB"})
    if version >= 3 or not any("condition" in each for each in found.get("bindings", [])):
        return found
    plain = [
        {"role": f"{each['role']}_withcond_1", "members": each["members"]} if "condition" in each else each
        for each in found["bindings"]
    ]
    return {**found, "version": 1, "bindings": plain}


def write_policy(world: World, resource: str, body: Document) -> Document:
    """Read, modify, write: 409 where another wrote since; 400 for a member whom nobody knows (yet)."""
    given = body.get("policy", body)
    if "etag" in given and given["etag"] != read_policy(world, resource)["etag"]:
        text = (
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
        )
        raise Refused(409, "ABORTED", text)
    for binding in given.get("bindings", []):
        if "_withcond_" in binding["role"] or ("condition" in binding and given.get("version") != 3):
            raise Refused(400, "INVALID_ARGUMENT", "Conditions need policy version 3, read and written.")
        for member in binding.get("members", []):
            _check_member(world, member)
    # a role without members is none
    bindings = [binding for binding in given.get("bindings", []) if binding.get("members")]
    kept: Document = {key: value for key, value in given.items() if key not in ("etag", "bindings")}
    kept = {"version": 1, **kept, **({"bindings": bindings} if bindings else {})}
    world.policies[resource] = {**kept, "etag": world.etag(kept)}
    return world.policies[resource]


def _check_member(world: World, member: str) -> None:
    kind, _, email = member.partition(":")
    domain = email.partition("@")[2]
    project = domain.removesuffix(".iam.gserviceaccount.com")
    if kind != "serviceAccount" or project not in world.projects:
        return
    if not world.is_seen(f"iam/projects/{project}/serviceAccounts/{email}"):
        raise Refused(400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")


def add_policies(api: str, prefix: str, noun: str) -> None:
    """`getIamPolicy` and `setIamPolicy` of things that have them."""

    def known(call: Call) -> str:
        name = f"{api}/{call.name('resource')}"
        if name not in call.world.things:
            raise not_found(call.name("resource"))
        return name

    @answers(f"{prefix}.getIamPolicy", f"{noun}.getIamPolicy")
    def get(call: Call) -> Document:
        version = int(call.query.get("options.requestedPolicyVersion", "1"))
        return read_policy(call.world, known(call), version)

    @answers(f"{prefix}.setIamPolicy", f"{noun}.setIamPolicy")
    def put(call: Call) -> Document:
        return write_policy(call.world, known(call), call.body)


def operation(call: Call) -> Document:
    """One operation of any API."""
    found = call.world.operations.get(call.name())
    if found is None:
        raise not_found(call.name())
    return found.document()
