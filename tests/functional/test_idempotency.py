"""Keyed requests through the handler's edge, on in-memory ports."""

from dataclasses import replace
from typing import Any

import pytest

from fiso.domain.catalog import CatalogEntry
from fiso.domain.idempotency import KEEP, KeptAnswer
from fiso.domain.policy import Idempotent
from fiso.domain.request import InvocationRequest, TenantId
from fiso.services.request.idempotency import RunResult
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import a_request, an_entry, failing
from tests.functional.orchestrator_rig import LambdaContext, Rig, first_answer_of, http_event, problem_of

KEYED = http_event(idempotency_key="k1")
UNREACHABLE = ProviderError(Failure.UNREACHABLE, "x")


def declared(idempotent: Idempotent) -> CatalogEntry:
    return an_entry(idempotent=idempotent)


@pytest.mark.parametrize("idempotent", list(Idempotent))
@pytest.mark.parametrize(
    "answer",
    [
        FunctionAnswer(status=201, body=b"\x00\xff\x80", headers={"content-type": "application/x-raw"}),
        FunctionAnswer(status=404, body=b"{}"),
        FunctionAnswer(status=500, body=b"boom", is_function_error=True),
        ProviderError(Failure.PROVIDER_FAULT, "x"),
        ProviderError(Failure.TIMED_OUT, "x"),
    ],
    ids=str,
)
def test_the_first_answer_is_given_again_whatever_it_was(
    answer: FunctionAnswer | ProviderError, idempotent: Idempotent
) -> None:
    rig = Rig(failing(answer, OK), declared(idempotent)) if idempotent is Idempotent.NO else Rig(failing(answer))
    first = rig.send(KEYED)
    calls, records = len(rig.caller.calls), dict(rig.log.records)
    for _ in range(3):
        again = rig.send(KEYED)
        assert again["headers"]["idempotent-replayed"] == "true"
        assert first_answer_of(again) == first_answer_of(first)
    assert "idempotent-replayed" not in first["headers"]
    assert (len(rig.caller.calls), rig.log.records) == (calls, records)
    assert rig.metrics.total("IdempotentReplay") == 3


def test_a_replay_still_says_what_it_cost_itself() -> None:
    rig = Rig(failing(OK))
    rig.send(KEYED)
    assert float(rig.send(KEYED)["headers"]["x-fiso-overhead-ms"]) >= 0


@pytest.mark.parametrize("failure", [UNREACHABLE, ProviderError(Failure.THROTTLED, "x")], ids=str)
def test_a_key_is_free_again_when_nothing_can_have_run(failure: ProviderError) -> None:
    rig = Rig(failing(failure, failure, failure, OK))
    assert rig.send(KEYED)["statusCode"] == 503
    answer = rig.send(KEYED)
    assert (answer["statusCode"], "idempotent-replayed" in answer["headers"]) == (200, False)


def test_a_key_is_free_again_when_no_time_was_left() -> None:
    rig = Rig(failing(OK))
    late = rig.send(KEYED, LambdaContext(remaining_ms=700))
    assert (late["statusCode"], problem_of(late)["unknown_outcome"]) == (504, False)
    assert rig.send(KEYED)["statusCode"] == 200


@pytest.mark.parametrize(
    "event",
    [
        http_event(path="/v1/invoke/nobody", idempotency_key="k1"),
        http_event(body="{", idempotency_key="k1"),
        http_event(content_type="json", idempotency_key="k1"),
    ],
    ids=["unknown function", "not JSON", "content type"],
)
def test_what_is_refused_claims_no_key(event: dict[str, Any]) -> None:
    keys = InMemoryIdempotencyKeys(clock=ManualClock())
    assert Rig(failing(OK), keys=keys).send(event)["statusCode"] in {400, 404, 415}
    assert keys.entries == {}


OTHERS = {
    "body": http_event(body='{"text": "b"}', idempotency_key="k1"),
    "content type": http_event(content_type="text/plain", idempotency_key="k1"),
    "query": KEYED | {"rawQueryString": "a=1"},
    "path suffix": http_event(path="/v1/invoke/word-count/a", idempotency_key="k1"),
    "function": http_event(path="/v1/invoke/other", idempotency_key="k1"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_payload_under_the_key_is_refused_and_not_run(other: dict[str, Any]) -> None:
    rig = Rig(failing(OK), an_entry(), an_entry(name="other"))
    rig.send(KEYED)
    refused = rig.send(other)
    assert problem_of(refused)["status"] == refused["statusCode"] == 422
    assert len(rig.caller.calls) == 1
    assert rig.send(KEYED)["statusCode"] == 200


def test_the_same_key_of_another_tenant_is_another_key() -> None:
    routing = Rig(failing(OK)).app.idempotent()
    ran: list[str] = []

    def run(request: InvocationRequest) -> RunResult:
        ran.append(request.tenant)
        return RunResult(answer=KeptAnswer(status=200, body=request.tenant.encode(), is_text=True), may_have_run=True)

    for tenant in ("alice", "bob", "alice", "bob"):
        request = a_request(tenant=TenantId(tenant), idempotency_key="k1")
        given = routing.answer(request, run=run, unknown=lambda _: KeptAnswer(status=504, body=b"", is_text=True))
        assert given.answer.body == tenant.encode()
    assert ran == ["alice", "bob"]


def test_a_request_beside_a_running_one_conflicts_and_is_told_when_to_ask_again() -> None:
    inner: list[dict[str, Any]] = []

    def respond(*_: object) -> FunctionAnswer:
        inner.append(rig.send(KEYED))
        inner.append(rig.send(http_event(body='{"text": "b"}', idempotency_key="k1")))
        return OK

    rig = Rig(respond)
    assert rig.send(KEYED)["statusCode"] == 200
    assert [answer["statusCode"] for answer in inner] == [409, 422]
    assert inner[0]["headers"]["retry-after"] == "5"
    assert len(rig.caller.calls) == 1


def test_a_key_is_forgotten_after_a_day() -> None:
    clock = ManualClock()
    rig = Rig(failing(OK), keys=InMemoryIdempotencyKeys(clock=clock), clock=clock)
    rig.send(KEYED)
    clock.advance(KEEP.total_seconds() - 1)
    assert "idempotent-replayed" in rig.send(KEYED)["headers"]
    clock.advance(1)
    assert "idempotent-replayed" not in rig.send(KEYED)["headers"]
    assert len(rig.caller.calls) == 2


def test_an_answer_too_large_to_return_is_the_same_problem_each_time() -> None:
    rig = Rig(failing(FunctionAnswer(status=200, body=b"x" * (6 * 2**20))))
    first = rig.send(KEYED)
    assert first["statusCode"] == 502
    assert first_answer_of(rig.send(KEYED)) == first_answer_of(first)
    assert len(rig.caller.calls) == 1


@pytest.mark.parametrize(("kind", "body"), [("text/plain", "ok"), ("image/png", "b2s=")])
def test_the_body_is_encoded_as_it_was(kind: str, body: str) -> None:
    rig = Rig(failing(replace(OK, headers={"content-type": kind})))
    first, again = rig.send(KEYED), rig.send(KEYED)
    assert first["body"] == again["body"] == body
    assert first.get("isBase64Encoded", False) is again.get("isBase64Encoded", False) is (kind == "image/png")
