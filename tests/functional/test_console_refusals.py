"""What the console refuses, and what every one of its answers carries."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiso.console_settings import ConsoleSettings
from fiso.domain.access import AuthMode
from fiso.settings import AccessSettings
from fiso.testing.memory import away
from functions.console import app, hardening, wiring
from tests.functional.console_browser import Browser
from tests.functional.console_world import World, busy_world

ROOT = Path(__file__).parents[2]
WORLD = busy_world(20)
LOCAL = Browser(app=app.create(WORLD.sources, stage="local"))
PROD = Browser(app=app.create(WORLD.sources, stage="prod"), gateway="aws")
SETTINGS = ConsoleSettings(
    stage="local", log_table="l", state_table="s", bucket="b", access=AccessSettings(mode=AuthMode.NONE)
)


def without_log() -> Browser:
    world = World()
    world.log.before = away("query latest records: throttled")
    return Browser(app=app.create(world.sources, stage="local"))


EVERYTHING = [
    ("/console", "GET", 200),
    ("/console/invocations", "GET", 200),
    ("/console/static/console.css", "GET", 200),
    ("/api/endpoints", "GET", 200),
    ("/console/nowhere", "GET", 404),
    ("/console/invocations/00000000-0000-4000-8000-000000000000", "GET", 404),
    ("/console/static/app.py", "GET", 404),
    ("/console/static/../app.py", "GET", 404),
    ("/console/static/..%2fapp.py", "GET", 404),
    ("//console", "GET", 200),
    ("/", "GET", 404),
    ("/api", "GET", 404),
    ("/api/nowhere", "GET", 404),
    ("/console", "POST", 405),
    ("/console", "OPTIONS", 405),
    ("/console/nowhere", "DELETE", 405),
    ("/api/invocations", "PUT", 405),
]


@pytest.mark.parametrize(("path", "method", "status"), EVERYTHING)
def test_every_answer_is_hardened_whatever_it_says(path: str, method: str, status: int) -> None:
    for browser in (LOCAL, PROD):
        answer = browser.get(path, method=method)
        assert answer.status == status
        for name, value in hardening.HEADERS.items():
            assert answer.headers[name.lower()] == value
        assert ("strict-transport-security" in answer.headers) is (browser is PROD)
        assert "set-cookie" not in answer.headers
        assert answer.cookies == ()
        assert "location" not in answer.headers


@pytest.mark.parametrize(("path", "method", "status"), [row for row in EVERYTHING if row[2] >= 400])
def test_a_refusal_is_a_page_under_console_and_a_problem_elsewhere(path: str, method: str, status: int) -> None:
    answer = LOCAL.get(path, method=method)
    if path == "/console" or path.startswith("/console/"):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.document["status"] == status
        assert set(answer.document) == {"type", "title", "status", "detail", "invocation_id"}


def test_a_method_that_is_refused_is_told_which_are_not() -> None:
    assert LOCAL.get("/api/endpoints", method="PATCH").headers["allow"] == "GET, HEAD"


def test_head_answers_like_get_without_a_body() -> None:
    answer = LOCAL.get("/console", method="HEAD")
    assert (answer.status, answer.body) == (200, "")


def test_a_body_above_a_megabyte_is_refused_although_none_is_read() -> None:
    assert LOCAL.get("/api/endpoints", body="x" * 1_000_001).status == 413
    assert LOCAL.get("/api/endpoints", body="x" * 1_000_000).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1.5",
        "limit=1e2",
        "limit=%D9%A3",
        "limit=99999999999999999999",
        "limit=5&limit=6",
        "after=yesterday",
        "after=2026-11-23",
        "after=2026-11-23T09:00:00",
        "after=0001-01-01T00:00:00%2B14:00",
        "after=9999-12-31T23:59:59-14:00",
        "after=1999-12-31T23:59:59Z",
        "function=%00",
        "function=a%20b",
        "function=../x",
        "function=%ED%A0%80",
        "function=" + "x" * 200,
    ],
)
def test_a_bad_argument_is_a_400_that_names_it(query: str) -> None:
    answer = LOCAL.get("/api/invocations", query)
    assert answer.status == 400
    assert query.partition("=")[0] in answer.document["detail"]


@pytest.mark.parametrize("query", ["provider=ibm", "status=fine", "reason=whim", "before=soon", "function=%3Cb%3E"])
def test_a_bad_filter_is_a_400_page(query: str) -> None:
    answer = LOCAL.get("/console/invocations", query)
    assert answer.status == 400
    assert query.partition("=")[0] in answer.body


words = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
header_values = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.one_of(
        st.sampled_from(["/console/invocations", "/api/invocations"]),
        st.builds(lambda root, rest: root + rest, st.sampled_from(["/console/", "/api/", "/", ""]), words),
        st.builds(lambda rest: "/console/invocations/" + rest, words),
    ),
    names=st.lists(st.sampled_from(["limit", "after", "before", "function", "provider", "status", "x"]), max_size=3),
    value=words,
    is_encoded=st.booleans(),
    header=header_values,
)
def test_nothing_that_can_be_asked_is_answered_with_500(
    path: str, names: list[str], value: str, is_encoded: bool, header: str
) -> None:
    query = "&".join(f"{name}={quote(value) if is_encoded else value}" for name in names)
    answer = LOCAL.get(path, query, headers={"if-none-match": header, "cookie": header, "host": header})
    assert answer.status in {200, 304, 400, 404}


@pytest.mark.parametrize("path", ["/console", "/console/invocations", "/console/models", "/api/invocations"])
def test_a_store_that_is_away_is_a_503_that_says_so(path: str) -> None:
    answer = without_log().get(path)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "A store does not answer" in answer.body
    assert "throttled" in answer.body


def test_assets_are_kept_by_their_version_and_asked_again_without_it() -> None:
    plain = LOCAL.get("/console/static/console.css")
    version = plain.headers["etag"].strip('"')
    assert plain.headers["cache-control"] == "public, max-age=300"
    assert "immutable" in LOCAL.get("/console/static/console.css", f"v={version}").headers["cache-control"]
    again = LOCAL.get("/console/static/console.css", headers={"if-none-match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, "")


def test_assets_and_pages_name_no_other_site() -> None:
    for folder in ("static", "templates"):
        for path in (ROOT / "functions/console" / folder).iterdir():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "//" not in text.replace("// ", ""), path


def test_importing_the_handler_needs_no_environment_and_opens_no_connection() -> None:
    guard = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import functions.console.handler as handler\n"
        "print(handler.lambda_handler.__name__)"
    )
    environ = {"PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", guard], env=environ, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("lambda_handler", 0), done.stderr


def test_the_wired_app_says_which_store_it_cannot_reach() -> None:
    def nobody(service: str) -> object:
        return boto3.client(
            service,
            endpoint_url="http://127.0.0.1:9",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=wiring.PATIENCE,
        )

    browser = Browser(app=wiring.build(SETTINGS, dynamodb=nobody("dynamodb"), s3=nobody("s3")))
    for path, store in (("/api/invocations", "latest records"), ("/console", "policies/current.json")):
        answer = browser.get(path)
        assert answer.status == 503
        assert store in answer.body
