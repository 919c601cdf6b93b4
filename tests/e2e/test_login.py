"""The console's login over the deployed API: the gateway's events, the runtime, stored keys, the issuer's process."""

from collections.abc import Iterator

import pytest

from fiso_cli.stored_keys import login_keys
from localcloud.issuer.tokens import AUDIENCE, CLIENT_ID, TENANT_CLAIM
from tests.e2e.conftest import LiveCloud, eventually
from tests.functional.login_world import SESSION, LoginBrowser, running_issuer


@pytest.fixture
def browser(live: LiveCloud) -> Iterator[LoginBrowser]:
    """A browser before a console that asks who comes; the others' console asks nobody again afterwards."""
    login_keys(live.stage).ensured()
    cloud, functions = live.cloud, live.stage.client("lambda")
    name = live.stage.function_name("console")
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    asking = {
        "FISO_AUTH": "jwt",
        "FISO_JWT_ISSUER": cloud.url("issuer"),
        "FISO_JWT_AUDIENCE": AUDIENCE,
        "FISO_JWT_TENANT_CLAIM": TENANT_CLAIM,
        "FISO_LOGIN_CLIENT_ID": CLIENT_ID,
    }

    def deploy(variables: dict[str, str]) -> None:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        version = functions.publish_version(FunctionName=name)["Version"]
        functions.update_alias(FunctionName=name, Name="live", FunctionVersion=version)

    with running_issuer(cloud.port("issuer"), cloud.issuer_dir, cloud.port("emulator")) as issuer_url:
        deploy(before | asking)
        browser = LoginBrowser(issuer_url=issuer_url, console_url=before["FISO_CONSOLE_URL"])
        eventually(lambda: browser.get("/api/invocations").status_code == 401)  # environments of before may serve on
        try:
            yield browser
        finally:
            browser.client.close()
            deploy(before)


def test_a_person_logs_in_looks_and_logs_out(live: LiveCloud, browser: LoginBrowser) -> None:
    id = live.invoke("word-count").headers["x-fiso-invocation-id"]
    assert browser.console_url == f"{live.gateway.url}/console"
    assert browser.get("/api/invocations").status_code == 401
    answer = browser.log_in(f"/console/invocations/{id}", name="ada", tenant="local")
    page = browser.get(answer.headers["location"])
    assert (page.status_code, id in page.text, "ada" in page.text) == (200, True, True)
    origin = browser.console_url.partition("/_aws")[0]
    assert browser.log_out(browser.form_token(), "https://attacker.example").status_code == 403
    assert browser.log_out(browser.form_token(), origin).status_code == 303
    assert SESSION not in browser.client.cookies
    assert browser.get("/console").status_code == 302


def test_a_person_of_another_tenant_does_not_see_the_record(live: LiveCloud, browser: LoginBrowser) -> None:
    id = live.invoke("word-count").headers["x-fiso-invocation-id"]
    browser.log_in(tenant="acme")
    assert browser.get(f"/console/invocations/{id}").status_code == 404
