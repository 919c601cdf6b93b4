"""Sessions over genuine HTTP: forged and ended ones, forms, hosts, addresses, and who sees what."""

from collections.abc import Iterator
from datetime import timedelta
from secrets import token_urlsafe
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from tests.functional.login_world import SESSION, LoginBrowser, LoginWorld, fields_of, is_logged_out


def test_a_forged_session_is_none(world: LoginWorld) -> None:
    browser, stranger = world.browser(), Flask("stranger")
    browser.log_in()
    genuine = browser.client.cookies[SESSION]
    stranger.secret_key = token_urlsafe(32)
    signer = SecureCookieSessionInterface().get_signing_serializer(stranger)
    assert signer is not None
    attempt = world.browser()
    attempt.get("/console/login")
    forged = [
        "",
        "x",
        str(signer.dumps({"person": {"expires_at": 4e9}})),
        attempt.client.cookies[SESSION],
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
    for later_s, status in ((3_590, 200), (3_601, 302), (90_000, 302)):
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


def test_a_session_alone_pins_nothing(world: LoginWorld) -> None:
    """Whoever pins shows a token with fiso:admin in the form, beside the session and the form's own token."""
    browser, origin = world.browser(), world.console_url.removesuffix("/console")
    browser.log_in()
    form_token = browser.form_token()

    def status(form: str, sent_from: str, **fields: str) -> int:
        data = {"form_token": form, "endpoint": "aws-use1", "reason": "r", **fields}
        url = f"{world.console_url}/functions/graph-bfs/pin"
        return browser.client.post(url, data=data, headers={"origin": sent_from}).status_code

    admin = world.token("fiso:read fiso:admin")
    assert status(form_token, origin) == 401
    assert status(form_token, origin, token="x") == 401
    assert status(form_token, origin, token=world.token("fiso:read")) == 403
    assert status("", origin, token=admin) == 403
    assert status(form_token, "https://attacker.example", token=admin) == 403
    assert status(form_token, origin, token=admin) == 503, "allowed; this stage has no keeper"


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
    assert fields_of(answer.headers["location"])["redirect_uri"] == f"{world.console_url}/callback"


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


@pytest.fixture
def keys(world: LoginWorld) -> Iterator[dict[str, str]]:
    """What the console's role reads; put back afterwards."""
    before = dict(world.keys.values)
    yield world.keys.values
    world.keys.values.clear()
    world.keys.values.update(before)


def status_of(app: Flask, browser: LoginBrowser, path: str = "/console") -> int:
    """What another environment of the console answers this browser."""
    client = app.test_client()
    if SESSION in browser.client.cookies:
        client.set_cookie(SESSION, browser.client.cookies[SESSION], domain="127.0.0.1")
    return client.get(path, base_url=browser.console_url.removesuffix("/console")).status_code


def test_a_rotation_reaches_an_environment_that_is_up_within_a_minute(world: LoginWorld, keys: dict[str, str]) -> None:
    browser, app = world.browser(), world.app()
    browser.log_in()
    assert status_of(app, browser) == 200
    steps = [(f"{new_key()} {keys['keys']}", 60, 200), (f"{new_key()} {new_key()}", 119, 200), (None, 120, 302)]
    for words, later_s, status in steps:
        keys["keys"] = words or keys["keys"]
        world.clock.later = timedelta(seconds=later_s)
        assert status_of(app, browser) == status


@pytest.mark.parametrize("unusable", ["", "k1:short"])
def test_who_is_logged_in_stays_so_while_keys_cannot_be_read_and_nobody_logs_in_without_any(
    world: LoginWorld, keys: dict[str, str], unusable: str
) -> None:
    browser, app = world.browser(), world.app()
    browser.log_in()
    assert status_of(app, browser) == 200
    keys["keys"] = unusable
    world.clock.later = timedelta(seconds=120)
    assert status_of(app, browser) == 200
    without = world.app()
    assert status_of(without, browser) == 503
    assert status_of(without, world.browser(), "/console/login") == 503
    assert status_of(without, browser, "/console/callback?code=x&state=x") == 401
    assert status_of(without, browser, "/console/static/console.css") == 200


def new_key() -> str:
    return f"k2:{token_urlsafe(32)}"
