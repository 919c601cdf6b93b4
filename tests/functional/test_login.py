"""The console's login over genuine HTTP: the local issuer's process, the console's server, a browser's cookies."""

from collections.abc import Iterator
from datetime import timedelta
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.functional.login_world import LoginWorld, StoredParameters, changed, login_world

SESSION, ATTEMPT = "fiso-session", "fiso-login"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginWorld]:
    with login_world(tmp_path_factory.mktemp("issuer")) as world:
        yield world


@pytest.fixture
def world(started: LoginWorld) -> Iterator[LoginWorld]:
    yield started
    started.clock.later = timedelta()


def is_logged_out(answer: httpx.Response, world: LoginWorld) -> bool:
    """Whether a page was refused in favour of the login."""
    return answer.status_code == 302 and answer.headers["location"].startswith(f"{world.console_url}/login?")


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


def test_a_forged_session_is_none(world: LoginWorld) -> None:
    browser, stranger = world.browser(), Fernet(Fernet.generate_key())
    browser.log_in()
    genuine = browser.client.cookies[SESSION]
    browser.get("/console/login")
    forged = [
        "",
        "x",
        stranger.encrypt(b'{"kind": "session"}').decode(),
        browser.client.cookies[ATTEMPT],
        genuine[:-4],
        genuine + "A",
        "é" * 50,
        "A" * 5000,
        *(genuine[:i] + ("A" if genuine[i] != "A" else "B") + genuine[i + 1 :] for i in range(0, len(genuine) - 3, 13)),
    ]
    for cookie in forged:
        answer = world.browser().get("/console", cookie=f"{SESSION}={cookie}")
        assert is_logged_out(answer, world), cookie
    assert world.browser().get("/console", cookie=f"{SESSION}={genuine}").status_code == 200


def test_a_session_ends_by_itself(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in()
    session = browser.client.cookies[SESSION]
    for later_s, status in ((3_590, 200), (3_600, 302), (90_000, 302)):
        world.clock.later = timedelta(seconds=later_s)
        answer = world.browser().get("/console", cookie=f"{SESSION}={session}")
        assert answer.status_code == status


def test_logging_out_takes_the_session_from_the_browser(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in()
    answer = browser.log_out(browser.form_token(), world.console_url.removesuffix("/console"))
    assert (answer.status_code, answer.headers["location"]) == (303, f"{world.console_url}/logged-out")
    assert SESSION not in browser.client.cookies
    assert browser.get(answer.headers["location"]).status_code == 200
    assert is_logged_out(browser.get("/console"), world)


def test_a_form_that_no_page_of_ours_sent_changes_nothing(world: LoginWorld) -> None:
    browser, other, origin = world.browser(), world.browser(), world.console_url.removesuffix("/console")
    browser.log_in()
    other.log_in()
    token, foreign = browser.form_token(), other.form_token()
    tries = [
        (None, origin),
        ("", origin),
        ("x", origin),
        ("é", origin),
        (foreign, origin),
        (token, None),
        (token, "null"),
        (token, "https://attacker.example"),
        (token, origin + ".attacker.example"),
        (token, origin.replace("127.0.0.1", "localhost")),
        (token, world.issuer_url),
    ]
    for form_token, sent_from in tries:
        answer = browser.log_out(form_token, sent_from)
        assert answer.status_code == 403, (form_token, sent_from)
        assert "set-cookie" not in answer.headers
    assert browser.get("/console").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/console", "/console/login", "/console/callback", "/api/invocations"])
def test_nothing_else_takes_anything(world: LoginWorld, method: str, path: str) -> None:
    browser = world.browser()
    browser.log_in()
    assert browser.client.request(method, world.console_url.removesuffix("/console") + path).status_code == 405
    assert browser.get("/console/logout").status_code == 405


@pytest.mark.parametrize(
    "wanted",
    [
        "https://attacker.example/",
        "//attacker.example",
        "/\\attacker.example",
        "/console//attacker.example",
        "/console/../../attacker",
        "/console/..%2f..%2fx",
        "/console@attacker.example",
        "/console.attacker.example",
        "/console\r\nset-cookie: x=y",
        "/console\n",
        "/consoleé",
        "/console/" + "x" * 600,
        "javascript:alert(1)",
        "/api/invocations",
        "",
    ],
)
def test_a_login_ends_on_the_consoles_own_pages_only(world: LoginWorld, wanted: str) -> None:
    browser = world.browser()
    begun = browser.client.get(f"{world.console_url}/login", params={"to": wanted})
    answer = browser.get(browser.agree(begun.headers["location"]))
    assert (answer.status_code, answer.headers["location"]) == (302, world.console_url)


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "127.0.0.2", "[::1]", "a b", ""])
@pytest.mark.parametrize("path", ["/console", "/console/login", "/api/invocations", "/console/static/console.css"])
def test_a_host_that_is_not_the_consoles_is_answered_nothing(world: LoginWorld, host: str, path: str) -> None:
    answer = world.browser().get(path, host=host)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


def test_loopbacks_other_name_leads_to_the_one_where_the_login_is(world: LoginWorld) -> None:
    port = urlsplit(world.console_url).port
    answer = world.browser().get("/console", host=f"localhost:{port}")
    assert is_logged_out(answer, world)


@pytest.mark.parametrize("name", ["x_forwarded_host", "x_forwarded_prefix", "forwarded", "x_original_url"])
def test_no_header_moves_the_address_that_codes_come_back_to(world: LoginWorld, name: str) -> None:
    browser = world.browser()
    answer = browser.get("/console/login", **{name: "attacker.example"})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == [f"{world.console_url}/callback"]


def test_a_program_shows_a_token_instead(world: LoginWorld) -> None:
    browser = world.browser()

    def status(path: str, token: str) -> int:
        return browser.get(path, authorization=f"Bearer {token}").status_code

    assert status("/api/invocations", world.token("fiso:read")) == 200
    assert status("/console", world.token("fiso:read")) == 200
    assert status("/api/invocations", world.token("fiso:invoke")) == 403
    assert status("/api/invocations", world.token("fiso:read") + "x") == 401
    assert status("/console", "x") == 401


def test_a_token_that_is_shown_counts_and_not_the_session_beside_it(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in()
    assert browser.get("/api/invocations").status_code == 200
    assert browser.get("/api/invocations", authorization="Bearer x").status_code == 401


def test_everybody_sees_the_records_of_the_own_tenant_and_an_admin_all(world: LoginWorld) -> None:
    def seen(scope: str, tenant: str) -> int:
        token = world.token(scope, tenant=tenant)
        answer = world.browser().get("/api/invocations", authorization=f"Bearer {token}")
        return len(answer.json()["invocations"])

    everything = seen("fiso:admin", "operations")
    assert everything > 0
    assert seen("fiso:read", "local") == everything
    assert seen("fiso:read", "mallory") == 0


def test_another_tenants_record_is_not_there(world: LoginWorld) -> None:
    record = world.world.log.latest(1)[0]
    for tenant, status in (("local", 200), ("mallory", 404)):
        browser = world.browser()
        browser.log_in(tenant=tenant)
        assert browser.get(f"/console/invocations/{record.invocation_id}").status_code == status


def test_a_rotated_key_opens_what_it_sealed_until_the_rotation_after_it(world: LoginWorld) -> None:
    browser = world.browser()
    browser.log_in()
    old, keys = world.keys.values["keys"], world.keys
    try:
        for words, status in (([new_key(), old], 200), ([new_key(), new_key()], 302)):
            world.keys = StoredParameters(keys=" ".join(words))
            client = world.app().test_client()
            client.set_cookie(SESSION, browser.client.cookies[SESSION], domain="127.0.0.1")
            answer = client.get("/console", headers={"host": urlsplit(world.console_url).netloc})
            assert answer.status_code == status
    finally:
        world.keys = keys


def new_key() -> str:
    return f"k2:{Fernet.generate_key().decode()}"
