"""The development issuer's door: its own page's form comes in, in a genuine browser too; the forms of others do not."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flask import Flask, Response
from werkzeug.serving import make_server

from localcloud.doors import Door, GuardedWsgi
from tests.emulator import free_port
from tests.functional.login_world import running_issuer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FORM = '<form method="post" action="/"></form><script>document.forms[0].submit()</script>'


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_issuer(free_port(), tmp_path_factory.mktemp("issuer"), free_port()) as url:
        yield url


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 400),  # let in, and refused for what it asks
        ({"origin": "null"}, 403),
        ({"origin": "https://attacker.test"}, 403),
        ({"host": "attacker.test"}, 403),
        ({"host": "localhost"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/authorize", "/token"])
def test_a_form_of_another_page_is_refused(issuer: str, path: str, said: dict[str, str], status: int) -> None:
    assert httpx.post(f"{issuer}{path}", data={"a": "b"}, headers=said, trust_env=False).status_code == status


def test_its_own_page_says_where_it_comes_from(issuer: str) -> None:
    answer = httpx.post(f"{issuer}/authorize", data={}, headers={"origin": issuer}, trust_env=False)
    assert answer.status_code == 400
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
@pytest.mark.parametrize(("policy", "is_let_in"), [("same-origin", True), ("no-referrer", False)])
def test_a_browser_names_the_origin_of_a_form_under_the_issuers_referrer_policy(
    policy: str, is_let_in: bool, tmp_path: Path
) -> None:
    app, port = Flask(__name__), free_port()
    app.add_url_rule(
        "/",
        "page",
        lambda: Response(FORM, mimetype="text/html", headers={"Referrer-Policy": policy}),
    )
    app.add_url_rule("/", "send", lambda: "let in", methods=["POST"])
    server = make_server("127.0.0.1", port, GuardedWsgi(application=app, port=port, door=Door.PAGE), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=8000 --dump-dom".split()
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path}", f"http://127.0.0.1:{port}/"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    finally:
        server.shutdown()
        thread.join()
    assert ("let in" in shown) == is_let_in
    assert ("pages have no business here" in shown) != is_let_in
