"""Can one tenant's name or idempotency key reach what is another's: its answers in the table, its counters, or what a
function remembers under a key? Tenants are called as issuers let them be called."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.adapters.aws.tenant_use import DynamoDBTenantUse
from fiso.adapters.http.callers import request_headers
from fiso.domain import headers as passing
from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.errors import AllowanceSpent
from fiso.domain.idempotency import FREE_BYTES, KEEP, MOST_KEPT_BYTES, Entry, KeptAnswer, entry_id, former_id
from fiso.domain.policy import Idempotent
from fiso.domain.request import InvocationRequest, TenantId
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.rig import Rig, word_count
from fiso_client.calling import Request
from fiso_client.client import Client, Options
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.grammar import is_tenant
from fiso_client.core.scoping import scoped_key
from fiso_client.target import Target
from tests.builders import NOW, a_request, invocation_id
from tests.functional.lease_servers import serving

HOSTILE = (
    "quota", "quota#x",
    "use", "use:x", "key", "key:x", "key:a#b", "kept", "kept:a", "kept:a#1", "a#b", "a:b", "a%23b", "a%b",
    "#catalog", "folded#1", "endpoint#x", "..", "a/b", "a b", "\u00fc", "\u202dx", "\U0001f600" * 60, "x" * 256,
)  # fmt: skip
tenants = st.sampled_from([each for each in HOSTILE if is_tenant(each)]) | st.text(min_size=1, max_size=40).filter(
    is_tenant
)
keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


@dataclass
class Table:
    """DynamoDB as far as the two adapters go, without its conditions: which items each call touches."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)

    def get_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        found = self.items.get(Key["idempotency_id"]["S"])
        return {"Item": found} if found else {}

    def put_item(self, *, Item: dict[str, Any], **_: Any) -> None:  # noqa: N803
        self.touched.append(Item["idempotency_id"]["S"])
        self.items[Item["idempotency_id"]["S"]] = Item

    def update_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        self.touched.append(Key["idempotency_id"]["S"])
        return {"Attributes": {"used": {"N": "1"}}}


def a_claim(tenant: str, key: str, number: int = 1, **changes: Any) -> Entry:
    entry = Entry(
        id=entry_id(TenantId(tenant), key),
        fingerprint="f",
        invocation_id=invocation_id(number),
        deadline_at=NOW + timedelta(seconds=10),
        expires_at=NOW + KEEP,
    )
    return replace(entry, **changes)


def over(table: Table, *, as_before: bool = False) -> DynamoDBIdempotencyKeys:
    return DynamoDBIdempotencyKeys(table, "t", s3=None, bucket="b", clock=ManualClock(), as_before=as_before)


def touched(tenant: str, key: str) -> Iterator[str]:
    """Every item that a tenant's request can write, the counters among them."""
    table = Table()
    over(table).claim(a_claim(tenant, key))
    DynamoDBTenantUse(table, "t", clock=ManualClock()).add(TenantId(tenant), 1, None)
    large = KeptAnswer(status=200, body=bytes(FREE_BYTES + 1), is_text=False)
    over(table).complete(a_claim(tenant, key, answer=large))
    yield from dict.fromkeys(table.touched)


@given(tenants, keys, tenants, keys)
def test_no_two_tenants_share_an_item(one: str, key: str, other: str, others_key: str) -> None:
    mine, theirs = [*touched(one, key)], [*touched(other, others_key)]
    assert len(mine) == len(theirs) == 3
    assert all(
        len(id.encode()) <= 2_048 for id in mine if len(one.encode()) <= 256
    )  # what a key of DynamoDB's may have
    if one != other:
        assert not {*mine} & {*theirs}


@pytest.mark.parametrize("tenant", [each for each in HOSTILE if is_tenant(each)])
def test_a_tenant_called_like_a_space_of_keys_counts_and_claims_for_itself_alone(tenant: str) -> None:
    spaces = sorted(id.partition(":")[0] for id in touched(tenant, "k"))
    assert spaces == ["kept", "key", "use"]


@given(tenants, keys, tenants, keys)
def test_what_was_written_in_the_form_before_is_no_item_of_this_form(
    one: str, key: str, other: str, others: str
) -> None:
    former = former_id(entry_id(TenantId(one), key))
    assert former not in touched(other, others)


def test_an_answer_that_was_kept_in_the_form_before_is_given_again_for_its_day() -> None:
    table, kept = Table(), KeptAnswer(status=201, body=b"ok", is_text=True)
    new = a_claim("a", "k")
    before = over(table)
    before.claim(replace(new, id=former_id(new.id)))
    item = table.items["a#k"]
    head = {"status": 201, "headers": {}, "is_text": True, "sha256": sha256(b"ok").hexdigest()}
    item |= {"answer": {"S": json.dumps(head)}, "body": {"B": b"ok"}}
    standing = over(table).claim(a_claim("a", "k", 2))
    assert standing is not None
    assert (standing.answer, standing.invocation_id) == (kept, invocation_id(1))
    assert [*table.items] == ["a#k"]


@pytest.mark.parametrize("first_as_before", [True, False])
def test_while_code_of_before_works_beside_a_key_is_claimed_where_it_looks(first_as_before: bool) -> None:
    """Whichever of the two came first: neither runs what the other one has claimed."""
    table = Table()
    assert over(table, as_before=first_as_before).claim(a_claim("a", "k")) is None
    assert [*table.items] == ["a#k" if first_as_before else "key:a#k"]
    standing = over(table, as_before=not first_as_before).claim(a_claim("a", "k", 2))
    assert standing is not None
    assert standing.invocation_id == invocation_id(1)


def test_a_counter_of_the_form_before_is_no_answer_to_a_tenant_of_its_name() -> None:
    table = Table()
    table.items["quota#x"] = {
        "idempotency_id": {"S": "quota#x"}, "used": {"N": "7"}, "expires_at": {"N": str(int((NOW + KEEP).timestamp()))},
    }  # fmt: skip
    assert over(table).claim(a_claim("quota", "x")) is None


def test_what_a_tenant_keeps_is_bounded_and_others_are_not_the_worse_for_it() -> None:
    store = InMemoryIdempotencyKeys(clock=ManualClock())
    large = KeptAnswer(status=200, body=bytes(2**20), is_text=False)
    most = MOST_KEPT_BYTES // 2**20
    for number in range(most):
        claim = a_claim("greedy", str(number))
        store.claim(claim)
        store.complete(replace(claim, answer=large))
    last = a_claim("greedy", "last")
    store.claim(last)
    with pytest.raises(AllowanceSpent):
        store.complete(replace(last, answer=large))
    small = replace(large, body=bytes(FREE_BYTES))
    store.complete(replace(last, answer=small))
    other = a_claim("other", "k")
    store.claim(other)
    store.complete(replace(other, answer=large))


def test_a_request_whose_answer_is_not_kept_runs_once_all_the_same() -> None:
    answer = FunctionAnswer(status=201, body=b"x" * (FREE_BYTES + 1), headers={"content-type": "text/plain"})
    rig = Rig(respond=lambda *_: answer)
    rig.keys.kept["local", int(rig.clock().timestamp() // 86_400)] = MOST_KEPT_BYTES
    first, again = (rig.invoke("word-count", idempotency_key="k1") for _ in range(2))
    assert (first.status, first.body) == (201, answer.body)
    assert (again.status, again.document["first_status"], len(rig.calls)) == (410, 201, 1)
    assert again.headers["idempotent-replayed"] == "true"


Deduplicating = Callable[[Endpoint, InvocationRequest, float], FunctionAnswer]


def remembering(seen: dict[str, FunctionAnswer]) -> Deduplicating:
    """A function that gives a key's first answer again, as `deduplicates_on_key` declares it: it knows no tenants."""

    def respond(_: Endpoint, request: InvocationRequest, __: float) -> FunctionAnswer:
        key = request_headers(request, NOW)["idempotency-key"]
        return seen.setdefault(key, replace(OK, body=request.tenant.encode()))

    return respond


def test_one_tenants_key_never_gets_anothers_answer() -> None:
    seen: dict[str, FunctionAnswer] = {}
    respond = remembering(seen)
    for tenant in ("a", "b", "a\u00fc", "a#k", "a%23k"):
        request = a_request(tenant=TenantId(tenant), idempotency_key="k1")
        (endpoint,) = word_count().endpoints[:1]
        assert respond(endpoint, request, 1.0).body == tenant.encode()


@given(tenants, keys, tenants, keys, st.sampled_from(["f", "g"]))
def test_two_keys_are_one_to_a_function_only_where_tenant_function_and_key_are(
    one: str, key: str, other: str, others: str, function: str
) -> None:
    is_same = (one, key, "f") == (other, others, function)
    assert (scoped_key(one, "f", key) == scoped_key(other, function, others)) is is_same


def test_it_is_stable_and_as_the_documentation_derives_it() -> None:
    assert scoped_key("local", "orders", "k1") == sha256(b"fiso-key\nlocal\norders\nk1").hexdigest()


@pytest.mark.parametrize("idempotent", Idempotent)
def test_every_call_of_a_request_carries_the_same_key_whatever_the_policy(idempotent: Idempotent) -> None:
    rig = Rig(word_count(idempotent=idempotent))
    rig.invoke("word-count", idempotency_key="k1")
    (_, request), *_ = rig.caller.calls
    assert request_headers(request, rig.clock())["idempotency-key"] == scoped_key("local", "word-count", "k1")


@pytest.mark.parametrize("name", ["idempotency-key", "idempotency_key", "Idempotency_Key".lower()])
def test_the_callers_own_spelling_does_not_pass_beside_it(name: str) -> None:
    passed = passing.of_request({name: scoped_key("victim", "f", "k"), "x-a": "1"}, consumed=frozenset())
    assert passed == {"x-a": "1"}


def client_with(seen: list[str | None], url: str = "http://127.0.0.1:1") -> Client:
    def call(target: Target, request: Request, *, timeout_s: float) -> FunctionAnswer:
        seen.append(request.sent_headers(timeout_s).get("idempotency-key"))
        return OK

    target = Target(id="a", provider="own", address="x")
    return Client(url, options=Options(callers={"own": call}, fallback={"f": [target]}, background=False))


ROW = {
    "id": "a", "provider": "own", "address": "x", "region": "us-east-1", "path": "", "payload": "http",
    "authentication": "none", "secret_ref": None, "patience_ms": 1000,
}  # fmt: skip
LEASE = {
    "function": "f", "tenant": "local", "endpoints": [ROW], "token": "t", "expires_in_ms": 60_000, "idempotent": "no",
    "timeout_ms": 1000,
}  # fmt: skip


@pytest.mark.parametrize(
    "request_",
    [
        Request(idempotency_key="k1"),
        Request(headers={"idempotency-key": "k1"}),
        Request(idempotency_key="k1", headers={"idempotency-key": "other"}),
    ],
)
def test_a_client_sends_the_key_that_the_router_would_send(request_: Request) -> None:
    seen: list[str | None] = []
    with serving(lambda *_: (200, {}, json.dumps(LEASE).encode())) as fiso, client_with(seen, fiso.url) as client:
        client.call("f", request_)
    assert seen == [scoped_key("local", "f", "k1")]


def test_a_client_that_has_never_reached_fiso_shares_its_keys_with_nobody() -> None:
    seen: list[str | None] = []
    for _ in range(2):
        with client_with(seen) as client:
            for _ in range(2):
                client.call("f", Request(idempotency_key="k1"))
    first, again, other, _ = seen
    assert first == again != other
    assert scoped_key("local", FunctionName("f"), "k1") not in seen
