"""Keyed requests through the handler's edge, on in-memory ports, also when orchestrators die and the store is away."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.idempotency import GRACE, KEEP, Entry, KeptAnswer, claim_of
from fiso.domain.policy import Idempotent, OnKeyStoreLoss
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.services.request.idempotency import RunResult
from fiso.services.request.key_quorum import KeyQuorum
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.memory import answering, away
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.rig import LambdaContext, Rig, Stores, http_event, word_count
from fiso_cli.inline_executor import Inline
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import NOW, a_request, failing, invocation_id
from tests.edge import first_answer_of, problem_of

pytestmark = pytest.mark.usefixtures("each_door")

KEYED = http_event(idempotency_key="k1")
DIED = timedelta(seconds=28) + GRACE
UNREACHABLE = ProviderError(Failure.UNREACHABLE, "x")


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
    answers = (answer, OK) if idempotent is Idempotent.NO else (answer,)
    rig = Rig(word_count(idempotent=idempotent), respond=failing(*answers))
    first = rig.send(KEYED)
    calls, records = len(rig.caller.calls), dict(rig.stores.log.records)
    for _ in range(3):
        again = rig.send(KEYED)
        assert again["headers"]["idempotent-replayed"] == "true"
        assert first_answer_of(again) == first_answer_of(first)
    assert "idempotent-replayed" not in first["headers"]
    assert (len(rig.caller.calls), rig.stores.log.records) == (calls, records)
    assert rig.metrics.total("IdempotentReplay") == 3


@pytest.mark.parametrize("failure", [UNREACHABLE, ProviderError(Failure.THROTTLED, "x")], ids=str)
def test_a_key_is_free_again_when_nothing_can_have_run(failure: ProviderError) -> None:
    rig = Rig(respond=failing(failure, failure, failure, OK))
    assert rig.send(KEYED)["statusCode"] == 503
    answer = rig.send(KEYED)
    assert (answer["statusCode"], "idempotent-replayed" in answer["headers"]) == (200, False)


def test_a_key_is_free_again_when_no_time_was_left() -> None:
    rig = Rig()
    late = rig.send(KEYED, LambdaContext(remaining_ms=700))
    assert (late["statusCode"], problem_of(late)["unknown_outcome"]) == (504, False)
    assert rig.send(KEYED)["statusCode"] == 200


@pytest.mark.parametrize(
    "event",
    [
        http_event(path="/v1/invoke/nobody", idempotency_key="k1"),
        http_event(x_fiso_timeout_ms="soon", idempotency_key="k1"),
        http_event(user_agent="a\r\nb", idempotency_key="k1"),
    ],
    ids=["unknown function", "timeout", "header"],
)
def test_what_is_refused_claims_no_key(event: dict[str, Any]) -> None:
    rig = Rig()
    assert rig.send(event)["statusCode"] in {400, 404}
    assert rig.keys.entries == {}


OTHERS = {
    "body": http_event(body='{"text": "b"}', idempotency_key="k1"),
    "content type": http_event(content_type="text/plain", idempotency_key="k1"),
    "method": http_event("PUT", idempotency_key="k1"),
    "query": KEYED | {"rawQueryString": "a=1"},
    "path suffix": http_event(path="/v1/invoke/word-count/a", idempotency_key="k1"),
    "function": http_event(path="/v1/invoke/other", idempotency_key="k1"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_payload_under_the_key_is_refused_and_not_run(other: dict[str, Any]) -> None:
    rig = Rig(word_count(), replace(word_count(), name=FunctionName("other")))
    rig.send(KEYED)
    refused = rig.send(other)
    assert problem_of(refused)["status"] == refused["statusCode"] == 422
    assert len(rig.caller.calls) == 1
    assert rig.send(KEYED)["statusCode"] == 200


def test_the_same_key_of_another_tenant_is_another_key() -> None:
    routing = Rig().app.idempotent()
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

    rig = Rig(respond=respond)
    assert rig.send(KEYED)["statusCode"] == 200
    assert [answer["statusCode"] for answer in inner] == [409, 422]
    assert inner[0]["headers"]["retry-after"] == "5"
    assert len(rig.caller.calls) == 1


def test_a_key_is_forgotten_after_a_day() -> None:
    rig = Rig()
    rig.send(KEYED)
    rig.clock.advance(KEEP.total_seconds() - 1)
    assert "idempotent-replayed" in rig.send(KEYED)["headers"]
    rig.clock.advance(1)
    assert "idempotent-replayed" not in rig.send(KEYED)["headers"]
    assert len(rig.caller.calls) == 2


def test_an_answer_too_large_to_return_is_the_same_problem_each_time() -> None:
    rig = Rig(respond=failing(FunctionAnswer(status=200, body=b"x" * (6 * 2**20))))
    first = rig.send(KEYED)
    assert first["statusCode"] == 502
    assert first_answer_of(rig.send(KEYED)) == first_answer_of(first)
    assert len(rig.caller.calls) == 1


@pytest.mark.gateway_form
@pytest.mark.parametrize(("kind", "body"), [("text/plain", "ok"), ("image/png", "b2s=")])
def test_the_body_is_encoded_as_it_was(kind: str, body: str) -> None:
    rig = Rig(respond=failing(replace(OK, headers={"content-type": kind})))
    first, again = rig.send(KEYED), rig.send(KEYED)
    assert first["body"] == again["body"] == body
    assert first.get("isBase64Encoded", False) is again.get("isBase64Encoded", False) is (kind == "image/png")


class Crash(BaseException):
    """The end of an execution environment."""


def crashed(idempotent: Idempotent, *, timeout_ms: int = 28_000) -> Rig:
    """A rig whose first request died while the function ran; the function answers from then on."""
    died: list[bool] = []

    def respond(_: Endpoint, request: InvocationRequest, __: float) -> FunctionAnswer:
        assert request.idempotency_key == "k1"
        if not died:
            died.append(True)
            raise Crash
        return OK

    rig = Rig(word_count(idempotent=idempotent, timeout_ms=timeout_ms), respond=respond)
    with pytest.raises(Crash):
        rig.send(KEYED)
    return rig


@pytest.mark.parametrize("idempotent", [Idempotent.YES, Idempotent.DEDUPLICATES_ON_KEY])
def test_a_dead_claim_is_taken_over_where_the_function_may_be_repeated(idempotent: Idempotent) -> None:
    rig = crashed(idempotent)
    assert rig.send(KEYED)["statusCode"] == 409
    rig.clock.advance(DIED.total_seconds())
    first = rig.send(KEYED)
    assert (first["statusCode"], "idempotent-replayed" in first["headers"]) == (200, False)
    assert first_answer_of(rig.send(KEYED)) == first_answer_of(first)
    assert len(rig.caller.calls) == 2


def test_a_dead_claim_of_a_function_that_may_not_be_repeated_is_an_unknown_outcome_for_ever() -> None:
    rig = crashed(Idempotent.NO)
    (opened,) = rig.stores.log.records
    rig.clock.advance(DIED.total_seconds() - 1)
    conflict = rig.send(KEYED)
    assert (conflict["statusCode"], conflict["headers"]["retry-after"]) == (409, "1")
    rig.clock.advance(1)
    first, again = rig.send(KEYED), rig.send(KEYED)
    assert (first["statusCode"], problem_of(first)["unknown_outcome"]) == (504, True)
    assert first["headers"]["x-fiso-invocation-id"] == problem_of(first)["invocation_id"] == opened
    assert first_answer_of(again) == first_answer_of(first)
    assert ["idempotent-replayed" in answer["headers"] for answer in (first, again)] == [False, True]
    assert len(rig.caller.calls) == 1


def test_a_claim_counts_as_dead_by_the_policys_timeout_where_that_is_shorter() -> None:
    rig = crashed(Idempotent.NO, timeout_ms=2_000)
    rig.clock.advance(2 + GRACE.total_seconds())
    assert rig.send(KEYED)["statusCode"] == 504


@pytest.mark.parametrize(("idempotent", "given"), [(Idempotent.NO, 504), (Idempotent.YES, 200)])
def test_who_was_taken_for_dead_gives_the_answer_that_all_get(idempotent: Idempotent, given: int) -> None:
    others: list[dict[str, Any]] = []

    def respond(*_: object) -> FunctionAnswer:
        if not others:
            others.append({})
            rig.clock.advance(DIED.total_seconds())
            others[0] = rig.send(KEYED)
            return FunctionAnswer(status=299, body=b"late")
        return OK

    rig = Rig(word_count(idempotent=idempotent), respond=respond)
    late = rig.send(KEYED)
    assert late["statusCode"] == others[0]["statusCode"] == given
    assert first_answer_of(late) == first_answer_of(others[0])


def test_who_was_taken_over_by_one_still_running_is_told_to_ask_again() -> None:
    depth: list[int] = []

    def respond(*_: object) -> FunctionAnswer:
        depth.append(1)
        if len(depth) == 1:
            rig.clock.advance(DIED.total_seconds())
            with pytest.raises(Crash):
                rig.send(KEYED)
            return OK
        raise Crash

    rig = Rig(word_count(idempotent=Idempotent.YES), respond=respond)
    assert rig.send(KEYED)["statusCode"] == 409


def test_nothing_runs_when_the_store_is_away() -> None:
    rig = Rig()
    rig.keys.before = away("down", "claim", "release")
    refused = rig.send(KEYED)
    assert (refused["statusCode"], refused["headers"]["retry-after"]) == (503, "2")
    assert problem_of(refused)["type"] == "urn:fiso:problem:idempotency-unavailable"
    assert (rig.calls, rig.stores.log.records) == ([], {})
    assert rig.send(http_event())["statusCode"] == 200
    rig.keys.before = answering
    assert rig.send(KEYED)["statusCode"] == 200


class Deaf(InMemoryIdempotencyKeys):
    """A store that does what it is asked, and does not say so of one operation."""

    def __init__(self, deaf_to: str) -> None:
        super().__init__(clock=ManualClock())
        self.deaf_to = deaf_to

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        standing = super().claim(entry, over=over)
        self._say("claim")
        return standing

    def complete(self, entry: Entry) -> None:
        super().complete(entry)
        self._say("complete")

    def _say(self, operation: str) -> None:
        if operation == self.deaf_to:
            raise StoreUnavailable("no answer")


@pytest.mark.parametrize(("operation", "status"), [("claim", 503), ("complete", 200)])
def test_of_what_was_written_though_the_store_did_not_say_so_an_answer_stands_and_a_claim_is_given_back(
    operation: str, status: int
) -> None:
    keys = Deaf(operation)
    rig = Rig(word_count(), stores=Stores(keys=keys))
    assert rig.send(KEYED)["statusCode"] == status
    keys.deaf_to = ""
    again = rig.send(KEYED)
    assert (again["statusCode"], "idempotent-replayed" in again["headers"]) == (200, operation == "complete")


def test_an_answer_that_could_not_be_kept_is_given_once_and_never_run_for_again() -> None:
    rig = Rig(word_count(idempotent=Idempotent.NO))
    rig.keys.before = away("down", "complete")
    assert rig.send(KEYED)["statusCode"] == 200
    assert rig.metrics.total("IdempotentAnswerNotKept") == 1
    rig.keys.before = answering
    assert rig.send(KEYED)["statusCode"] == 409
    rig.clock.advance(DIED.total_seconds())
    assert rig.send(KEYED)["statusCode"] == 504
    assert len(rig.calls) == 1


@pytest.mark.parametrize("path", ["/v1/explain/word-count", "/v1/decide/word-count", None])
def test_what_invokes_nothing_or_has_no_key_asks_no_store(path: str | None) -> None:
    rig = Rig()
    rig.keys.before = away("down")
    event = http_event(path=path, idempotency_key="k1") if path else http_event()
    for _ in range(2):
        answer = rig.send(event)
        assert (answer["statusCode"], "idempotent-replayed" in answer["headers"]) == (200, False)


def test_a_key_of_another_form_is_told_the_form_in_words() -> None:
    answer = Rig(word_count()).send(http_event(idempotency_key="two words"))
    assert answer["statusCode"] == 400
    assert "header idempotency-key must be 1 to 255 visible ASCII characters, without spaces" in answer["body"]


def unkeyed(*answers: FunctionAnswer | ProviderError, idempotent: Idempotent = Idempotent.NO) -> Rig:
    lost = OnKeyStoreLoss.RUN_ONCE_UNKEYED
    return Rig(word_count(idempotent=idempotent, on_key_store_loss=lost), respond=failing(*answers))


def test_without_the_table_a_request_runs_once_and_is_told_that_no_key_protects_it() -> None:
    rig = unkeyed(OK, OK)
    rig.keys.before = away()
    answer = rig.send(KEYED)
    assert (answer["statusCode"], answer["headers"]["idempotent-unprotected"]) == (200, "true")
    record = rig.stores.log.records[InvocationId(answer["headers"]["x-fiso-invocation-id"])]
    assert record.request.is_unkeyed is True
    assert rig.metrics.total("IdempotencyUnprotected") == 1
    rig.send(KEYED)
    assert len(rig.caller.calls) == 2


def test_what_may_have_run_unkeyed_is_not_run_again_by_fiso() -> None:
    rig = unkeyed(ProviderError(Failure.TIMED_OUT, "x"), OK)
    rig.keys.before = away()
    assert rig.send(KEYED)["statusCode"] == 504
    assert len(rig.caller.calls) == 1


@pytest.mark.parametrize("is_deaf", [False, True])
def test_an_answer_of_an_unkeyed_run_is_kept_where_the_table_is_back_by_then(is_deaf: bool) -> None:
    rig = unkeyed(OK)
    asked: list[str] = []

    def twice_away(operation: str) -> None:
        asked.append(operation)
        if len(asked) <= 2:
            if is_deaf:  # the claim was written, and its answer was lost
                rig.keys.entries |= standing
            raise StoreUnavailable("down")

    claim = claim_of(a_request(idempotency_key="k1"), now=rig.clock(), timeout_ms=28_000)
    standing = {claim.id: claim} if is_deaf else {}
    rig.keys.before = twice_away
    request = a_request(idempotency_key="k1")
    answer = KeptAnswer(status=200, body=b"once", is_text=True)
    ran = RunResult(answer=answer, may_have_run=True)
    first, again = (
        rig.app.idempotent().answer(request, run=lambda _: ran, unknown=lambda _: answer)
        for request in (request, request)
    )
    assert (first.is_unkeyed, first.is_replay, again.is_unkeyed, again.is_replay) == (True, False, False, True)


def test_a_key_seen_before_its_table_went_is_not_passed_over() -> None:
    rig = unkeyed(OK, OK)
    first = rig.send(KEYED)
    again = rig.send(KEYED)
    assert (again["headers"]["idempotent-replayed"], len(rig.caller.calls)) == ("true", 1)
    assert first_answer_of(again) == first_answer_of(first)


def in_three_tables(rig_tables: list[InMemoryIdempotencyKeys], *answers: FunctionAnswer) -> Rig:
    clock = ManualClock()
    rig_tables.extend(InMemoryIdempotencyKeys(clock=clock) for _ in range(2))
    rig = Rig(
        word_count(idempotent=Idempotent.NO, on_key_store_loss=OnKeyStoreLoss.SECOND_STORE),
        respond=failing(*answers),
        clock=clock,
        ports=lambda ports: replace(ports, other_idempotency_keys=lambda: rig_tables[:2]),
    )
    rig_tables.append(rig.keys)
    return rig


def test_a_key_holds_whichever_of_three_tables_is_lost_before_and_after() -> None:
    for lost_first in range(3):
        for lost_then in range(3):
            tables: list[InMemoryIdempotencyKeys] = []
            rig = in_three_tables(tables, OK)
            answers = []
            for lost in (lost_first, lost_then):
                for index, table in enumerate(tables):
                    table.before = away() if index == lost else answering
                answers.append(rig.send(KEYED))
            assert len(rig.caller.calls) == 1, (lost_first, lost_then)
            assert [answer["statusCode"] for answer in answers] == [200, 200]
            assert answers[1]["headers"]["idempotent-replayed"] == "true"


def test_nothing_runs_while_two_of_three_tables_are_lost_and_it_does_once_one_is_back() -> None:
    tables: list[InMemoryIdempotencyKeys] = []
    rig = in_three_tables(tables, OK)
    for table in tables[:2]:
        table.before = away()
    assert (rig.send(KEYED)["statusCode"], len(rig.caller.calls)) == (503, 0)
    tables[0].before = answering
    assert (rig.send(KEYED)["statusCode"], len(rig.caller.calls)) == (200, 1)


def test_without_other_tables_a_second_store_is_the_one_table_that_refuses() -> None:
    rig = Rig(word_count(on_key_store_loss=OnKeyStoreLoss.SECOND_STORE), respond=failing(OK))
    rig.keys.before = away()
    assert (rig.send(KEYED)["statusCode"], len(rig.caller.calls)) == (503, 0)


def test_a_claim_that_may_come_again_is_not_released_in_between() -> None:
    """A release that is heard after the claim came again would free the key of a request that runs."""
    clock = ManualClock()
    tables = [InMemoryIdempotencyKeys(clock=clock) for _ in range(3)]
    quorum = KeyQuorum(tables, executor=Inline())
    claim = claim_of(a_request(idempotency_key="k1"), now=clock(), timeout_ms=28_000)
    for table in tables[1:]:
        table.before = away()
    with pytest.raises(StoreUnavailable):
        quorum.claim(claim)
    assert tables[0].operations["release"] == 0
    tables[1].before = answering
    assert quorum.claim(claim) is None


def test_who_lost_a_race_for_a_key_leaves_nothing_behind() -> None:
    clock = ManualClock()
    tables = [InMemoryIdempotencyKeys(clock=clock) for _ in range(3)]
    quorum = KeyQuorum(tables, executor=Inline())
    first, second = (
        claim_of(a_request(idempotency_key="k1", invocation_id=invocation_id(n)), now=clock(), timeout_ms=28_000)
        for n in (1, 2)
    )
    tables[2].before = away()
    assert quorum.claim(first) is None
    tables[2].before = answering
    assert quorum.claim(second) == first
    assert tables[2].entries == {}


def test_a_claim_that_was_written_unheard_stands_while_its_request_runs_unkeyed() -> None:
    rig = unkeyed(OK)
    request = a_request(idempotency_key="k1")
    claim = claim_of(request, now=rig.clock(), timeout_ms=28_000)
    rig.keys.entries[claim.id] = claim
    rig.keys.before = away()
    kept = KeptAnswer(status=200, body=b"once", is_text=True)

    def run(_: InvocationRequest) -> RunResult:
        rig.keys.before = answering
        other = claim_of(a_request(idempotency_key="k1", invocation_id=invocation_id(9)), now=NOW, timeout_ms=28_000)
        assert rig.keys.claim(other) == claim
        return RunResult(answer=kept, may_have_run=True)

    assert rig.app.idempotent().answer(request, run=run, unknown=lambda _: kept).is_unkeyed
    assert rig.keys.entries[claim.id].answer == kept
