"""Projects: which APIs are enabled, who may do what, and the service accounts."""

import re

from localcloud.google_cloud.handlers import Call, add_policies, answers, operation, read_policy, write_policy
from localcloud.google_cloud.world import Document, Refused, exists, not_found

ALWAYS = frozenset({"serviceusage.googleapis.com", "iamcredentials.googleapis.com", "sts.googleapis.com"})
"""Not asked of here: without the first none could be enabled, the others only sign."""
REGIONS = ("asia-northeast1", "europe", "europe-west1", "europe-west3", "us", "us-central1", "us-east4", "us-west1")
_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def _service(call: Call, name: str) -> Document:
    state = "ENABLED" if name in call.world.enabled.setdefault(call.project, set()) else "DISABLED"
    return {"name": f"projects/{call.world.projects[call.project]}/services/{name}", "state": state}


@answers("serviceusage.services.batchGet", "serviceusage.services.get")
def get_services(call: Call) -> Document:
    names = call.query.get("names", "").split(",")
    return {"services": [_service(call, name.rpartition("/")[2]) for name in names if name]}


@answers("serviceusage.services.batchEnable", "serviceusage.services.enable")
def enable(call: Call) -> Document:
    names = call.body.get("serviceIds", [])
    if len(names) > 20:
        raise Refused(400, "INVALID_ARGUMENT", "at most 20 services can be enabled at a time")
    project = call.project

    def finish() -> Document:
        call.world.enabled.setdefault(project, set()).update(names)
        call.world.enabled_at = call.world.requests
        return {"@type": "type.googleapis.com/google.api.serviceusage.v1.BatchEnableServicesResponse"}

    return call.world.operate("", finish, call.fault)


@answers("artifactregistry.projects.locations.list")
def list_locations(call: Call) -> Document:
    names = [f"location/{region}" for region in REGIONS]
    for name in names:
        region = name.partition("/")[2]
        call.world.things[name] = {"name": f"projects/{call.project}/locations/{region}", "locationId": region}
    return call.world.listed(names, call.query, "locations")


@answers("cloudresourcemanager.projects.get", "resourcemanager.projects.get")
def get_project(call: Call) -> Document:
    project = call.project
    return {"name": f"projects/{call.world.projects[project]}", "projectId": project, "state": "ACTIVE"}


@answers("cloudresourcemanager.projects.getIamPolicy", "resourcemanager.projects.getIamPolicy")
def get_project_policy(call: Call) -> Document:
    version = int(call.body.get("options", {}).get("requestedPolicyVersion", 1))
    return read_policy(call.world, f"projects/{call.project}", version)


@answers("cloudresourcemanager.projects.setIamPolicy", "resourcemanager.projects.setIamPolicy")
def set_project_policy(call: Call) -> Document:
    return write_policy(call.world, f"projects/{call.project}", call.body)


@answers("cloudresourcemanager.projects.testIamPermissions")
def test_permissions(call: Call) -> Document:
    asked = call.body.get("permissions", [])
    return {"permissions": [permission for permission in asked if permission not in call.world.denied]}


@answers("iam.projects.serviceAccounts.create", "iam.serviceAccounts.create")
def make_account(call: Call) -> Document:
    account = call.body["accountId"]
    if not _ACCOUNT.fullmatch(account):
        raise Refused(400, "INVALID_ARGUMENT", "Invalid service account ID: 6 to 30 lower-case letters, digits and -")
    email = f"{account}@{call.project}.iam.gserviceaccount.com"
    name = f"projects/{call.project}/serviceAccounts/{email}"
    if f"iam/{name}" in call.world.things:
        raise exists(name)
    given = call.body.get("serviceAccount", {})
    return call.world.put(
        f"iam/{name}",
        {
            **{key: given[key] for key in ("displayName", "description") if key in given},
            "name": name,
            "email": email,
            "projectId": call.project,
            "uniqueId": f"1{next(call.world.numbers):020d}",
        },
    )


@answers("iam.projects.serviceAccounts.get", "iam.serviceAccounts.get")
def get_account(call: Call) -> Document:
    if not call.world.is_seen(f"iam/{call.name()}"):
        raise not_found(call.name())
    return call.world.get(f"iam/{call.name()}")


@answers("iam.projects.serviceAccounts.delete", "iam.serviceAccounts.delete")
def delete_account(call: Call) -> Document:
    call.world.get(f"iam/{call.name()}")
    call.world.drop(f"iam/{call.name()}")
    return {}


@answers("iam.projects.serviceAccounts.list", "iam.serviceAccounts.list")
def list_accounts(call: Call) -> Document:
    names = sorted(name for name in call.world.things if name.startswith(f"iam/{call.name()}/serviceAccounts/"))
    return call.world.listed(names, call.query, "accounts")


add_policies("iam", "iam.projects.serviceAccounts", "iam.serviceAccounts")
for _api in ("serviceusage.operations", "run.projects.locations.operations"):
    answers(f"{_api}.get")(operation)
for _api in ("artifactregistry", "cloudbuild"):
    answers(f"{_api}.projects.locations.operations.get")(operation)
