"""Deployments of templates: checked, foretold (what-if), and made one resource after the other in the order of their
dependencies, while nobody needs to wait. One that is under way keeps its name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.azure_cloud import providers
from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.expressions import Scope
from localcloud.azure_cloud.world import Document, Operation, World

_KINDS = {"string": str, "int": int, "bool": bool, "object": Mapping, "array": list, "secureobject": Mapping}


def begin(world: World, path: str, group: Document, body: Document) -> Operation:
    """Start a deployment. Refused while one of its name is active."""
    before = world.deployments.get(path.lower())
    if before is not None and world.operations[before["operation"]].status == "Running":
        raise Refused(
            409,
            "DeploymentActive",
            f"The deployment with resource id '{path}' cannot be saved, because this would overwrite an existing "
            "deployment which is still active.",
        )
    resources = declared(world, group, body)
    operation = Operation(left=resources, hangs=any(part in path for part in world.faults.hanging))
    world.deployments[path.lower()] = {"operation": world.begin(operation), "body": body, "group": group, "id": path}
    return operation


def step(world: World) -> None:
    """One resource further in every deployment that is under way."""
    for deployment in world.deployments.values():
        operation = world.operations[deployment["operation"]]
        if operation.status != "Running" or operation.hangs:
            continue
        if not operation.left:
            operation.status = "Succeeded"
            continue
        resource = operation.left.pop(0)
        try:
            _make(world, deployment["group"], deployment["body"], resource)
        except Refused as error:
            operation.status = "Failed"
            operation.error = {
                "code": "DeploymentFailed",
                "message": "At least one resource deployment operation failed. Please list deployment operations.",
                "details": [] if world.faults.hides_details else [error.error],
            }
            target = {"resourceType": resource["type"], "resourceName": str(resource["name"])}
            failed: Document = {"provisioningState": "Failed", "targetResource": target}
            deployment["failed"] = [{"properties": {**failed, "statusMessage": {"error": error.error}}}]


def _make(world: World, group: Document, body: Document, resource: Document) -> None:
    made = scope_of(world, group, body).value(resource)
    providers.put(world, place(group, made), {**made, "name": str(made["name"]).rpartition("/")[2]})


def declared(world: World, group: Document, body: Document) -> list[Document]:
    """The template's resources, still with their expressions, each after those it depends on."""
    properties = body.get("properties", {})
    template = properties.get("template")
    if properties.get("mode") not in {"Incremental", "Complete"} or not isinstance(template, Mapping):
        raise Refused(400, "InvalidRequestContent", "The request content was invalid: mode and template are needed.")
    scope = scope_of(world, group, body)
    waiting = {_id(scope, group, each): each for each in template["resources"]}
    needs = {key: {str(it).lower() for it in scope.value(each.get("dependsOn", []))} for key, each in waiting.items()}
    named = {each for every in needs.values() for each in every}
    if missing := named - set(waiting):
        raise Refused(400, "InvalidTemplate", f"The resource '{min(missing)}' is not defined in the template.")
    ordered: list[str] = []
    while len(ordered) < len(waiting):
        ready = [key for key in waiting if key not in ordered and needs[key] <= set(ordered)]
        if not ready:
            raise Refused(400, "InvalidTemplate", "Circular dependency detected on resource.")
        ordered += ready
    return [waiting[key] for key in ordered]


def _id(scope: Scope, group: Document, resource: Document) -> str:
    head = {"type": resource["type"], "name": scope.value(resource["name"])}
    return place(group, head).lower()


def place(group: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    """The id of a template's resource: `Microsoft.Web/sites/config` and `app/web` are told apart level by level."""
    kinds, names = str(resource["type"]).split("/"), str(resource["name"]).split("/")
    if len(kinds) - 1 != len(names):
        raise Refused(400, "InvalidTemplate", f"The name '{resource['name']}' does not have the levels of its type.")
    pairs = "/".join(f"{kind}/{name}" for kind, name in zip(kinds[1:], names, strict=True))
    return f"{group['id']}/providers/{kinds[0]}/{pairs}"


def scope_of(world: World, group: Document, body: Document) -> Scope:
    """The parameters as given, checked against what the template says of them."""
    template, given = body["properties"]["template"], body["properties"].get("parameters", {})
    wanted = template.get("parameters", {})
    if unknown := set(given) - set(wanted):
        raise Refused(400, "InvalidTemplate", f"The template parameters '{', '.join(sorted(unknown))}' are not valid.")
    subscription = str(group["id"]).split("/")[2]

    def reference(path: str, is_full: bool) -> Any:
        found = world.resource(path)
        if found is None:
            raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        return found if is_full else found["properties"]

    first = Scope(parameters={}, variables={}, group=group, subscription=subscription, reference=reference)
    values = {name: _parameter(name, said, given.get(name), first) for name, said in wanted.items()}
    return Scope(
        parameters=values,
        variables=template.get("variables", {}),
        group=group,
        subscription=subscription,
        reference=reference,
    )


def _parameter(name: str, said: Document, given: Document | None, scope: Scope) -> Any:
    def bad(why: str) -> Refused:
        return Refused(400, "InvalidTemplate", f"Deployment template validation failed: the parameter '{name}' {why}.")

    if given is None:
        if "defaultValue" not in said:
            raise bad("has no value")
        return scope.value(said["defaultValue"])
    value, kind = given["value"], str(said["type"]).lower()
    if not isinstance(value, _KINDS[kind]) or (kind == "int" and isinstance(value, bool)):
        raise bad(f"is not of type {kind}")
    if "allowedValues" in said and value not in said["allowedValues"]:
        raise bad("is not part of the allowed value(s)")
    _check_range(value, said, bad)
    return value


def _check_range(value: Any, said: Document, bad: Callable[[str], Refused]) -> None:
    size = value if isinstance(value, int) else len(value)
    low, high = said.get("minValue", said.get("minLength")), said.get("maxValue", said.get("maxLength"))
    if (low is not None and size < low) or (high is not None and size > high):
        raise bad(f"is out of its range from {low} to {high}")


def what_if(world: World, group: Document, body: Document) -> list[Document]:
    """Each resource with `Create`, `Modify` (and the properties that differ) or `NoChange`."""
    scope, found = scope_of(world, group, body), []
    for resource in declared(world, group, body):
        path = _id(scope, group, resource)
        before = world.resource(path)
        change: Document = {"resourceId": path, "changeType": "Create"}
        if before is not None:
            wanted = _foretold(scope, resource)
            delta = list(_differences(before, wanted, ""))
            change = {"resourceId": before["id"], "changeType": "Modify" if delta else "NoChange", "delta": delta}
        found.append(change)
    return found


def _foretold(scope: Scope, resource: Document) -> Document:
    """What can be known before it is made: a reference to what is not there yet stays open."""
    found: Document = {}
    for name in ("sku", "kind", "tags", "properties"):
        if name in resource:
            try:
                found[name] = scope.value(resource[name])
            except Refused:
                continue
    return found


def _differences(before: Any, wanted: Any, where: str) -> Any:
    if isinstance(wanted, Mapping) and isinstance(before, Mapping):
        for name, value in wanted.items():
            yield from _differences(before.get(name), value, f"{where}.{name}" if where else name)
    elif before != wanted:
        yield {"path": where, "propertyChangeType": "Modify", "before": before, "after": wanted}
