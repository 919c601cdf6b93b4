"""The console's login over genuine HTTP: the local issuer's process, the console's server, a browser's cookies."""

from datetime import timedelta
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.functional.login_world import ATTEMPT, SESSION, LoginWorld, changed, is_logged_out


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
    first, second = (parse_qs(urlsplit(world.browser().to_issuer()).query) for _ in range(2))
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"] == [f"{world.console_url}/callback"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


def test_cookies_are_out_of_scripts_reach_and_do_not_come_along_from_other_sites(world: LoginWorld) -> None:
    browser = world.browser()
    begun = browser.get("/console/login")
    ended = browser.log_in()
    for answer, name in ((begun, ATTEMPT), (ended, SESSION)):
        texts = [text for text in answer.headers.get_list("set-cookie") if text.startswith(f"{name}=")]
        cookie = SimpleCookie(texts[0])[name]
        assert cookie["httponly"] is True
        assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")
        assert int(cookie["max-age"]) > 0


def test_a_session_says_nothing_to_who_holds_it(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in(name="ada")
    assert "ada" not in browser.client.cookies[SESSION]


def refused(answer: httpx.Response) -> bool:
    """Whether a callback was refused without a session and without a reason."""
    told = answer.headers.get_list("set-cookie")
    is_plain = "the login did not succeed; begin again" in answer.text
    return answer.status_code == 401 and is_plain and not any(text.startswith(f"{SESSION}=") for text in told)


def test_another_state_is_refused(world: LoginWorld) -> None:
    for state in ("x" * 43, "", None):
        browser = world.browser()
        back = browser.agree(browser.to_issuer())
        assert refused(browser.get(changed(back, state=state)))
        assert is_logged_out(browser.get("/console"), world)


def test_a_parameter_that_stands_there_twice_is_refused(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    assert refused(browser.get(back + "&state=" + parse_qs(urlsplit(back).query)["state"][0]))


def test_an_answer_without_this_browsers_attempt_is_refused(world: LoginWorld) -> None:
    back = world.browser().agree(world.browser().to_issuer())
    assert refused(world.browser().get(back))


def test_the_answer_of_somebody_elses_login_is_refused(world: LoginWorld) -> None:
    mallory, victim = world.browser(), world.browser()
    back = mallory.agree(mallory.to_issuer(), name="mallory")
    victim.to_issuer()
    assert refused(victim.get(back))


def test_a_stolen_code_is_of_no_use_in_another_browsers_attempt(world: LoginWorld) -> None:
    victim, mallory = world.browser(), world.browser()
    code = parse_qs(urlsplit(victim.agree(victim.to_issuer(), name="victim")).query)["code"][0]
    own = mallory.agree(mallory.to_issuer(), name="mallory")
    assert refused(mallory.get(changed(own, code=code)))


def test_a_code_counts_once_even_with_the_attempts_cookie_put_back(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    attempt = browser.client.cookies[ATTEMPT]
    assert browser.get(back).status_code == 302
    assert ATTEMPT not in browser.client.cookies
    again = world.browser()
    again.client.cookies.set(ATTEMPT, attempt, domain="127.0.0.1", path="/")
    assert refused(again.get(back))


def test_an_attempt_that_took_too_long_is_refused(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    world.clock.later = timedelta(seconds=601)
    assert refused(browser.get(back))


def test_an_identity_token_with_another_nonce_is_refused(world: LoginWorld) -> None:
    browser = world.browser()
    for nonce in ("n" * 43, ""):
        assert refused(browser.get(browser.agree(changed(browser.to_issuer(), nonce=nonce))))


def test_the_answer_of_another_issuer_is_refused(world: LoginWorld) -> None:
    browser = world.browser()
    back = browser.agree(browser.to_issuer())
    assert refused(browser.get(changed(back, iss="https://issuer.example")))


def test_an_issuers_refusal_is_told_without_its_words(world: LoginWorld) -> None:
    browser = world.browser()
    state = parse_qs(urlsplit(browser.to_issuer()).query)["state"][0]
    answer = browser.get(f"/console/callback?state={state}&error=%3Cscript%3Ealert(1)%3C/script%3E")
    assert refused(answer)
    assert "alert" not in answer.text


def test_a_person_without_the_scope_to_read_gets_no_session(world: LoginWorld) -> None:
    browser = world.browser()
    answer = browser.get(browser.agree(changed(browser.to_issuer(), scope="openid profile fiso:invoke")))
    assert answer.status_code == 403
    assert SESSION not in browser.client.cookies


def test_the_issuer_gives_nothing_without_the_verifier_of_the_challenge(world: LoginWorld) -> None:
    browser = world.browser()
    for verifier in (None, "", "v" * 42, "v" * 43):
        back = browser.agree(browser.to_issuer())
        fields = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(back).query)["code"][0],
            "client_id": "fiso-console",
            "redirect_uri": f"{world.console_url}/callback",
        } | ({} if verifier is None else {"code_verifier": verifier})
        answer = browser.client.post(f"{world.issuer_url}/token", data=fields)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("missing", ["code_challenge", "code_challenge_method", "client_id", "redirect_uri"])
def test_the_issuer_asks_nobody_for_an_incomplete_request(world: LoginWorld, missing: str) -> None:
    browser = world.browser()
    address = browser.to_issuer()
    assert browser.get(changed(address, **{missing: None})).status_code == 400


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://attacker.example/console/callback",
        "http://127.0.0.1:1/console/callback",
        "http://127.0.0.1@attacker.example/console/callback",
        "//attacker.example/console/callback",
        "javascript:alert(1)//console/callback",
    ],
)
def test_the_issuer_sends_codes_nowhere_else(world: LoginWorld, redirect_uri: str) -> None:
    browser = world.browser()
    answer = browser.get(changed(browser.to_issuer(), redirect_uri=redirect_uri))
    assert answer.status_code == 400
    assert "location" not in answer.headers
