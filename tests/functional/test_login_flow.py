"""The login's steps with an issuer that can be told to lie, and the console behind API Gateway on a stage on AWS."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.fernet import Fernet

from fiso.adapters.jwt_tokens import JwtVerifier
from fiso.adapters.sealing import FernetSeal
from fiso.domain.access import AuthMode
from fiso.domain.errors import LoginRefused, NotAllowed, StoreUnavailable
from fiso.ports import LoginTokens
from fiso.services.access import Access
from fiso.services.login import Begun, Callback, Client, Login, Verifiers, code_challenge
from fiso_cli.chaos.access import tokens
from fiso_cli.chaos.access.tokens import FixedKeys, Signer
from functions.console import app
from functions.console.access import Entrance
from functions.console.login import BrowserLogin
from tests.builders import NOW, ManualClock
from tests.functional.console_browser import Answer, Browser
from tests.functional.console_world import busy_world

CONSOLE = "https://fiso.example/console"
CLIENT = Client(id="console", redirect_uri=f"{CONSOLE}/callback", scope="openid fiso:read")
GENUINE, STRANGER = Signer.curve("k1"), Signer.curve("k1")
WORLD = busy_world(5)


@dataclass(kw_only=True)
class ScriptedIssuer:
    """An issuer whose tokens say what a test wants. It redeems a code for whoever shows the challenge's verifier."""

    name: str = tokens.ISSUER
    challenge: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    access: dict[str, Any] = field(default_factory=dict)
    signer: Signer = GENUINE
    is_swapped: bool = False

    def authorization_address(self) -> str:
        """With a query of its own, which must survive."""
        return f"{self.name}/authorize?tenant=t1"

    def redeem(self, code: str, *, code_verifier: str) -> LoginTokens:
        """As told."""
        if code != "good" or code_challenge(code_verifier) != self.challenge:
            raise LoginRefused("invalid_grant")
        identity = self.signer.sign(tokens.payload(NOW, aud="console", scope=None, **self.identity))
        access = GENUINE.sign(tokens.payload(NOW, **self.access))
        pair = (access, identity) if self.is_swapped else (identity, access)
        return LoginTokens(identity_token=pair[0], access_token=pair[1])


class Flow:
    """A login and its issuer, on a clock that tests move."""

    def __init__(self, keys: Sequence[str] | None = None) -> None:
        self.clock, self.issuer = ManualClock(), ScriptedIssuer()
        words = [Fernet.generate_key().decode()] if keys is None else keys
        self.login = Login(
            client=CLIENT,
            issuer=self.issuer,
            verifiers=Verifiers(identity=lambda: self.verifier("console"), access=lambda: self.verifier("fiso")),
            seal=FernetSeal(lambda: words, clock=self.clock),
            clock=self.clock,
        )

    def verifier(self, audience: str) -> JwtVerifier:
        """For the tokens of one audience."""
        keys = FixedKeys.of(GENUINE)
        return JwtVerifier(keys, issuer=tokens.ISSUER, audiences=[audience], clock=self.clock)

    def callback(self, begun: Begun, **changes: str | None) -> Callback:
        """The issuer's genuine answer to what was begun, but for the changes."""
        asked = parse_qs(urlsplit(begun.address).query)
        self.issuer.challenge = asked["code_challenge"][0]
        self.issuer.identity = {"nonce": asked["nonce"][0]} | self.issuer.identity
        fields: dict[str, Any] = {
            "state": asked["state"][0],
            "code": "good",
            "error": None,
            "issuer": None,
            "sealed_attempt": begun.sealed_attempt,
        }
        return Callback(**(fields | changes))

    def reason(self, **changes: str | None) -> str:
        """Why a login is refused."""
        with pytest.raises(LoginRefused) as caught:
            self.login.finish(self.callback(self.login.begin(None), **changes))
        return caught.value.reason


def test_a_login_that_is_right_in_everything_gives_a_session_for_an_hour() -> None:
    flow = Flow()
    finished = flow.login.finish(flow.callback(flow.login.begin("/console/models")))
    assert finished.return_to == "/console/models"
    session = flow.login.session(finished.sealed_session)
    assert session == finished.session
    assert (session.subject, session.tenant) == ("alice", "alice")
    assert session.scopes == {"fiso:invoke", "fiso:read", "fiso:admin"}
    flow.clock.advance(3_599)
    assert flow.login.session(finished.sealed_session) is not None
    flow.clock.advance(1)
    assert flow.login.session(finished.sealed_session) is None


def test_the_issuers_own_query_survives() -> None:
    assert parse_qs(urlsplit(Flow().login.begin(None).address).query)["tenant"] == ["t1"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": None}, "another attempt"),
        ({"state": "é"}, "another attempt"),
        ({"code": None}, "no code"),
        ({"code": "x" * 3000}, "no code"),
        ({"code": "stolen"}, "invalid_grant"),
        ({"error": "access_denied"}, "access_denied"),
        ({"issuer": "https://other.example"}, "another issuer's"),
        ({"sealed_attempt": None}, "began no login"),
        ({"sealed_attempt": "x"}, "began no login"),
    ],
)
def test_an_answer_that_is_wrong_in_one_thing_is_refused(changes: dict[str, str | None], reason: str) -> None:
    assert reason in Flow().reason(**changes)


@pytest.mark.parametrize(
    "identity",
    [
        {"nonce": "n" * 43},
        {"nonce": None},
        {"nonce": 7},
        {"nonce": "\ud800"},
        {"azp": "another-client"},
        {"exp": int(NOW.timestamp()) - 61},
        {"iss": "https://other.example"},
        {"sub": None},
    ],
)
def test_an_identity_token_that_is_not_for_this_login_is_refused(identity: dict[str, Any]) -> None:
    flow = Flow()
    flow.issuer.identity = identity
    assert flow.reason()


def test_tokens_that_another_key_signed_are_refused() -> None:
    flow = Flow()
    flow.issuer.signer = STRANGER
    assert "identity token" in flow.reason()


def test_an_access_token_does_not_pass_as_an_identity_token_nor_the_other_way_round() -> None:
    flow = Flow()
    flow.issuer.is_swapped = True
    assert "identity token" in flow.reason()


def test_an_access_token_for_another_api_is_refused() -> None:
    flow = Flow()
    flow.issuer.access = {"aud": "another-api"}
    assert "access token" in flow.reason()


def test_who_may_not_read_gets_no_session() -> None:
    flow = Flow()
    flow.issuer.access = {"scope": "fiso:invoke openid"}
    with pytest.raises(NotAllowed):
        flow.login.finish(flow.callback(flow.login.begin(None)))


def test_an_attempt_is_no_session_and_a_session_is_no_attempt() -> None:
    flow = Flow()
    begun = flow.login.begin(None)
    assert flow.login.session(begun.sealed_attempt) is None
    session = flow.login.finish(flow.callback(begun)).sealed_session
    assert "began no login" in flow.reason(sealed_attempt=session)


@pytest.mark.parametrize("keys", [[], ["short"]])
def test_without_usable_keys_nobody_logs_in_and_nobody_is_logged_in(keys: list[str]) -> None:
    flow = Flow(keys)
    with pytest.raises(StoreUnavailable):
        flow.login.begin(None)
    with pytest.raises(StoreUnavailable):
        flow.login.session("x")


def the_console(flow: Flow) -> Browser:
    """On a stage in the cloud, with the login."""
    access = Access(mode=AuthMode.JWT, verifier=lambda: flow.verifier("fiso"))
    entrance = Entrance(access=access, login=BrowserLogin(login=flow.login, console_url=CONSOLE))
    created = app.create(WORLD.sources, stage="prod", entrance=entrance, console_url=CONSOLE)
    return Browser(app=created, gateway="aws")


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
    from functions.console import handler

    whole = {"version": "2.0", "rawQueryString": "", "headers": {"host": "fiso.example"}, "isBase64Encoded": False}
    return handler.answer_event(browser.app, whole | event, None)


def test_a_long_name_and_many_scopes_still_fit_a_cookie() -> None:
    flow = Flow()
    flow.issuer.identity = {"name": "é" * 500}
    flow.issuer.access = {"scope": " ".join(["fiso:read", *(f"other:{n}" for n in range(300))])}
    finished = flow.login.finish(flow.callback(flow.login.begin(None)))
    assert len(finished.sealed_session) < 3_000
    assert flow.login.session(finished.sealed_session) == finished.session


@pytest.mark.parametrize(
    ("name", "shown"), [("Ada\r\n\x1b[1m", "Ada[1m"), ("\ud800", "alice"), ("", "alice"), (7, "7"), ("<b>", "<b>")]
)
def test_what_an_issuer_calls_a_person_can_be_shown(name: object, shown: str) -> None:
    flow = Flow()
    flow.issuer.identity = {"name": name}
    finished = flow.login.finish(flow.callback(flow.login.begin(None)))
    assert finished.session.name == shown
    cookies = [f"__Host-fiso-session={finished.sealed_session}"]
    page = the_console(flow).get("/console", headers={"host": "fiso.example"}, cookies=cookies)
    assert page.status == 200
    assert "<b>" not in page.body


def test_an_attempt_ends_after_ten_minutes() -> None:
    flow = Flow()
    begun = flow.login.begin(None)
    flow.clock.now += timedelta(seconds=600)
    with pytest.raises(LoginRefused, match="begin again"):
        flow.login.finish(flow.callback(begun))
