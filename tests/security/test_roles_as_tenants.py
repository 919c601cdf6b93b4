"""Where roles are tenants: whom a verified signature makes a tenant, and what that one may see."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fiso.console_settings import ConsoleSettings
from fiso.domain.access import IamTenant, Scope
from fiso.domain.errors import NotAuthenticated
from fiso.services.identity.access import signed_role
from fiso.settings import AccessSettings, BadSetting
from fiso.testing.rig import SETTINGS, Rig, http_event
from functions.console import app, handler
from functions.console.wiring import entrance_of
from tests.builders import NOW
from tests.edge import BY_SIGNATURE, handed_on
from tests.functional.console_world import busy_world

ARABIC = "\u0661" * 12
ACCOUNT = "111122223333"
STS, IAM = f"arn:aws:sts::{ACCOUNT}:", f"arn:aws:iam::{ACCOUNT}:"
BY_ROLE = replace(BY_SIGNATURE, iam_tenant=IamTenant.ROLE, iam_admins=frozenset({"Operators"}))
SSO = "AWSReservedSSO_Dev_0123456789abcdef"


def verified(arn: object, account: object = ACCOUNT) -> dict[str, object]:
    return {"accountId": account, "userArn": arn, "callerId": "AROA:x", "cognitoIdentity": None}


@pytest.mark.parametrize(
    ("arn", "tenant"),
    [
        (f"{STS}assumed-role/orders/i-0123", "orders"),
        (f"{STS}assumed-role/orders/billing", "orders"),
        (f"{STS}assumed-role/{SSO}/ada@example.com", SSO),
        (f"{STS}assumed-role/{'r' * 64}/{'s' * 64}", "r" * 64),
        (f"{STS}assumed-role/user/ada", "user"),
        (f"{STS}assumed-role/a+=,.@-_b/se", "a+=,.@-_b"),
        (f"arn:aws-us-gov:sts::{ACCOUNT}:assumed-role/orders/s1", "orders"),
        (f"{IAM}user/ada", "user/ada"),
        (f"{IAM}user/team/of/two/ada", "user/ada"),
        (f"{IAM}user/orders", "user/orders"),
    ],
)
def test_a_tenant_is_the_role_whatever_its_session_or_the_user_whatever_its_path(arn: str, tenant: str) -> None:
    caller = signed_role(verified(arn))
    assert (str(caller.tenant), caller.subject) == (tenant, arn)
    assert set(caller.scopes) == {Scope.INVOKE, Scope.READ}


NOBODY = {
    "root": verified(f"{IAM}root"),
    "a federated user": verified(f"{STS}federated-user/orders"),
    "an account by itself": verified(ACCOUNT),
    "a role that nobody assumed": verified(f"{IAM}role/orders"),
    "a group": verified(f"{IAM}group/orders"),
    "another account's role": verified("arn:aws:sts::999988887777:assumed-role/orders/s1"),
    "another account's user": verified("arn:aws:iam::999988887777:user/ada"),
    "another account beside it": verified(f"{STS}assumed-role/orders/s1", "999988887777"),
    "no account": verified(f"{STS}assumed-role/orders/s1", None),
    "another cloud": verified(f"arn:azure:sts::{ACCOUNT}:assumed-role/orders/s1"),
    "a partition of hyphens": verified(f"arn:aws--:sts::{ACCOUNT}:assumed-role/orders/s1"),
    "no session": verified(f"{STS}assumed-role/orders"),
    "an empty session": verified(f"{STS}assumed-role/orders/"),
    "an empty role": verified(f"{STS}assumed-role//s1"),
    "a path": verified(f"{STS}assumed-role/team/orders/s1"),
    "another service": verified(f"{IAM}assumed-role/orders/s1"),
    "a user of sts": verified(f"{STS}user/ada"),
    "a user without a name": verified(f"{IAM}user/team/"),
    "a region": verified(f"arn:aws:sts:us-east-1:{ACCOUNT}:assumed-role/orders/s1"),
    "upper case": verified(f"ARN:AWS:STS::{ACCOUNT}:assumed-role/orders/s1"),
    "a letter that looks like one": verified(f"{STS}assumed-role/\u043erders/s1"),
    "a letter in the session": verified(f"{STS}assumed-role/orders/sé"),
    "digits that are none": verified(f"arn:aws:sts::{ARABIC}:assumed-role/orders/s1", ARABIC),
    "a line's end": verified(f"{STS}assumed-role/orders/s1\n"),
    "a blank": verified(f"{STS}assumed-role/or ders/s1"),
    "a long role": verified(f"{STS}assumed-role/{'r' * 65}/s1"),
    "a long session": verified(f"{STS}assumed-role/orders/{'s' * 65}"),
    "a long path": verified(f"{IAM}user/{'p' * 511}/ada"),
    "very long": verified(f"{STS}assumed-role/{'r' * 1_000_000}/s1"),
    "a list": verified([f"{STS}assumed-role/orders/s1"]),
    "nothing": None,
    "text": "orders",
}


@pytest.mark.parametrize("iam", NOBODY.values(), ids=NOBODY)
def test_what_is_no_role_or_user_of_the_account_is_nobody(iam: object) -> None:
    with pytest.raises(NotAuthenticated):
        signed_role(iam)
    rig = Rig(settings=replace(SETTINGS, access=BY_ROLE))
    assert rig.send(called(iam))["statusCode"] == 401
    assert rig.calls == []


def called(iam: object, method: str = "POST", path: str = "/v1/invoke/word-count") -> dict[str, Any]:
    event = handed_on(http_event(method, path))
    return {**event, "requestContext": {**event["requestContext"], "authorizer": {"iam": iam}}}


def test_one_role_sees_nothing_of_another_and_sessions_of_one_share() -> None:
    rig = Rig(settings=replace(SETTINGS, access=BY_ROLE))
    id = rig.send(called(verified(f"{STS}assumed-role/orders/s1")))["headers"]["x-fiso-invocation-id"]
    assert rig.only_record.request.tenant == "orders"
    asked = {
        who: rig.send(called(verified(STS + f"assumed-role/{who}"), "GET", f"/v1/invocations/{id}"))["statusCode"]
        for who in ("orders/s2", "billing/orders", "billing/s1")
    }
    assert asked == {"orders/s2": 200, "billing/orders": 404, "billing/s1": 404}


def test_who_may_see_everybodys_is_named_by_the_stage() -> None:
    for name, is_admin in (("Operators", True), ("operators", False), ("orders", False)):
        caller = signed_role(verified(f"{STS}assumed-role/{name}/Operators"), admins=BY_ROLE.iam_admins)
        assert caller.may(Scope.ADMIN) is is_admin


def test_of_the_roles_that_the_stage_names_each_session_is_a_tenant_and_of_no_other() -> None:
    by_session = replace(BY_ROLE, iam_session_roles=frozenset({"callers"}), iam_admins=frozenset({"callers/ops"}))
    rig = Rig(settings=replace(SETTINGS, access=by_session))
    for session in ("callers/acme", "orders/acme", "callers2/acme", "Callers/acme", "acme/callers"):
        assert rig.send(called(verified(f"{STS}assumed-role/{session}")))["statusCode"] == 200
    told = [record.request.tenant for record in rig.records]
    assert sorted(told) == ["Callers", "acme", "callers/acme", "callers2", "orders"]
    for arn, is_admin in (("assumed-role/callers/ops", True), ("assumed-role/callers/ops2", False)):
        claims = signed_role(verified(STS + arn), admins=by_session.iam_admins, by_session=by_session.iam_session_roles)
        assert claims.may(Scope.ADMIN) is is_admin
    assert signed_role(verified(f"{IAM}user/callers"), by_session=frozenset({"callers"})).tenant == "user/callers"


def test_in_the_console_a_role_sees_its_own_and_an_operator_all() -> None:
    settings = ConsoleSettings(stage="prod", log_table="l", state_table="s", bucket="b", access=BY_ROLE)
    entrance = entrance_of(settings, lambda: NOW, ssm=lambda: None)
    console = app.create(busy_world(3).sources, stage="prod", entrance=entrance)
    shown = {}
    for role in ("Operators", "orders"):
        event = called(verified(f"{STS}assumed-role/{role}/s1"), "GET", "/api/invocations")
        answer = handler.answer_event(console, event, None)
        shown[role] = (answer["statusCode"], len(json.loads(answer["body"])["invocations"]))
    assert shown["Operators"][1] >= 3
    assert shown["orders"] == (200, 0)


@pytest.mark.parametrize(
    ("text", "found"),
    [("", IamTenant.ACCOUNT), (" ", IamTenant.ACCOUNT), ("account", IamTenant.ACCOUNT), ("role", IamTenant.ROLE)],
)
def test_the_tenant_is_the_account_unless_the_stage_says_otherwise(text: str, found: IamTenant) -> None:
    environ = {
        "FISO_STAGE": "prod",
        "FISO_GATEWAY_HASHES": "a",
        "FISO_IAM_TENANT": text,
        "FISO_IAM_ADMINS": " a user/b ",
    }
    settings = AccessSettings.from_environ(environ)
    assert (settings.iam_tenant, settings.iam_admins) == (found, frozenset({"a", "user/b"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"FISO_IAM_TENANT": "session"},
        {"FISO_IAM_TENANT": "Role"},
        {"FISO_URL_ACCOUNT": ACCOUNT},
        {"FISO_IAM_SESSION_ROLES": "user"},
        {"FISO_IAM_SESSION_ROLES": "callers a/b"},
        {"FISO_IAM_SESSION_ROLES": "callers", "FISO_IAM_TENANT": "account"},
    ],
    ids=str,
)
def test_a_stage_that_could_not_tell_its_tenants_apart_does_not_start(changes: dict[str, str]) -> None:
    environ = {"FISO_STAGE": "prod", "FISO_GATEWAY_HASHES": "a", "FISO_IAM_TENANT": "role", **changes}
    with pytest.raises(BadSetting, match="FISO_IAM_"):
        AccessSettings.from_environ(environ)
