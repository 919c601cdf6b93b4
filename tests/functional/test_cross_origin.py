"""A page in headless Chromium calls a function of another origin, with cookies both ways.

The page, the gateway (events of payload format 2.0 in front of the genuine handler) and the function are genuine HTTP
servers on loopback.
"""

import base64
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fiso.domain.cors import Cors
from fiso.domain.endpoint import Provider
from fiso.testing.rig import Rig, http_event
from tests.builders import an_entry
from tests.functional.lease_servers import serving
from tests.security.genuine_clouds import at, rig_over

pytestmark = pytest.mark.usefixtures("each_door")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = """<!doctype html><title>page</title><pre id="seen">nothing</pre><script>
const call = async (method, path, options = {}) => {
  const answer = await fetch("%(api)s/v1/invoke/word-count" + path, {method, credentials: "include", ...options});
  return answer.status + " " + await answer.text() + " " + answer.headers.get("x-count");
};
(async () => {
  const seen = [];
  try {
    seen.push(await call("POST", "/login", {headers: {"content-type": "application/json"}, body: "{}"}));
    seen.push(await call("GET", "/who"));
    seen.push(await call("PUT", "/items/1", {headers: {"x-mine": "yes"}, body: "new"}));
    seen.push(await call("GET", "/missing"));
  } catch (error) { seen.push("blocked: " + error); }
  document.getElementById("seen").textContent = seen.join("\\n");
})();
</script>"""


def function(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """An application that knows its callers by a cookie."""
    text = {"content-type": "text/plain", "x-count": str(len(body))}
    if path == "/login":
        return 200, {**text, "set-cookie": "session=s1; Path=/; HttpOnly"}, b"hello"
    if path == "/who":
        return 200, text, f"cookie {headers.get('cookie')}".encode()
    if path == "/missing":
        return 404, text, b"no such thing"
    return 200, text, f"{headers['x-method']} {headers.get('x-mine')} {body.decode()}".encode()


def gateway(rig: Rig, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """What API Gateway's HTTP API makes of a request, and of the answer."""
    method = headers.pop("x-method")
    event = http_event(method, path, body)
    event["cookies"] = [part.strip() for part in headers.pop("cookie", "").split(";") if part.strip()]
    event["headers"] = headers
    answer = rig.send(event)
    own = {name: value for name, value in answer["headers"].items() if name != "content-length"}
    if answer.get("cookies"):
        own["set-cookie"] = answer["cookies"][0]
    text = answer.get("body", "")
    return answer["statusCode"], own, base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()


def seen_by_a_browser(url: str, folder: Path) -> str:
    """The page's text once its script is through."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=8000 --dump-dom"
    ).split()
    ended = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={folder}", url], capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout


def test_a_page_calls_a_function_of_another_origin_with_cookies(tmp_path: Path) -> None:
    with serving(function) as app:
        entry = an_entry(at(app.url, Provider.AZURE))
        with rig_over(app.url, entry) as rig, serving(lambda *request: gateway(rig, *request)) as api:
            page = (PAGE % {"api": api.url}).encode()
            with serving(lambda *_: (200, {"content-type": "text/html"}, page)) as site:
                rule = Cors(
                    allow_origins=frozenset({site.url}),
                    allow_methods=frozenset({"GET", "POST", "PUT"}),
                    allow_headers=frozenset({"content-type", "x-mine"}),
                    expose_headers=frozenset({"x-count"}),
                    allow_credentials=True,
                )
                blocked = seen_by_a_browser(site.url, tmp_path / "blocked")
                policy = replace(entry.policy, version=2, cors=rule)
                rig.publish(replace(entry, policy=policy))
                rig.advance(61)
                dom = seen_by_a_browser(site.url, tmp_path / "allowed")
    assert "blocked: TypeError: Failed to fetch" in blocked
    assert "200 hello 2\n200 cookie session=s1 0\n200 PUT yes new 3\n404 no such thing 0" in dom
