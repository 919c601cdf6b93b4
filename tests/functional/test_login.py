"""The console's login over genuine HTTP: what a right one gives, and how each wrong answer of an issuer ends."""

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from flask import Response

from localcloud.issuer.tokens import Signer
from tests.functional.login_world import SESSION, LoginBrowser, LoginWorld, changed, fields_of, is_logged_out


def test_a_person_logs_in_at_the_issuer_and_sees_the_page_that_was_asked_for(world: LoginWorld) -> None:
    browser = world.browser()
    answer = browser.log_in("/console/invocations?provider=aws", name="ada lovelace")
    assert (answer.status_code, answer.headers["location"]) == (
        302,
        f"{world.console_url}/invocations?provider=aws",
    )
    page = browser.get(answer.headers["location"])
    assert page.status_code == 200
    assert "ada lovelace" in page.text
    assert "Log out" in page.text


@pytest.mark.parametrize("path", ["/console", "/console/endpoints", "/console/invocations", "/console/models"])
def test_no_page_is_shown_without_a_session(world: LoginWorld, path: str) -> None:
    assert is_logged_out(world.browser().get(path), world)


@pytest.mark.parametrize("path", ["/api/invocations", "/api/endpoints", "/api/nowhere", "/nowhere"])
def test_a_program_is_told_401_and_led_nowhere(world: LoginWorld, path: str) -> None:
    answer = world.browser().get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="fiso"'
    assert "location" not in answer.headers


def test_a_scripts_own_request_is_told_401_because_it_could_not_follow(world: LoginWorld) -> None:
    assert world.browser().get("/console", sec_fetch_mode="cors").status_code == 401


def test_the_request_to_the_issuer_holds_what_the_flow_rests_on(world: LoginWorld) -> None:
    first, second = (fields_of(world.browser().to_issuer()) for _ in range(2))
    assert (first["response_type"], first["code_challenge_method"]) == ("code", "S256")
    assert first["redirect_uri"] == f"{world.console_url}/callback"
    assert first["scope"] == "openid profile fiso:read"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 20  # of 62 letters, so 119 bits
        assert first[name] != second[name]


def test_cookies_are_out_of_scripts_reach_and_do_not_come_along_from_other_sites(world: LoginWorld) -> None:
    browser = world.browser()
    for answer in (browser.get("/console/login"), browser.log_in()):
        (text,) = answer.headers.get_list("set-cookie")
        cookie = SimpleCookie(text)[SESSION]
        assert cookie["httponly"] is True
        assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")


def test_a_session_holds_no_secret(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in()
    held = read_cookie(world, browser)
    assert set(held) == {"_permanent", "person"}
    assert set(held["person"]) == {"subject", "name", "tenant", "scopes", "form_token", "expires_at"}


def read_cookie(world: LoginWorld, browser: LoginBrowser) -> dict[str, Any]:
    client = world.app().test_client()
    client.set_cookie(SESSION, browser.client.cookies[SESSION])
    with client.session_transaction() as held:
        return dict(held)


def refused(answer: httpx.Response) -> bool:
    """Whether a callback was refused without a session and without a reason."""
    is_plain = "the login did not succeed; begin again" in answer.text
    return answer.status_code == 401 and is_plain and SESSION not in answer.cookies


@pytest.mark.parametrize("state", ["x" * 30, "", None, "é"])
def test_another_state_is_refused(world: LoginWorld, state: str | None) -> None:
    browser = world.browser()
    assert refused(browser.get(changed(browser.agree(browser.to_issuer()), state=state)))
    assert is_logged_out(browser.get("/console"), world)


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_a_parameter_that_stands_there_twice_is_refused(world: LoginWorld, name: str) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    assert refused(browser.get(f"{back}&{name}={fields_of(back)[name]}"))


def test_an_answer_without_this_browsers_attempt_is_refused_and_reaches_no_issuer(world: LoginWorld) -> None:
    back = world.browser().agree(world.browser().to_issuer())
    logged_in = world.browser()
    logged_in.log_in()
    world.lies.heard.clear()
    for browser in (world.browser(), logged_in):
        assert browser.get(back).status_code == 401
    assert world.lies.heard == []
    assert logged_in.get("/console").status_code == 200


def test_the_answer_of_somebody_elses_login_is_refused(world: LoginWorld) -> None:
    mallory, victim = world.browser(), world.browser()
    back = mallory.agree(mallory.to_issuer(), name="mallory")
    victim.to_issuer()
    assert refused(victim.get(back))


def test_a_stolen_code_is_of_no_use_in_another_browsers_attempt(world: LoginWorld) -> None:
    victim, mallory = world.browser(), world.browser()
    code = fields_of(victim.agree(victim.to_issuer(), name="victim"))["code"]
    own = mallory.agree(mallory.to_issuer(), name="mallory")
    assert refused(mallory.get(changed(own, code=code)))


def test_a_code_counts_once_even_with_the_attempts_cookie_put_back(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    attempt = browser.client.cookies[SESSION]
    assert browser.get(back).status_code == 302
    assert "attempt" not in read_cookie(world, browser)
    assert refused(world.browser().get(back, cookie=f"{SESSION}={attempt}"))


def test_an_attempt_is_over_after_its_answer_whatever_that_was(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    assert refused(browser.get(changed(back, state="x")))
    assert SESSION not in browser.client.cookies
    assert refused(browser.get(back))


@pytest.mark.parametrize(("later_s", "status"), [(595, 302), (601, 401)])
def test_an_attempt_ends_after_ten_minutes(world: LoginWorld, later_s: float, status: int) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    world.lies.access = {"exp": int(datetime.now(UTC).timestamp()) + 3_600}
    world.clock.later = timedelta(seconds=later_s)
    assert browser.get(back).status_code == status


def test_an_issuer_may_leave_its_name_out_and_give_its_address_a_query(world: LoginWorld) -> None:
    browser = world.browser()
    publish(world, authorization_endpoint=f"{world.issuer_url}/authorize?tenant=t1")
    address = browser.to_issuer()
    assert fields_of(address)["tenant"] == "t1"
    assert browser.get(changed(browser.agree(address), iss=None)).status_code == 302


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://issuer.example"},
        {"iss": ""},
        {"code": None},
        {"code": ""},
        {"code": "x" * 3_000},
        {"error": "<script>alert(1)</script>"},
        {"code": None, "error": "access_denied", "error_description": "<script>alert(1)</script>"},
    ],
)
def test_an_answer_that_is_wrong_in_one_thing_is_refused_without_its_words(
    world: LoginWorld, changes: dict[str, str | None]
) -> None:
    browser = world.browser()
    answer = browser.get(changed(browser.agree(browser.to_issuer()), **changes))
    assert refused(answer)
    assert "alert" not in answer.text


@pytest.mark.parametrize(
    "identity",
    [
        {"nonce": "n" * 43},
        {"nonce": None},
        {"nonce": 7},
        {"nonce": "\ud800"},
        {"azp": "another-client"},
        {"aud": "fiso"},  # an access token in its place
        {"aud": ["another-client"]},
        {"aud": ["fiso-console", "another-client"]},  # without azp
        {"aud": None},
        {"iss": "https://other.example"},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1_700_000_000},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"at_hash": "x"},
    ],
)
def test_an_identity_token_that_is_not_for_this_login_is_refused(world: LoginWorld, identity: dict[str, Any]) -> None:
    world.lies.identity = identity
    assert refused(world.browser().log_in())


@pytest.mark.parametrize("access", [{"aud": "another-api"}, {"aud": "fiso-console"}, {"exp": 1_700_000_000}])
def test_an_access_token_that_is_none_for_this_api_is_refused(world: LoginWorld, access: dict[str, Any]) -> None:
    world.lies.access = access
    assert refused(world.browser().log_in())


@pytest.mark.parametrize("signer", [Signer.curve("k1"), Signer.rsa("k1"), Signer.curve("k2")], ids=["EC", "RSA", "k2"])
def test_tokens_that_another_key_signed_are_refused(world: LoginWorld, signer: Signer) -> None:
    world.lies.signer = signer
    assert refused(world.browser().log_in())


def test_a_nonce_of_another_attempt_is_refused_by_what_the_issuer_signs_itself(world: LoginWorld) -> None:
    browser = world.browser()
    for nonce in ("n" * 43, ""):
        assert refused(browser.get(browser.agree(changed(browser.to_issuer(), nonce=nonce))))


def test_a_person_without_the_scope_to_read_gets_no_session(world: LoginWorld) -> None:
    browser = world.browser()
    answer = browser.get(browser.agree(changed(browser.to_issuer(), scope="openid profile fiso:invoke")))
    assert answer.status_code == 403
    assert SESSION not in browser.client.cookies


def test_a_session_holds_fisos_scopes_alone_and_a_long_name_fits_a_cookie(world: LoginWorld) -> None:
    world.lies.identity = {"name": "é" * 500}
    world.lies.access = {"scope": " ".join(["fiso:read", *(f"other:{n}" for n in range(300))])}
    browser = world.browser()
    browser.log_in()
    begun = browser.get("/console/login?to=/console/" + "x" * 480)
    assert len(begun.headers["set-cookie"]) < 4_096
    person = read_cookie(world, browser)["person"]
    assert (person["scopes"], person["name"]) == (["fiso:read"], "é" * 100)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Ada\r\n\x1b[1m", "Ada[1m"), ("\ud800", "alice"), ("", "alice"), (7, "7"), ("<b>", "&lt;b&gt;")],
)
def test_what_an_issuer_calls_a_person_can_be_shown(world: LoginWorld, name: object, shown: str) -> None:
    world.lies.identity = {"name": name}
    browser = world.browser()
    browser.log_in(name="alice")
    assert f"<span>{shown}</span>" in browser.get("/console").text


def publish(world: LoginWorld, **changes: object) -> None:
    """The issuer's configuration, but for the changes."""
    configuration = httpx.get(f"{world.issuer_url}/.well-known/openid-configuration", trust_env=False).json()
    world.lies.answers["/.well-known/openid-configuration"] = answer(200, configuration | changes)


def answer(status: int, body: object, **headers: str) -> Response:
    return Response(body if isinstance(body, bytes) else json.dumps(body), status=status, headers=headers)


def redeemed(world: LoginWorld) -> httpx.Response:
    """The callback's answer to a code that only the token endpoint can tell from another."""
    browser = world.browser()
    return browser.get(f"/console/callback?code=code%261&state={fields_of(browser.to_issuer())['state']}")


def posted(world: LoginWorld) -> list[tuple[str | None, dict[str, str]]]:
    return [(authorization, form) for path, authorization, form in world.lies.heard if path == "/token"]


@pytest.mark.parametrize(
    "told",
    [
        answer(400, {"error": "invalid_grant"}),
        answer(401, {"error": "invalid_client"}),
        answer(200, {"access_token": "a"}),
        answer(200, {"access_token": "a", "userinfo": {"name": "ada"}}),
        answer(200, {"id_token": "i"}),
        answer(200, {"id_token": 1, "access_token": "a"}),
        answer(200, {"id_token": "", "access_token": "a"}),
        answer(200, {"id_token": "e30.e30.", "access_token": 1}),
        answer(200, []),
        answer(200, b"<html>"),
        answer(200, b"[" * 100_000),
        answer(200, b"\xff"),
        answer(302, b"", Location="/jwks"),
    ],
)
def test_an_answer_without_tokens_is_a_refusal_and_no_redirect_is_followed(world: LoginWorld, told: Response) -> None:
    world.lies.answers["/token"] = told
    assert refused(redeemed(world))
    assert world.lies.heard[-1][0] == "/token"


@pytest.mark.parametrize("told", [answer(500, b""), answer(503, {}), answer(200, b'"' + b"x" * 200_000 + b'"')])
def test_an_issuer_that_fails_is_away_and_the_code_is_not_sent_twice(world: LoginWorld, told: Response) -> None:
    world.lies.answers["/token"] = told
    assert redeemed(world).status_code == 503
    assert len(posted(world)) == 1


def test_a_code_is_redeemed_with_its_verifier_and_the_same_address(world: LoginWorld) -> None:
    redeemed(world)
    ((authorization, form),) = posted(world)
    verifier = form.pop("code_verifier")
    assert 43 <= len(verifier) <= 128
    assert authorization is None
    assert form == {
        "grant_type": "authorization_code",
        "code": "code&1",
        "redirect_uri": f"{world.console_url}/callback",
        "client_id": "fiso-console",
    }


def test_the_identity_token_is_checked_whatever_scopes_are_asked_for(world: LoginWorld) -> None:
    client = world.app(scope="fiso:read").test_client()
    address = client.get("/console/login", base_url=world.issuer_url).headers["location"]
    assert fields_of(address)["scope"] == "openid fiso:read"
    world.lies.identity = {"nonce": "another"}
    back = urlsplit(world.agreed(address))
    assert client.get(f"{back.path}?{back.query}", base_url=world.issuer_url).status_code == 401


def test_a_confidential_client_shows_its_secret_in_the_header_only(world: LoginWorld) -> None:
    world.keys.values["secret"] = "k1:s3:cret"
    client = world.app(client_id="c:1", secret_parameter="secret").test_client()
    begun = client.get("/console/login", base_url=world.issuer_url)
    state = fields_of(begun.headers["location"])["state"]
    client.get(f"/console/callback?code=c&state={state}", base_url=world.issuer_url)
    ((authorization, form),) = posted(world)
    assert b64decode(str(authorization).removeprefix("Basic ")).decode() == "c%3A1:s3%3Acret"
    assert "cret" not in str(form)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"authorization_endpoint": "http://issuer.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "https://a@b.example/"},
        {"token_endpoint": "http://issuer.example/token"},
        {"token_endpoint": "http://127.0.0.1@issuer.example/token"},
        {"token_endpoint": None},
    ],
)
def test_browsers_and_codes_are_sent_to_https_addresses_of_this_issuer_only(
    world: LoginWorld, changes: dict[str, Any]
) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    publish(world, **changes)
    for answer in (world.browser().get("/console/login"), browser.get(back)):
        assert (answer.status_code, "location" in answer.headers) == (503, False)
    assert posted(world) == []


def test_the_environments_proxy_sees_no_login(world: LoginWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert world.browser().log_in().status_code == 302


def test_the_issuer_gives_nothing_without_the_verifier_of_the_challenge(world: LoginWorld) -> None:
    browser = world.browser()
    for verifier in (None, "", "v" * 42, "v" * 43):
        back = browser.agree(browser.to_issuer())
        fields = {
            "grant_type": "authorization_code",
            "code": fields_of(back)["code"],
            "client_id": "fiso-console",
            "redirect_uri": f"{world.console_url}/callback",
        } | ({} if verifier is None else {"code_verifier": verifier})
        answer = browser.client.post(f"{world.issuer_url}/token", data=fields)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("code_challenge", "code_challenge_method", "client_id", "redirect_uri")),
        {"redirect_uri": "https://attacker.example/console/callback"},
        {"redirect_uri": "http://127.0.0.1:1/console/callback"},
        {"redirect_uri": "http://127.0.0.1@attacker.example/console/callback"},
        {"redirect_uri": "//attacker.example/console/callback"},
        {"redirect_uri": "javascript:alert(1)//console/callback"},
    ],
)
def test_the_issuer_asks_nobody_for_an_incomplete_request_and_sends_codes_nowhere_else(
    world: LoginWorld, changes: dict[str, str | None]
) -> None:
    browser = world.browser()
    answer = browser.get(changed(browser.to_issuer(), **changes))
    assert answer.status_code == 400
    assert "location" not in answer.headers
