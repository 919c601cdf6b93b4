"""Sender: who tells Google of attempts. AWS's role of the archiver is known there by its own word, through a workload
identity pool of its own, and may write metrics and logs: no service account, no key.
"""

from dataclasses import dataclass
from typing import Any

from fiso_cli.clouds.google import policies
from fiso_cli.clouds.google.client import Document, Google
from fiso_cli.clouds.google.monitoring import labels, mark
from fiso_cli.clouds.google.names import Names
from fiso_cli.clouds.google.steps import ensured
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

APIS = ("sts.googleapis.com", "cloudresourcemanager.googleapis.com")
ROLES = ("roles/monitoring.metricWriter", "roles/logging.logWriter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The archiver's role: AWS's account, and the role's name."""

    account: str
    role: str


def pool(names: Names) -> str:
    """Of its own, beside that of the trust. An id has 4 to 32 characters."""
    return f"projects/{names.project}/locations/global/workloadIdentityPools/fiso-{names.stage}-tell"


def provider(google: Google, names: Names) -> str:
    """As a token is asked for: with the project's number."""
    short = pool(names).rpartition("/")[2]
    return f"projects/{google.number}/locations/global/workloadIdentityPools/{short}/providers/archiver"


def steps(google: Google, names: Names, sender: Sender) -> list[Step]:
    """In the order in which they are made."""
    wanted = {
        "aws": {"accountId": sender.account},
        "attributeMapping": {
            "google.subject": "assertion.arn",
            "attribute.aws_role": "assertion.arn.extract('assumed-role/{role}/')",
        },
        "attributeCondition": f"attribute.aws_role == '{sender.role}'",
    }
    return [
        _part(google, names, pool(names), "who comes from AWS to tell", {}),
        _part(google, names, f"{pool(names)}/providers/archiver", "the archiver's role alone", wanted),
        *(_bound(google, names, role, sender.role) for role in ROLES),
    ]


def leftovers(google: Google, names: Names) -> list[Step]:
    """What the pool lets in, whoever that was, and the pool; it stands as deleted for thirty days."""
    made = _part(google, names, pool(names), "", {})
    found = google.find("iam", lambda api: _pools(api).get(name=pool(names)))
    if found is None or found.get("state") == "DELETED":
        return []
    return [made, *(_bound(google, names, role, "") for role in ROLES)]


def setting(google: Google, names: Names) -> str:
    """What the stage's `googleMonitoring` is set to: `PROJECT PROVIDER`. Empty while nobody may send."""
    name = pool(names)
    found = [
        google.find("iam", lambda api: _pools(api).get(name=name)),
        google.find("iam", lambda api: _pools(api).providers().get(name=f"{name}/providers/archiver")),
    ]
    is_there = all(each is not None and each.get("state") != "DELETED" for each in found)
    return f"{names.project} {provider(google, names)}" if is_there else ""


def _pools(api: Any) -> Any:
    return api.projects().locations().workloadIdentityPools()


def _part(google: Google, names: Names, name: str, makes: str, wanted: Document) -> Step:
    is_pool, short = name == pool(names), name.rpartition("/")[2]
    own = mark(labels(names))

    def things(api: Any) -> Any:
        return _pools(api) if is_pool else _pools(api).providers()

    def found() -> Document | None:
        return google.find("iam", lambda api: things(api).get(name=name))

    def look() -> Look:
        there = found()
        if there is None or there.get("state") == "DELETED":
            return ABSENT
        if there.get("description") != own:
            return not_ours(f"{short} is not described as this stage's monitoring")
        wrong = [key for key, value in wanted.items() if there.get(key) != value]
        return different(f"{', '.join(wrong)} as FISO needs them") if wrong else AS_WANTED

    def make(say: Say) -> None:
        there, body = found(), {"description": own, **wanted}
        if there is None:
            parent = name.rpartition("/")[0].rpartition("/")[0]
            numbered = {f"workloadIdentityPool{'' if is_pool else 'Provider'}Id": short}
            ensured(lambda: google.call("iam", lambda api: things(api).create(parent=parent, body=body, **numbered)))
            return
        if there.get("state") == "DELETED":
            google.call("iam", lambda api: things(api).undelete(name=name, body={}))
            google.pause(2.0)
        google.call("iam", lambda api: things(api).patch(name=name, updateMask=",".join(body), body=body))

    def undo(say: Say) -> None:
        google.find("iam", lambda api: things(api).delete(name=name))

    return Step(name=f"{'pool' if is_pool else 'provider'} {short}", makes=makes, look=look, make=make, undo=undo)


def _bound(google: Google, names: Names, role: str, aws_role: str) -> Step:
    """The role on the project, of whoever comes as AWS's role; on removal of whoever comes through the pool at all."""
    policy = policies.ProjectPolicy(google, names.project)

    def begin() -> str:
        of = provider(google, names).partition("/providers/")[0]
        return f"principalSet://iam.googleapis.com/{of}/"

    def members(found: Document) -> list[str]:
        of = [each.get("members", []) for each in found.get("bindings", []) if each["role"] == role]
        return [member for some in of for member in some if member.startswith(begin())]

    def look() -> Look:
        found = members(policy.read() or {})
        wanted = [f"{begin()}attribute.aws_role/{aws_role}"] if aws_role else found
        return ABSENT if not found else AS_WANTED if found == wanted else different("is another role's")

    def make(say: Say) -> None:
        wanted = f"{begin()}attribute.aws_role/{aws_role}"
        policies.changed(google, policy, lambda found: policies.with_member(cleared(found), role, wanted))

    def cleared(found: Document) -> Document:
        for member in members(found):
            found = policies.without_member(found, role, member)
        return found

    def undo(say: Say) -> None:
        policies.changed(google, policy, cleared)

    makes = f"{role} for the archiver's role"
    return Step(name=f"right {role.partition('.')[2]}", makes=makes, look=look, make=make, undo=undo)
