"""Checks by IAM's own simulation: whether roles may what their template says (an organisation's policy or a hand may
have taken it), and whether who asks may deploy."""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, is_missing, listed, redeploy
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import project_file

Statement: TypeAlias = Mapping[str, Any]
DEPLOYER_POLICY = "scripts/serverless/deployer-policy.json"
AT_ONCE = 8


def roles(site: Site) -> Iterator[Finding]:
    """Each role of the stage: every permission that it was deployed with, on what it is for."""
    seen = 0
    for resource in site.deployed.of_kind("AWS::IAM::Role"):
        arn = site.deployed.arn(resource.logical)
        statements = [
            statement
            for policy in resource.properties.get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        try:
            refused = refusals(site, str(arn), statements)
        except ClientError as error:
            if not is_missing(error):
                raise
            yield wrong(f"role {resource.name} is gone", why="its function cannot start", fix=redeploy(site))
            continue
        seen += 1
        if refused:
            by_others = any("organisation" in each for each in refused)
            yield wrong(
                f"{resource.name} may not {listed(refused)}",
                why="its function fails there",
                fix="ask whoever keeps the organisation's policies" if by_others else f"{redeploy(site)} --force",
            )
    if seen:
        yield ok(f"{seen} roles were simulated")


def deployer(site: Site) -> Iterator[Finding]:
    """Whether who asks may do what deployments and the commands need."""
    caller = str(site.caller)
    if caller.endswith(":root"):
        yield warning(
            "you are the account's root user",
            why="nothing holds it back, and nothing tells who it was",
            fix=f"use a role with {DEPLOYER_POLICY}",
        )
        return
    _, partition, _, _, account, who = caller.split(":", 5)
    if who.startswith("assumed-role/"):
        name = who.split("/")[1]
        try:
            caller = site.client("iam").get_role(RoleName=name)["Role"]["Arn"]
        except ClientError:
            caller = f"arn:{partition}:iam::{account}:role/{name}"
    try:
        policy = project_file(DEPLOYER_POLICY).read_text()
    except CommandError:
        yield unknown("what a deployer needs is in the checkout only")
        return
    # IAM simulates no account and no stage that is called *.
    for pattern, one in (
        ("arn:aws:", f"arn:{partition}:"),
        ("::*:", f"::{account}:"),
        (":*::", f":{site.stage.region}::"),
        (":*:*:", f":{site.stage.region}:{account}:"),
        ("fiso-*", f"fiso-{site.name}-x"),
    ):
        policy = policy.replace(pattern, one)
    if refused := refusals(site, caller, json.loads(policy)["Statement"]):
        yield wrong(
            f"you may not {listed(refused)}",
            why="a deployment would stop half-way",
            fix=f"attach {DEPLOYER_POLICY} to {caller}",
        )
    else:
        yield ok(f"{caller.rpartition('/')[2]} may deploy")


def refusals(site: Site, principal: str, statements: Iterable[Statement]) -> list[str]:
    """The actions that a principal may not, each with its resource. Statements that deny, or whose resources are not
    told here, are passed over; `Tags` of a statement are those of its resource."""

    def of(statement: Statement) -> list[str]:
        return list(_refused(site, principal, statement))

    asked = [each for each in statements if each.get("Effect", "Allow") == "Allow"]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return sorted({each for found in pool.map(of, asked) for each in found})


def _refused(site: Site, principal: str, statement: Statement) -> Iterator[str]:
    actions = [each for each in _several(statement["Action"]) if "*" not in each]
    resources = [_example(each) for each in _several(statement["Resource"]) if isinstance(each, str)]
    if not actions or not resources:
        return
    pages = (
        site.client("iam")
        .get_paginator("simulate_principal_policy")
        .paginate(
            PolicySourceArn=principal,
            ActionNames=actions,
            ResourceArns=resources,
            ContextEntries=_context(statement),
        )
    )
    for result in (each for page in pages for each in page["EvaluationResults"]):
        if result["EvalDecision"] == "allowed":
            continue
        at = result.get("EvalResourceName", "*").rpartition(":")[2]
        outside = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False
        yield f"{result['EvalActionName']} on {at}" + (" (by the organisation's policy)" if outside else "")


def _several(element: Any) -> list[Any]:
    return list(element) if isinstance(element, list) else [element]


def _example(pattern: str) -> str:
    """One resource that a pattern is for."""
    return pattern if pattern == "*" else pattern.replace("*", "x").replace("?", "x")


def _context(statement: Statement) -> list[dict[str, Any]]:
    """Values under which the statement's conditions hold."""
    found: dict[str, str] = {f"aws:ResourceTag/{name}": value for name, value in statement.get("Tags", {}).items()}
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            if not operator.endswith("Null"):
                found[key] = "doctor" if "Not" in operator else _example(str(_several(wanted)[0]))
    return [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "stringList"}
        for key, value in found.items()
    ]
