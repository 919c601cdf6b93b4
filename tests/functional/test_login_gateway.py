"""The console behind API Gateway on a stage on AWS: cookies in payload 2.0 over https, and the gateway's own word."""

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import pytest

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.access import AuthMode
from fiso.services.identity.access import Access
from fiso.testing.clock import ManualClock
from functions.console import app, handler
from functions.console.access import Entrance
from tests import tokens
from tests.edge import BY_SIGNATURE, handed_on
from tests.functional.console_browser import Answer, Browser
from tests.functional.console_world import busy_world
from tests.functional.login_world import LoginWorld
from tests.security.attacks import CURVE, GENUINE, RSA, forged_tokens
from tests.tokens import FixedKeys

WORLD = busy_world(5)
CONSOLE = "https://fiso.example/console"
HEADERS = {"host": "fiso.example"}


def the_console(world: LoginWorld) -> Browser:
    """On a stage in the cloud, with the login; its issuer is the local one all the same."""
    return Browser(app=world.app(stage="prod", console_url=CONSOLE), gateway="aws")


def log_in(world: LoginWorld, browser: Browser, **fields: Any) -> Answer:
    """The callback's answer; `fields` are shown instead of the cookie."""
    begun = browser.get("/console/login", headers=HEADERS)
    (attempt,) = begun.cookies
    callback = urlsplit(world.agreed(begun.headers["location"]))
    shown = fields or {"cookies": [attempt.partition(";")[0]]}
    return browser.get("/console/callback", callback.query, headers=HEADERS, **shown)


def test_over_https_browsers_are_made_to_insist_on_this_host(world: LoginWorld) -> None:
    answer = log_in(world, the_console(world))
    assert (answer.status, answer.headers["location"]) == (302, CONSOLE)
    (text,) = answer.cookies
    ((name, cookie),) = SimpleCookie(text).items()
    assert name == "__Host-fiso-session"
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
    assert cookie["domain"] == ""


def test_only_a_cookie_with_the_prefix_counts_also_where_the_emulator_leaves_it_in_a_header(world: LoginWorld) -> None:
    browser = the_console(world)
    pair = log_in(world, browser).cookies[0].partition(";")[0]
    assert browser.get("/console", headers=HEADERS, cookies=[pair]).status == 200
    assert browser.get("/console", headers=HEADERS, cookies=[pair.removeprefix("__Host-")]).status == 302
    assert browser.get("/console", headers=HEADERS | {"Cookie": pair}).status == 200
    assert log_in(world, browser, cookies=[]).status == 401


def signed_console() -> Browser:
    """On a stage whose gateway verifies IAM's signatures."""
    entrance = Entrance(access=Access(mode=AuthMode.IAM, gateway_hashes=BY_SIGNATURE.gateway_hashes))
    return Browser(app=app.create(WORLD.sources, stage="prod", entrance=entrance), gateway="aws")


SIGNED = {"iam": {"accountId": "111122223333", "userArn": "arn:aws:iam::111122223333:user/ada"}}


def behind(authorizer: dict[str, Any] | None) -> dict[str, Any]:
    http = {"method": "GET", "path": "/console", "sourceIp": "192.0.2.1"}
    return {"requestContext": {"http": http} | ({} if authorizer is None else {"authorizer": authorizer})}


@pytest.mark.parametrize(("authorizer", "status"), [(SIGNED, 200), ({}, 401), (None, 401), ({"iam": {}}, 401)])
@pytest.mark.parametrize("path", ["/console", "/api/invocations", "/console/static/console.css"])
def test_on_a_stage_for_signatures_the_console_asks_for_the_gateways_word(
    authorizer: dict[str, Any] | None, status: int, path: str
) -> None:
    event = behind(authorizer)
    answer = raw(signed_console(), event | {"rawPath": path})
    assert answer["statusCode"] == status


def raw(browser: Browser, event: dict[str, Any]) -> dict[str, Any]:
    whole = {"version": "2.0", "rawQueryString": "", "headers": {"host": "fiso.example"}, "isBase64Encoded": False}
    return handler.answer_event(browser.app, handed_on(whole) | event, None)


FORGED = forged_tokens()


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_shows_nothing_of_the_console(name: str) -> None:
    keys = FixedKeys.of(RSA, CURVE)
    verifier = JwtVerifier(keys, issuer=tokens.ISSUER, audiences=[tokens.AUDIENCE], clock=ManualClock())
    entrance = Entrance(access=Access(mode=AuthMode.JWT, verifier=lambda: verifier))
    browser = Browser(app=app.create(WORLD.sources, stage="prod", entrance=entrance), gateway="aws")
    genuine = browser.get("/api/invocations", headers={"authorization": f"Bearer {RSA.sign(GENUINE)}"})
    assert genuine.status == 200
    answers = [
        browser.get(path, headers={"authorization": FORGED[name]})
        for path in ("/console", "/api/invocations", "/api/nowhere", "/console/static/console.css")
    ]
    assert [answer.status for answer in answers] == [401] * 4
    assert answers[1].body == answers[2].body
