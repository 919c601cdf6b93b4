"""The console behind API Gateway on a stage on AWS: cookies in payload 2.0 over https, and the gateway's own word."""

from http.cookies import SimpleCookie
from typing import Any

import pytest

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.access import AuthMode
from fiso.services.identity.access import Access
from fiso.services.identity.login import Begun
from fiso.testing.clock import ManualClock
from functions.console import app, handler
from functions.console.access import Entrance
from tests import tokens
from tests.functional.console_browser import Answer, Browser
from tests.functional.login_flow import CONSOLE, WORLD, Flow, the_console
from tests.security.attacks import CURVE, GENUINE, RSA, forged_tokens
from tests.tokens import FixedKeys


def log_in(browser: Browser, flow: Flow, **fields: Any) -> Answer:
    begun = browser.get("/console/login", headers={"host": "fiso.example"})
    (attempt,) = begun.cookies
    callback = flow.callback(Begun(address=begun.headers["location"], sealed_attempt=""))
    shown = fields or {"cookies": [attempt.partition(";")[0]]}
    return browser.get(
        "/console/callback", f"state={callback.state}&code=good", **{"headers": {"host": "fiso.example"}} | shown
    )


def test_over_https_browsers_are_made_to_insist_on_this_host() -> None:
    flow = Flow()
    answer = log_in(the_console(flow), flow)
    assert (answer.status, answer.headers["location"]) == (302, CONSOLE)
    cookies = SimpleCookie()
    for text in answer.cookies:
        cookies.load(text)
    assert set(cookies) == {"__Host-fiso-session", "__Host-fiso-login"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
        assert cookie["domain"] == ""
    assert cookies["__Host-fiso-login"].value == ""
    assert len(cookies["__Host-fiso-session"].OutputString()) < 4096


def test_a_cookie_without_the_prefix_is_none() -> None:
    flow = Flow()
    browser = the_console(flow)
    session = next(text for text in log_in(browser, flow).cookies if text.startswith("__Host-fiso-session="))
    pair = session.partition(";")[0]
    headers = {"host": "fiso.example"}
    assert browser.get("/console", headers=headers, cookies=[pair]).status == 200
    assert browser.get("/console", headers=headers, cookies=[pair.removeprefix("__Host-")]).status == 302


def test_cookies_that_the_emulator_leaves_in_a_header_are_seen() -> None:
    flow = Flow()
    browser = the_console(flow)
    session = next(text for text in log_in(browser, flow).cookies if text.startswith("__Host-fiso-session="))
    answer = browser.get("/console", headers={"host": "fiso.example", "Cookie": session.partition(";")[0]})
    assert answer.status == 200


def test_a_callback_without_its_cookie_is_refused() -> None:
    flow = Flow()
    assert log_in(the_console(flow), flow, cookies=[]).status == 401


def signed_console() -> Browser:
    """On a stage whose gateway verifies IAM's signatures."""
    entrance = Entrance(access=Access(mode=AuthMode.IAM))
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
    return handler.answer_event(browser.app, whole | event, None)


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
