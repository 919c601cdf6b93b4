"""Does a tenant learn of, call, or blank anything that is another's? Functions that are for some tenants only, the
console's lists, and pages that share its host."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.access import AuthMode
from fiso.domain.endpoint import FunctionName
from fiso.domain.request import TenantId
from fiso.services.identity.access import Access
from fiso.testing.clock import ManualClock
from fiso.testing.rig import Answer, Rig, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from functions.console import app
from functions.console.access import Entrance
from functions.orchestrator.http_answer import SANDBOX
from tests import tokens
from tests.builders import NOW, a_record, a_snapshot, an_entry
from tests.edge import BY_IAM, handed_on
from tests.functional.console_browser import Browser
from tests.functional.console_world import World
from tests.security.attacks import RSA

pytestmark = pytest.mark.usefixtures("each_door")

ALICE, BOB = "111111111111", "222222222222"
HIDDEN = replace(word_count(tenants=frozenset({ALICE})), name=FunctionName("hidden"))


def as_tenant(rig: Rig, account: str, method: str, path: str, **headers: str) -> dict[str, Any]:
    event = http_event(method, path, "{}", **headers)
    iam = {"accountId": account, "userArn": f"arn:aws:iam::{account}:user/u"}
    event["requestContext"]["authorizer"] = {"iam": iam}
    return rig.send(handed_on(event))


@pytest.fixture
def rig() -> Rig:
    return Rig(HIDDEN, word_count(), settings=BY_IAM)


DOORS = [
    ("POST", "/v1/invoke/{}", {}),
    ("GET", "/v1/invoke/{}/below", {}),
    ("POST", "/v1/invoke/{}", {"idempotency_key": "k1"}),
    ("POST", "/v1/invoke/{}", {"x_fiso_timeout_ms": "nonsense"}),
    ("POST", "/v1/decide/{}", {}),
    ("POST", "/v1/explain/{}", {}),
    ("POST", "/v1/explain/{}", {"origin": "https://page.example"}),
    ("OPTIONS", "/v1/invoke/{}", {"origin": "https://page.example"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), DOORS)
def test_to_another_tenant_a_function_is_one_that_there_is_not(
    rig: Rig, method: str, path: str, headers: dict[str, str]
) -> None:
    mine = as_tenant(rig, ALICE, method, path.format("hidden"), **headers)
    theirs, none = (as_tenant(rig, BOB, method, path.format(name), **headers) for name in ("hidden", "nobodys"))
    assert mine["statusCode"] != 404
    assert theirs["statusCode"] == none["statusCode"] == 404
    changing = ("x-fiso-invocation-id", "x-fiso-overhead-ms")
    told = [
        {name: each["headers"][name] for name in each["headers"] if name not in changing} for each in (theirs, none)
    ]
    assert told[0] == told[1]
    texts = [each["body"].replace(each["headers"]["x-fiso-invocation-id"], "") for each in (theirs, none)]
    assert texts[0].replace("hidden", "nobodys") == texts[1]
    assert not any(request.tenant == BOB for _, request in rig.caller.calls)


def test_it_does_not_stand_among_the_endpoints(rig: Rig) -> None:
    mine, theirs = (as_tenant(rig, account, "GET", "/v1/endpoints")["body"] for account in (ALICE, BOB))
    assert "hidden" in mine
    assert "hidden" not in theirs
    assert "word-count" in theirs


@pytest.mark.parametrize("size", ["0", "17", None])
def test_where_copies_are_is_told_to_nobody_of_a_function_that_is_not_leased(size: str | None) -> None:
    rig = Rig(word_count(leases=False), settings=BY_IAM)
    headers = {} if size is None else {"x_fiso_request_size": size}
    addresses = [endpoint.address for endpoint in word_count().endpoints]
    refused = as_tenant(rig, ALICE, "POST", "/v1/decide/word-count", **headers)
    assert refused["statusCode"] == 404
    paths = {"POST": "/v1/explain/word-count", "GET": "/v1/endpoints"}
    told = [refused["body"], *(as_tenant(rig, ALICE, method, path)["body"] for method, path in paths.items())]
    assert not any(address in text for text in told for address in addresses)
    assert as_tenant(rig, ALICE, "POST", "/v1/invoke/word-count")["statusCode"] == 200
    leased = as_tenant(Rig(word_count(), settings=BY_IAM), ALICE, "POST", "/v1/decide/word-count")["body"]
    assert all(address in leased for address in addresses)


def test_doors_without_a_lock_cost_nothing_that_grows_with_those_who_knock() -> None:
    rig = Rig(HIDDEN, word_count(), settings=BY_IAM)
    asked: list[str] = []

    def count(what: str) -> None:
        asked.append(what)

    rig.request("GET", "/healthz")
    for store in (
        rig.stores.snapshots,
        rig.stores.states,
        rig.stores.log,
        rig.stores.models,
        rig.stores.shared_breakers,
    ):
        store.before = count
    for _ in range(300):
        assert rig.request("GET", "/healthz").status == 200
        rig.request("OPTIONS", "/v1/invoke/word-count", origin="https://a.example", access_control_request_method="PUT")
    assert len(asked) <= 10  # what is refreshed in the background, by age
    assert rig.records == []


def test_a_function_without_the_key_is_everybodys(rig: Rig) -> None:
    assert {as_tenant(rig, each, "POST", "/v1/invoke/word-count")["statusCode"] for each in (ALICE, BOB)} == {200}


def test_code_that_would_serve_it_to_all_does_not_read_such_a_catalog() -> None:
    data = snapshot_to_json(a_snapshot(an_entry(tenants=frozenset({ALICE}))))
    assert b'"schema":2' in data
    assert snapshot_from_json(data) == a_snapshot(an_entry(tenants=frozenset({ALICE})))
    assert b'"schema":1' in snapshot_to_json(a_snapshot(an_entry()))
    assert b'"schema":2' in snapshot_to_json(a_snapshot(an_entry(leases=False)))


VERIFIER_KEYS = tokens.FixedKeys.of(RSA)


def console(world: World) -> Callable[..., Any]:
    """What a tenant's program gets of a path: `seen("alice", "/api/invocations")`; only ADMIN sees all."""
    verifier = JwtVerifier(VERIFIER_KEYS, issuer=tokens.ISSUER, audiences=[tokens.AUDIENCE], clock=ManualClock())
    entrance = Entrance(access=Access(mode=AuthMode.JWT, verifier=lambda: verifier))
    browser = Browser(app=app.create(world.sources, stage="prod", entrance=entrance), gateway="aws")

    def seen(tenant: str, path: str, scope: str = "fiso:read") -> Any:
        token = RSA.sign(tokens.payload(NOW, tenant, scope=scope))
        return browser.get(path, headers={"authorization": f"Bearer {token}"})

    return seen


@pytest.mark.parametrize("ahead_s", [-60.0, 0.0, 0.9, 59.0, 3_600.0])
@pytest.mark.parametrize("lies", [200, 500, 1_200])
def test_no_number_of_others_records_leaves_a_tenants_console_blank(lies: int, ahead_s: float) -> None:
    world = World(clock=ManualClock())
    own = [a_record(number, tenant=TenantId("alice")) for number in range(5)]
    later = timedelta(seconds=ahead_s)
    others = [a_record(100 + number, tenant=TenantId("bob")) for number in range(lies)]
    for record in (*own, *(replace(record, timestamp=record.timestamp + later) for record in others)):
        world.log.close(record)
    seen = console(world)
    found = seen("alice", "/api/invocations").document["invocations"]
    assert {row["invocation_id"] for row in found} == {record.invocation_id for record in own}
    assert len(seen("bob", "/api/invocations").document["invocations"]) == 50
    for path in ("/console", "/console/invocations", "/console/models", "/console/diagnosis"):
        assert seen("alice", path).status == 200
    assert own[0].invocation_id in seen("alice", "/console/invocations").body


def test_the_console_shows_a_tenant_no_function_that_it_may_not_call() -> None:
    world = World(clock=ManualClock())
    world.snapshots.publish(a_snapshot(an_entry(name="payroll", tenants=frozenset({"alice"})), an_entry(name="open")))
    seen = console(world)
    for path in ("/console", "/console/policies", "/api/endpoints", "/console/diagnosis"):
        assert "payroll" not in seen("bob", path).body, path
    assert "payroll" in seen("alice", "/api/endpoints").body
    assert "payroll" in seen("operator", "/api/endpoints", "fiso:read fiso:admin").body


ACTIVE = (
    "text/html",
    "TEXT/HTML; charset=utf-8",
    " text/html ",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "application/atom+xml",
    "text/xsl",
    "",
    "html",
    "text/html/x",
    "*/*",
    "text/plain, text/html",
    "application/json, text/html",
    "multipart/x-mixed-replace; boundary=x",
    "unknown/unknown",
)
INERT = ("application/json", "text/plain", "text/csv", "image/png", "application/octet-stream", "application/pdf")


def page(content_type: str, *, sandbox: bool = True, **headers: str) -> Answer:
    given = {"content-type": content_type} if content_type else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = FunctionAnswer(status=200, body=b"<script>fetch('/console')</script>", headers=given)
    return Rig(word_count(sandbox=sandbox), respond=lambda *_: body).request("GET", "/v1/invoke/word-count/x.html")


@pytest.mark.parametrize("content_type", ACTIVE)
def test_what_a_browser_may_run_runs_in_an_origin_of_its_own(content_type: str) -> None:
    answer = page(content_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == SANDBOX
    assert "allow-same-origin" not in SANDBOX
    assert "allow-top-navigation" not in SANDBOX


@pytest.mark.parametrize("content_type", INERT)
def test_what_it_does_not_run_is_not_guessed_to_be_anything_else(content_type: str) -> None:
    answer = page(content_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in answer.headers


@pytest.mark.parametrize("own", ["default-src *", "sandbox allow-same-origin allow-scripts", "", "a, b"])
def test_a_functions_own_policy_holds_beside_it_and_loosens_nothing(own: str) -> None:
    given = page("text/html", content_security_policy=own, x_content_type_options="sniff").headers
    policies = [each.strip() for each in given["content-security-policy"].split(",")]
    assert policies[-1] == SANDBOX  # of several policies all are enforced
    assert given["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    "clear-site-data service-worker-allowed strict-transport-security origin-agent-cluster nel report-to accept-ch "
    "critical-ch expect-ct public-key-pins secure-session-registration set-login use-as-dictionary".split(),
)
def test_it_says_nothing_of_the_whole_host(name: str) -> None:
    for sandbox in (True, False):
        assert name not in page("text/html", sandbox=sandbox, **{name: "*"}).headers


def test_an_operator_may_trust_a_function_with_the_host() -> None:
    answer = page("text/html", sandbox=False)
    assert "content-security-policy" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
