"""Workload identity pools with their providers, and what an organisation's policy lets in. Deleted ones stand under
their names as DELETED, as Google keeps them for thirty days."""

import re

from localcloud.google_cloud.handlers import Call, answers, operation
from localcloud.google_cloud.world import Document, Refused, exists, not_found

_POOLS = "iam.projects.locations.workloadIdentityPools"
_ID = re.compile(r"(?!gcp-)[a-z0-9-]{4,32}")


def _add(method: str, permission: str) -> None:
    """The methods that pools and providers have alike."""

    @answers(f"{method}.get", f"{permission}.get")
    def get(call: Call) -> Document:
        if not call.world.is_seen(f"iam/{call.name()}"):
            raise not_found(call.name())
        return {key: value for key, value in call.world.get(f"iam/{call.name()}").items() if key != "etag"}

    @answers(f"{method}.patch", f"{permission}.update")
    def patch(call: Call) -> Document:
        masked = call.query.get("updateMask", "").split(",")
        _check(call.body)
        return _changing(call, {key: value for key, value in call.body.items() if key in masked})

    answers(f"{method}.delete", f"{permission}.delete")(lambda call: _changing(call, {"state": "DELETED"}))
    answers(f"{method}.undelete", f"{permission}.undelete")(
        lambda call: _changing(call, {"state": "ACTIVE"}, of="DELETED")
    )
    answers(f"{method}.operations.get")(operation)


def _changing(call: Call, changed: Document, of: str = "ACTIVE") -> Document:
    name = f"iam/{call.name()}"
    found = call.world.get(name)
    if found["state"] != of:
        raise Refused(400, "FAILED_PRECONDITION", f"{call.name()} is {found['state']}")
    return call.world.operate(call.name(), lambda: call.world.put(name, {**found, **changed}), call.fault)


@answers(f"{_POOLS}.create", "iam.workloadIdentityPools.create")
def make_pool(call: Call) -> Document:
    if not call.project:
        raise not_found(call.name("parent"))
    return _making(call, "workloadIdentityPools", call.query.get("workloadIdentityPoolId", ""))


@answers(f"{_POOLS}.providers.create", "iam.workloadIdentityPoolProviders.create")
def make_provider(call: Call) -> Document:
    if call.world.things.get(f"iam/{call.name('parent')}", {}).get("state") != "ACTIVE":
        raise not_found(call.name("parent"))
    return _making(call, "providers", call.query.get("workloadIdentityPoolProviderId", ""))


def _making(call: Call, kind: str, id: str) -> Document:
    if not _ID.fullmatch(id):
        raise Refused(400, "INVALID_ARGUMENT", f"{id!r}: 4 to 32 lower-case letters, digits and -")
    name = f"{call.name('parent')}/{kind}/{id}"
    if f"iam/{name}" in call.world.things:
        raise exists(name)
    _check(call.body)
    made = {**call.body, "name": name, "state": "ACTIVE"}
    return call.world.operate(name, lambda: call.world.put(f"iam/{name}", made), call.fault)


def _check(body: Document) -> None:
    if "aws" in body and not re.fullmatch(r"\d{12}", body["aws"]["accountId"]):
        raise Refused(400, "INVALID_ARGUMENT", "Invalid AWS account ID.")
    if "aws" in body and "google.subject" not in body.get("attributeMapping", {}):
        raise Refused(400, "INVALID_ARGUMENT", "google.subject must be mapped")


_add(_POOLS, "iam.workloadIdentityPools")
_add(f"{_POOLS}.providers", "iam.workloadIdentityPoolProviders")


@answers("iam.projects.serviceAccounts.enable", "iam.serviceAccounts.enable")
def enable(call: Call) -> Document:
    call.world.put(f"iam/{call.name()}", {**call.world.get(f"iam/{call.name()}"), "disabled": False})
    return {}


@answers("orgpolicy.projects.policies.getEffectivePolicy", "orgpolicy.policy.get")
def effective_policy(call: Call) -> Document:
    rules = call.world.things.get(f"orgpolicy/{call.name().rpartition('/')[2]}", {"rules": [{"allowAll": True}]})
    return {"name": call.name(), "spec": {"rules": rules["rules"]}}
