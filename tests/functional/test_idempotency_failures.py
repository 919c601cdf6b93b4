"""Keyed requests when orchestrators die and the store is away."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint
from fiso.domain.errors import StoreUnavailable
from fiso.domain.idempotency import GRACE, Entry, EntryId
from fiso.domain.policy import Idempotent
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso_client.core.answers import FunctionAnswer
from tests.builders import an_entry, failing
from tests.functional.orchestrator_rig import Rig, first_answer_of, http_event, problem_of

KEYED = http_event(idempotency_key="k1")
DIED = timedelta(seconds=28) + GRACE


def declared(idempotent: Idempotent) -> CatalogEntry:
    return an_entry(idempotent=idempotent)


class FailingKeys(InMemoryIdempotencyKeys):
    """A store that is away for the calls named in `away`, or answers only after it wrote for those in `deaf`."""

    def __init__(self, *, away: str = "", deaf: str = "") -> None:
        super().__init__(clock=ManualClock())
        self.away, self.deaf = set(away.split()), set(deaf.split())

    def _call(self, name: str, write: Callable[[], Any]) -> Any:
        if name in self.away:
            raise StoreUnavailable("down")
        written = write()
        if name in self.deaf:
            raise StoreUnavailable("no answer")
        return written

    def claim(self, entry: Entry, *, over: InvocationId | None = None) -> Entry | None:
        found: Entry | None = self._call("claim", lambda: super(FailingKeys, self).claim(entry, over=over))
        return found

    def complete(self, entry: Entry) -> None:
        self._call("complete", lambda: super(FailingKeys, self).complete(entry))

    def find(self, id: EntryId) -> Entry | None:
        found: Entry | None = self._call("find", lambda: super(FailingKeys, self).find(id))
        return found

    def release(self, entry: Entry) -> None:
        self._call("release", lambda: super(FailingKeys, self).release(entry))


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

    rig = Rig(respond, an_entry(idempotent=idempotent, timeout_ms=timeout_ms))
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
    (opened,) = rig.log.records
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

    rig = Rig(respond, declared(idempotent))
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

    rig = Rig(respond, declared(Idempotent.YES))
    assert rig.send(KEYED)["statusCode"] == 409


def test_nothing_runs_when_the_store_is_away() -> None:
    keys = FailingKeys(away="claim release")
    rig = Rig(failing(OK), keys=keys)
    refused = rig.send(KEYED)
    assert (refused["statusCode"], refused["headers"]["retry-after"]) == (503, "2")
    assert problem_of(refused)["type"] == "urn:fiso:problem:idempotency-unavailable"
    assert rig.caller.calls == []
    assert rig.log.records == {}
    assert rig.send(http_event())["statusCode"] == 200
    keys.away.clear()
    assert rig.send(KEYED)["statusCode"] == 200


def test_a_claim_that_was_written_though_the_store_did_not_say_so_is_given_back() -> None:
    keys = FailingKeys(deaf="claim")
    rig = Rig(failing(OK), keys=keys)
    assert rig.send(KEYED)["statusCode"] == 503
    keys.deaf.clear()
    assert rig.send(KEYED)["statusCode"] == 200


def test_an_answer_that_could_not_be_kept_is_given_once_and_never_run_for_again() -> None:
    keys = FailingKeys(away="complete")
    rig = Rig(failing(OK), declared(Idempotent.NO), keys=keys)
    assert rig.send(KEYED)["statusCode"] == 200
    assert rig.metrics.total("IdempotentAnswerNotKept") == 1
    keys.away.clear()
    assert rig.send(KEYED)["statusCode"] == 409
    rig.clock.advance(DIED.total_seconds())
    assert rig.send(KEYED)["statusCode"] == 504
    assert len(rig.caller.calls) == 1


def test_an_answer_that_was_kept_though_the_store_did_not_say_so_is_the_answer() -> None:
    keys = FailingKeys(deaf="complete")
    rig = Rig(failing(OK), keys=keys)
    first = rig.send(KEYED)
    assert first_answer_of(rig.send(KEYED)) == first_answer_of(first)


def test_no_key_asks_no_store() -> None:
    keys = FailingKeys(away="claim complete find release")
    assert Rig(failing(OK), keys=keys).send(http_event())["statusCode"] == 200


@pytest.mark.parametrize("path", ["/v1/explain/word-count", "/v1/decide/word-count"])
def test_what_invokes_nothing_ignores_keys(path: str) -> None:
    keys = FailingKeys(away="claim complete find release")
    rig = Rig(failing(OK), keys=keys)
    for _ in range(2):
        answer = rig.send(http_event(path=path, idempotency_key="k1"))
        assert (answer["statusCode"], "idempotent-replayed" in answer["headers"]) == (200, False)
