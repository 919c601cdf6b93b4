"""What does one tenant get to see of another's at any route there is? The routes come from the handlers' own tables, so
a new one is tried as soon as it is there; one whose parts are not known here fails."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.access import AuthMode
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.request import TenantId
from fiso.services.identity.access import Access
from fiso.settings import AccessSettings
from fiso.testing.clock import ManualClock
from fiso.testing.rig import SETTINGS, Rig, http_event
from functions.console import app
from functions.console.access import Entrance
from functions.orchestrator.handler import _ROUTES
from tests import tokens
from tests.builders import NOW, a_record, a_snapshot, an_endpoint, an_entry
from tests.functional.console_browser import Browser
from tests.functional.console_world import World
from tests.security.attacks import RSA

pytestmark = pytest.mark.usefixtures("each_door")

ALICE, BOB = "alice-of-payroll", "bob-of-shipping"
KEYS = tokens.FixedKeys.of(RSA)
BY_TOKEN = AccessSettings(mode=AuthMode.JWT, issuer=tokens.ISSUER, audiences=(tokens.AUDIENCE,))
SECRET = an_endpoint(
    Provider.AZURE, id=EndpointId("payroll-copy"), address="https://payroll.example", region="westeurope"
)
SHARED = an_endpoint(Provider.GCP, id=EndpointId("shared-copy"), address="https://shared.example")
PAYROLL = an_entry(SECRET, name="payroll", tenants=frozenset({TenantId(ALICE)}))
OPEN = an_entry(SHARED, name="open")
HERS = ("payroll", "westeurope", ALICE)
"""What nothing that is shown to Bob may hold: her function's name, copies, addresses, place, and her own name."""
RECORD = "0" * 36
"""Stands for a record of hers in a path."""


def token_of(tenant: str, scope: str = "fiso:invoke fiso:read") -> str:
    return f"Bearer {RSA.sign(tokens.payload(NOW, tenant, scope=scope))}"


def told(response: dict[str, Any]) -> str:
    return f"{response['statusCode']} {response['headers']} {response['body']}"


class Api:
    """The orchestrator, with a record of Alice's."""

    def __init__(self) -> None:
        settings = replace(SETTINGS, access=BY_TOKEN)
        self.rig = Rig(PAYROLL, OPEN, settings=settings, ports=lambda ports: replace(ports, issuer_keys=KEYS))
        first = self.ask(ALICE, "POST", "/v1/invoke/payroll")
        assert first["statusCode"] == 200
        self.record = first["headers"]["x-fiso-invocation-id"]
        lease = self.ask(ALICE, "POST", "/v1/decide/payroll")
        self.lease = lease["body"]

    def ask(self, tenant: str, method: str, path: str, body: str = "{}", **headers: str) -> dict[str, Any]:
        return self.rig.send(http_event(method, path, body, authorization=token_of(tenant), **headers))


@cache
def api() -> Api:
    return Api()


def paths(function: str, record: str) -> Iterator[tuple[str, str]]:
    """Each route of the handler with each of its methods, for a function and a record."""
    values = {"function": function, "id": record, "suffix": "/below"}
    for route in _ROUTES:
        path = re.sub(r"\(\?P<(\w+)>.*?\)\??(?=/|$)", lambda found: values[found[1]], route.path.pattern)
        path = path.replace("/" + values["suffix"], values["suffix"])
        assert route.path.fullmatch(path), path
        for method in sorted(route.methods):
            yield method, path


@pytest.mark.parametrize(("method", "path"), list(paths("payroll", RECORD)))
@pytest.mark.parametrize(
    "headers", [{}, {"idempotency_key": "k"}, {"origin": "https://page.example"}, {"x_a": "\u00fc"}]
)
def test_nothing_of_her_function_or_record_is_told_at_any_route(
    method: str, path: str, headers: dict[str, str]
) -> None:
    asked = path.replace(RECORD, api().record)
    his = told(api().ask(BOB, method, asked, **headers))
    none = told(api().ask(BOB, method, path.replace("payroll", "nobodys"), **headers))
    for word in HERS:
        # a name that was asked for may be repeated, as one that there is not
        assert word not in his.replace("payroll", "nobodys" if none[:3] == his[:3] == "404" else "payroll"), his
    assert his[:3] == none[:3]


def test_a_lease_of_hers_is_none_of_his() -> None:
    lease = json.loads(api().lease)
    report = {"leases": [{"token": lease["token"], "outcomes": [{"number": 0, "attempts": []}]}]}
    his = told(api().ask(BOB, "POST", "/v1/outcomes", json.dumps(report)))
    assert "foreign" in his
    assert not [word for word in HERS if word in his]


@pytest.mark.parametrize(("method", "path"), list(paths("open", RECORD)))
def test_where_a_shared_copy_is_is_told_by_the_lease_alone(method: str, path: str) -> None:
    answer = told(api().ask(BOB, method, path))
    assert (SHARED.address in answer) is (path == "/v1/decide/open"), answer


def test_she_is_told_of_her_own_so_the_words_would_be_seen() -> None:
    seen = [
        told(api().ask(ALICE, method, path.replace(RECORD, api().record))) for method, path in paths("payroll", RECORD)
    ]
    for word in HERS:
        assert any(word in text for text in seen), word


@cache
def console() -> tuple[Browser, tuple[str, ...], str]:
    """The console's app, its paths, and a record of Alice's."""
    world = World(clock=ManualClock())
    world.snapshots.publish(a_snapshot(PAYROLL, OPEN))
    hers = a_record(1, tenant=TenantId(ALICE), function_name=FunctionName("payroll"))
    for record in (hers, a_record(2, tenant=TenantId(BOB), function_name=FunctionName("open"))):
        world.log.close(record)
    verifier = JwtVerifier(KEYS, issuer=tokens.ISSUER, audiences=[tokens.AUDIENCE], clock=ManualClock())
    flask = app.create(
        world.sources, stage="prod", entrance=Entrance(access=Access(mode=AuthMode.JWT, verifier=lambda: verifier))
    )
    values = {"invocation_id": hers.invocation_id, "name": "console.css", "path": "x", "function": "payroll"}
    found = []
    for rule in flask.url_map.iter_rules():
        with flask.test_request_context():
            address = rule.rule
            for argument in rule.arguments:
                address = re.sub(rf"<(?:\w+:)?{argument}>", values[argument], address)
            found.append(address)
    return Browser(app=flask, gateway="aws"), tuple(sorted(set(found))), hers.invocation_id


@pytest.mark.parametrize(
    "query", ["", "function=payroll", "function=open&since=7d", "limit=200", "status=error", "since=7d"]
)
@pytest.mark.parametrize("path", console()[1])
def test_nor_at_any_page_of_the_console(path: str, query: str) -> None:
    browser, _, record = console()
    answer = browser.get(path, query, headers={"authorization": token_of(BOB)})
    assert answer.status < 500
    shown = answer.body.replace("payroll", "") if "payroll" in query else answer.body  # what was asked for is repeated
    assert not [word for word in (*HERS, SECRET.address) if word in shown]
    if record not in path:
        assert record not in shown


def test_she_sees_her_own_there() -> None:
    browser, every, _ = console()
    shown = [browser.get(path, headers={"authorization": token_of(ALICE)}).body for path in every]
    for word in ("payroll", ALICE, "payroll-copy"):
        assert any(word in text for text in shown), word


ODD = [
    "payroll",
    "\0",
    "\ud800",
    "%",
    "%zz",
    "../..",
    "9" * 400,
    "-1",
    "1e999",
    "\u0663",
    "a" * 9_000,
    "<script>",
    "{{7*7}}",
    "'",
]
NAMES = st.sampled_from(["function", "since", "limit", "after", "before", "status", "provider", "reason", "x", ""])
QUERIES = st.lists(st.tuples(NAMES, st.one_of(st.sampled_from(ODD), st.text(max_size=20))), max_size=4)


@given(
    path=st.sampled_from(console()[1]), query=QUERIES, method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "BREW"])
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_is_asked_of_a_page_it_is_an_answer_or_one_refusal(
    path: str, query: list[tuple[str, str]], method: str
) -> None:
    asked = urlencode([(name, value.encode("utf-8", "surrogatepass")) for name, value in query])
    answer = console()[0].get(path, asked, method=method, headers={"authorization": token_of(BOB)})
    assert answer.status < 500
    assert not re.search(r"Traceback|site-packages|/functions/console|werkzeug|jinja", answer.body)
    assert "<script>" not in answer.body.replace("<script src", "")
    assert "49" not in answer.body or "{{7*7}}" not in dict(query).values()
