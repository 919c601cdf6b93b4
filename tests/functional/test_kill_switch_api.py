"""The kill switch behind the API: who may order what, and that the keeper's answer is the caller's."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from fiso.codecs.record import instant
from fiso.domain.access import AuthMode, IamTenant
from fiso.domain.errors import StoreUnavailable
from fiso.domain.policy import Mode
from fiso.services.identity.access import Access
from fiso.services.maintenance.switch import ORDERS, ModeOrder
from functions.console import app, handler
from functions.console.access import Entrance
from functions.keeper.handler import switched
from tests.edge import BY_SIGNATURE, handed_on
from tests.functional.console_browser import Browser
from tests.functional.console_world import START, World, catalog
from tests.functional.login_world import LoginWorld
from tests.functional.test_keep import World as KeeperWorld
from tests.functional.test_login_gateway import CONSOLE, HEADERS

PIN, ACCOUNT = "/api/policies/graph-bfs/pin", "111122223333"
ADA = f"arn:aws:iam::{ACCOUNT}:user/ada"
OPERATOR = f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators/ada"
TO_AZURE = {"endpoint": "azure-eus"}


class Stage:
    """A console and its keeper, which hear of each other by JSON alone, over one published catalog."""

    def __init__(self, *, is_asked: bool = True, tenant: IamTenant = IamTenant.ACCOUNT) -> None:
        self.world, self.keeper = World(), KeeperWorld()
        self.keeper.snapshots.publish(catalog())
        access = Access(
            mode=AuthMode.IAM,
            gateway_hashes=BY_SIGNATURE.gateway_hashes,
            iam_tenant=tenant,
            iam_admins=frozenset({"Operators"}),
        )
        sources = replace(self.world.sources, order=self.order, snapshots=self.keeper.snapshots)
        self.app = app.create(sources, stage="prod", entrance=Entrance(access=access) if is_asked else None)

    def order(self, wanted: ModeOrder) -> Mapping[str, object]:
        sent = json.loads(json.dumps(ORDERS.to_document(wanted)))
        said: Mapping[str, object] = json.loads(json.dumps(switched(self.keeper.keeper, sent)))
        return said

    def ask(self, method: str, body: object = None, *, arn: str = ADA, path: str = PIN) -> tuple[int, dict[str, Any]]:
        http = {"method": method, "path": path, "sourceIp": "192.0.2.1"}
        signed = {"iam": {"accountId": ACCOUNT, "userArn": arn}}
        event = {"version": "2.0", "rawQueryString": "", "headers": {"host": "fiso.example"}, "isBase64Encoded": False}
        event |= {"body": body if isinstance(body, str) else json.dumps(body)} if body is not None else {}
        asked = {"rawPath": path, "requestContext": {"http": http, "authorizer": signed}}
        answer = handler.answer_event(self.app, handed_on(event) | asked, None)
        return answer["statusCode"], json.loads(answer["body"])

    @property
    def mode(self) -> str:
        found = self.keeper.snapshots.current()
        assert found is not None
        return next(entry for name, entry in found.functions.items() if name == "graph-bfs").policy.mode_word


def test_an_admin_pins_and_unpins_and_the_record_says_who() -> None:
    stage = Stage()
    status, said = stage.ask("PUT", {**TO_AZURE, "reason": " gcp is slow ", "for_s": 3600})
    assert (status, said["mode"], said["published_version"], stage.mode) == (200, "pin:azure-eus", 4, "pin:azure-eus")
    snapshot = stage.keeper.snapshots.current()
    assert snapshot is not None
    pin = snapshot.functions[next(iter(snapshot.ahead))].policy.pin
    assert pin is not None
    assert (pin.by, pin.reason, pin.until) == (ADA, "gcp is slow", stage.world.clock() + timedelta(hours=1))
    assert stage.ask("DELETE")[1]["mode"] == stage.mode == "route"


@pytest.mark.parametrize(
    ("tenant", "arn", "status"),
    [
        (IamTenant.ACCOUNT, ADA, 200),
        (IamTenant.ROLE, OPERATOR, 200),
        (IamTenant.ROLE, ADA, 403),
        (IamTenant.ROLE, OPERATOR.replace("Operators", "Readers"), 403),
        (IamTenant.ACCOUNT, "", 401),
    ],
)
def test_on_a_stage_for_signatures_admins_alone_may(tenant: IamTenant, arn: str, status: int) -> None:
    stage = Stage(tenant=tenant)
    assert stage.ask("PUT", TO_AZURE, arn=arn)[0] == status
    assert (stage.mode == "pin:azure-eus") is (status == 200)


def test_where_nobody_is_asked_anybody_may() -> None:
    stage = Stage(is_asked=False)
    assert stage.ask("PUT", TO_AZURE)[0] == 200


@pytest.mark.parametrize(("scope", "status"), [("fiso:admin", 200), ("fiso:read fiso:invoke", 403), ("", 403)])
def test_of_tokens_the_scope_decides_and_a_session_orders_nothing(world: LoginWorld, scope: str, status: int) -> None:
    ordered: list[ModeOrder] = []

    def order(wanted: ModeOrder) -> Mapping[str, object]:
        ordered.append(wanted)
        return {"published_version": 9, "mode": "pin:azure-eus", "until": None}

    world.world.order = order  # the world is made anew for each test
    browser = Browser(
        app=world.app(stage="prod", console_url=CONSOLE, scope=f"openid {scope} fiso:read"), gateway="aws"
    )
    shown = {"authorization": f"Bearer {world.token(scope)}"}
    body = json.dumps(TO_AZURE)
    assert browser.get(PIN, method="PUT", headers=HEADERS | shown, body=body).status == status
    begun = browser.get("/console/login", headers=HEADERS)
    callback = urlsplit(world.agreed(begun.headers["location"]))
    pair = [begun.cookies[0].partition(";")[0]]
    (session,) = browser.get("/console/callback", callback.query, headers=HEADERS, cookies=pair).cookies
    cookies = [session.partition(";")[0]]
    assert browser.get("/console", headers=HEADERS, cookies=cookies).status == 200
    refused = browser.get(PIN, method="PUT", headers=HEADERS, cookies=cookies, body=body)
    assert refused.status == 403
    assert len(ordered) == (status == 200)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        {"endpoint": 3},
        {"endpoint": ""},
        {**TO_AZURE, "extra": 1},
        {**TO_AZURE, "reason": 3},
        {**TO_AZURE, "reason": "two\nlines"},
        {**TO_AZURE, "reason": "x" * 501},
        {**TO_AZURE, "until": "tomorrow"},
        {**TO_AZURE, "until": "2026-11-24T00:00:00"},
        {**TO_AZURE, "until": instant(START - timedelta(seconds=1))},
        {**TO_AZURE, "for_s": -1},
        {**TO_AZURE, "for_s": True},
        {**TO_AZURE, "for_s": 1e300},
        {**TO_AZURE, "for_s": 60, "until": instant(START + timedelta(hours=1))},
        {"endpoint": "nowhere"},
        {"endpoint": "aws-euw1"},
    ],
)
def test_what_is_no_order_is_refused_and_changes_nothing(body: object) -> None:
    stage = Stage()
    status, said = stage.ask("PUT", body)
    assert (status, stage.mode) == (400, "route"), said
    assert said["detail"]


def test_what_is_not_there_or_not_served_is_told() -> None:
    stage = Stage()
    assert stage.ask("PUT", TO_AZURE, path="/api/policies/nobody/pin")[0] == 404
    assert stage.ask("GET")[0] == 405
    assert stage.ask("DELETE", {"mode": "pin"})[0] == 400
    stage.keeper.snapshots.before = lambda operation: _away() if operation == "publish" else None
    assert stage.ask("PUT", TO_AZURE)[0] == 503
    without = app.create(World().sources, stage="local")
    answer = Browser(app=without).get(PIN, method="PUT", body=json.dumps(TO_AZURE))
    assert (answer.status, "deploy the stage again" in answer.body) == (503, True)


def _away() -> None:
    raise StoreUnavailable("throttled")


@pytest.mark.parametrize("sent", [None, {}, {"function": "graph-bfs"}, {"function": 3, "by": "a"}, "x", [1]])
def test_the_keeper_takes_nothing_that_is_no_order(sent: object) -> None:
    assert switched(Stage().keeper.keeper, sent)["status"] == 400


def test_an_order_says_the_same_when_it_is_read_back() -> None:
    order = ModeOrder(function=next(iter(catalog().functions)), by="ada", mode=Mode.OBSERVE, until=START)
    assert ORDERS.from_document(ModeOrder, ORDERS.to_document(order)) == order
