"""Monitoring on Azure: `monitoring.json` beside this file, with its two workbooks, and who may tell it of attempts."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fiso_cli.clouds.azure import removal
from fiso_cli.clouds.azure.arm import Absent, Arm, Document
from fiso_cli.clouds.azure.names import Group, is_ours
from fiso_cli.clouds.azure.steps import WORKSPACES, assigned, deploy, group_and_providers, template, workspace
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

RULES, ALERTS, ACTIONS, BOOKS, IDENTITIES = "2023-03-11", "2021-08-01", "2023-01-01", "2023-06-01", "2024-11-30"
DEPLOYMENT, STREAM, TABLE, EXTRA = "monitoring", "Custom-FISOAttempts", "FISOAttempts_CL", "Microsoft.ManagedIdentity"
PUBLISHER = "3913510d-42f4-4e42-8a64-420c390055eb"
"""Monitoring Metrics Publisher: what the Logs Ingestion API asks for, on the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When alerts ring, and whom they tell."""

    failed_percent: int = 5
    busy_instances: int = 80
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """AWS's role that tells of attempts; `issuer` is known once the account says who its roles are."""

    role: str
    issuer: Callable[[], str | None]


def rule(group: Group) -> str:
    """The data collection rule's id."""
    return group.resource("Microsoft.Insights/dataCollectionRules", f"fiso-{group.stage}")


def identity(group: Group) -> str:
    return group.resource("Microsoft.ManagedIdentity/userAssignedIdentities", f"fiso-{group.stage}-monitoring")


def given(group: Group, limits: Limits) -> Document:
    """What `monitoring.json` is given."""

    def book(name: str, file: str) -> Document:
        number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{group.id}/{name}".lower()))
        return {"id": number, "content": json.dumps(template(file), separators=(",", ":"))}

    receiver = {"name": "fiso", "emailAddress": limits.email, "useCommonAlertSchema": True}
    return {
        "tags": group.tags(DEPLOYMENT),
        "rule": f"fiso-{group.stage}",
        "analytics": book("FISO Analytics", "fiso_analytics"),
        "predictions": book("ML Model Performance", "ml_model_performance"),
        "receivers": [receiver] if limits.email else [],
        "failedPercent": limits.failed_percent,
        "busyInstances": limits.busy_instances,
    }


def things(group: Group, limits: Limits) -> Mapping[str, tuple[str, Mapping[str, object]]]:
    """What is declared by id: its API's version, and what of it is looked at, by the path to it."""
    values = given(group, limits)

    def alert(name: str, threshold: int) -> tuple[str, tuple[str, Mapping[str, object]]]:
        declared = next(each for each in template("monitoring")["resources"] if each["name"] == name)["properties"]
        (condition,) = declared["criteria"]["allOf"]
        looked: Mapping[str, object] = {"enabled": True, "criteria.allOf": [{**condition, "threshold": threshold}]}
        return group.resource("Microsoft.Insights/scheduledQueryRules", name), (ALERTS, looked)

    def book(name: str, which: str) -> tuple[str, tuple[str, Mapping[str, object]]]:
        looked = {"displayName": name, "serializedData": values[which]["content"]}
        return group.resource("Microsoft.Insights/workbooks", values[which]["id"]), (BOOKS, looked)

    emails = [each["emailAddress"] for each in values["receivers"]]
    declared = next(each for each in template("monitoring")["resources"] if each["name"] == "[parameters('rule')]")
    return {
        rule(group): (RULES, {"streamDeclarations": declared["properties"]["streamDeclarations"]}),
        group.resource("Microsoft.Insights/actionGroups", "fiso-alerts"): (ACTIONS, {"emailReceivers": emails}),
        **dict([alert("Failed Invocation Alert", limits.failed_percent)]),
        **dict([alert("Resource Usage Alert", limits.busy_instances)]),
        **dict([book("FISO Analytics", "analytics"), book("ML Model Performance", "predictions")]),
    }


def steps(
    arm: Arm, group: Group, location: str, limits: Limits, sender: Sender | None
) -> tuple[list[Step], list[Step]]:
    """Before the lock, and under it."""
    extra = (EXTRA,) if sender else ()
    own = [_declared(arm, group, limits), *(_sending(arm, group, sender) if sender else ())]
    return group_and_providers(arm, group, location, extra), own


def _declared(arm: Arm, group: Group, limits: Limits) -> Step:
    tags, table = group.tags(DEPLOYMENT), f"{workspace(group)}/tables/{TABLE}"

    def look() -> Look:
        missing = ["tables/FISOAttempts_CL"] if arm.find(table, WORKSPACES) is None else []
        differs = ""
        wanted = things(group, limits)
        for path, (version, looked) in wanted.items():
            found, name = arm.find(path, version), "/".join(path.split("/")[-2:])
            if found is None:
                missing.append(name)
            elif not is_ours(found.get("tags"), tags):
                return not_ours(f"{name} is not tagged as this stage's monitoring")
            else:
                differs = differs or _difference(found["properties"], looked, name)
        if len(missing) > len(wanted):
            return ABSENT
        return different(f"{missing[0]} is missing" if missing else differs) if missing or differs else AS_WANTED

    def make(say: Say) -> None:
        deploy(arm, group, "fiso-monitoring", "monitoring", given(group, limits), say)

    what = "table and rule of attempts, FISO Analytics, ML Model Performance, two alerts"
    return Step(name="monitoring", makes=what, look=look, make=make, is_slow=True)


def _difference(found: Document, looked: Mapping[str, object], name: str) -> str:
    for path, wanted in looked.items():
        inner: object = found
        for part in path.split("."):
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        if path == "emailReceivers":
            inner = [each["emailAddress"] for each in inner or ()]  # type: ignore[attr-defined]
        if not _holds(inner, wanted):
            return f"{name}: {path} is not as declared"
    return ""


def _holds(found: object, wanted: object) -> bool:
    """Azure adds to what was declared, and never takes away."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(_holds(found.get(name), each) for name, each in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_holds, found, wanted))
    return found == wanted


def _sending(arm: Arm, group: Group, sender: Sender) -> list[Step]:
    """The identity that AWS's role is, and its right on the rule."""
    credential = f"{identity(group)}/federatedIdentityCredentials/archiver"

    def look() -> Look:
        found = arm.find(identity(group), IDENTITIES)
        if found is None:
            return ABSENT
        if not is_ours(found.get("tags"), group.tags(DEPLOYMENT)):
            return not_ours(f"identity fiso-{group.stage}-monitoring is not tagged as this stage's")
        trusted = (arm.find(credential, IDENTITIES) or {}).get("properties", {})
        wanted = {"issuer": sender.issuer(), "subject": sender.role}
        return AS_WANTED if _holds(trusted, wanted) else different("whom it trusts is not the archiver's role")

    def make(say: Say) -> None:
        name = identity(group).rpartition("/")[2]
        told = {"tags": group.tags(DEPLOYMENT), "identity": name, "issuer": sender.issuer(), "role": sender.role}
        deploy(arm, group, "fiso-sending", "sending", told, say)

    def principal() -> str | None:
        found = arm.find(identity(group), IDENTITIES)
        return None if found is None else str(found["properties"]["principalId"])

    what = "the archiver's role on AWS is an identity here, without a key"
    return [
        Step(name="sender", makes=what, look=look, make=make),
        assigned(arm, "role sender", "it may tell the rule of attempts", rule(group), PUBLISHER, principal),
    ]


def setting(arm: Arm, group: Group) -> str:
    """What the stage's `azureMonitoring` is set to: `TENANT CLIENT URL`. Empty while nobody may send."""
    takes = arm.find(rule(group), RULES)
    if takes is None:
        return ""
    told = takes["properties"]
    if group.stage == "local":  # where nobody is asked who he is
        return f"{arm.endpoint}/dataCollectionRules/{told['immutableId']}/streams/{STREAM}"
    sends = arm.find(identity(group), IDENTITIES)
    if sends is None:
        return ""
    of = sends["properties"]
    url = f"{told['endpoints']['logsIngestion']}/dataCollectionRules/{told['immutableId']}/streams/{STREAM}"
    return f"{of['tenantId']} {of['clientId']} {url}"


def leftovers(arm: Arm, group: Group) -> list[Step]:
    """What carries monitoring's tags, and the table, which has none and is in this stage's workspace."""
    table = f"{workspace(group)}/tables/{TABLE}"

    def look() -> Look:
        owner = arm.find(workspace(group), WORKSPACES)
        is_there = owner is not None and arm.find(table, WORKSPACES) is not None
        if not is_there:
            return ABSENT
        ours = is_ours((owner or {}).get("tags"), group.tags())
        return AS_WANTED if ours else not_ours("its workspace is not tagged as this stage's")

    def undo(say: Say) -> None:
        try:
            arm.call("DELETE", table, WORKSPACES)
        except Absent:
            return

    def never(say: Say) -> None:
        raise AssertionError("what is removed is not made")

    last = Step(name=f"table {TABLE}", makes="with its rows", look=look, make=never, undo=undo)
    return [last, *removal.of_deployment(arm, group, DEPLOYMENT)]
