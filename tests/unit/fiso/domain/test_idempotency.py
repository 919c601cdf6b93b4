from dataclasses import replace
from datetime import timedelta

import pytest

from fiso.domain.idempotency import (
    GRACE,
    KEEP,
    Entry,
    KeptAnswer,
    Verdict,
    claim_of,
    entry_id,
    fingerprint_of,
    judge,
)
from fiso.domain.request import TenantId
from tests.builders import NOW, a_request, invocation_id

ANSWER = KeptAnswer(status=200, body=b"ok", is_text=True)


def a_claim(**changes: object) -> Entry:
    request = a_request(idempotency_key="k1", **changes)
    return claim_of(request, now=NOW, timeout_ms=28_000)


def test_a_claim_lasts_a_day_and_is_due_at_the_deadline() -> None:
    claim = a_claim()
    assert (claim.id, claim.invocation_id) == ("key:local#k1", a_request().invocation_id)
    assert (claim.deadline_at, claim.expires_at) == (a_request().deadline_at, NOW + KEEP)
    assert claim.answer is None


def test_the_policys_timeout_bounds_the_deadline() -> None:
    claim = claim_of(a_request(idempotency_key="k1"), now=NOW, timeout_ms=1_500)
    assert claim.deadline_at == NOW + timedelta(milliseconds=1_500)


def test_without_a_key_there_is_nothing_to_claim() -> None:
    with pytest.raises(ValueError, match="without a key"):
        claim_of(a_request(), now=NOW, timeout_ms=1)


def test_no_tenant_can_spell_anothers_entry() -> None:
    assert entry_id(TenantId("a#b"), "c") != entry_id(TenantId("a"), "b#c")


@pytest.mark.parametrize(
    "changes",
    [
        {"function": "other"},
        {"path_suffix": "/a"},
        {"query": "a=1"},
        {"headers": {}},
        {"body": b"other"},
        {"path_suffix": "/a", "query": ""},
    ],
    ids=str,
)
def test_every_part_of_a_request_is_in_its_fingerprint(changes: dict[str, object]) -> None:
    assert fingerprint_of(a_request(**changes)) != fingerprint_of(a_request())


def test_parts_do_not_run_into_each_other() -> None:
    assert fingerprint_of(a_request(path_suffix="/ab", query="")) != fingerprint_of(
        a_request(path_suffix="/a", query="b")
    )


def test_what_is_a_requests_own_is_not_in_its_fingerprint() -> None:
    other = a_request(
        invocation_id=invocation_id(9),
        deadline_at=NOW,
        headers={"content-type": "application/json", "traceparent": "00-x"},
        user_region="eu",
        idempotency_key="k2",
    )
    assert fingerprint_of(other) == fingerprint_of(a_request())


DEAD_AT = a_request().deadline_at + GRACE
JUST_BEFORE = DEAD_AT - timedelta(milliseconds=1)
ANSWERED = replace(a_claim(), answer=ANSWER)
OTHER = a_claim(body=b"other")


@pytest.mark.parametrize(
    ("standing", "now", "may_repeat", "verdict"),
    [
        (a_claim(), NOW, True, Verdict.STILL_RUNNING),
        (a_claim(), JUST_BEFORE, True, Verdict.STILL_RUNNING),
        (a_claim(), DEAD_AT, True, Verdict.TAKE_OVER),
        (a_claim(), DEAD_AT, False, Verdict.UNKNOWN_OUTCOME),
        (ANSWERED, NOW, False, Verdict.REPLAY),
        (ANSWERED, DEAD_AT, True, Verdict.REPLAY),
        (OTHER, NOW, True, Verdict.OTHER_PAYLOAD),
        (OTHER, DEAD_AT, True, Verdict.OTHER_PAYLOAD),
        (replace(OTHER, answer=ANSWER), NOW, True, Verdict.OTHER_PAYLOAD),
    ],
)
def test_what_a_request_gets_that_finds_an_entry(
    standing: Entry, now: object, may_repeat: bool, verdict: Verdict
) -> None:
    assert judge(standing, a_claim(), now=now, may_repeat=may_repeat) is verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(("left_s", "wait_s"), [(60.0, 5), (4.2, 5), (3.2, 4), (0.1, 1), (-3.0, 1)])
def test_asking_again_makes_sense_when_the_claim_is_answered_or_dead_but_soon(left_s: float, wait_s: int) -> None:
    assert a_claim().retry_after_s(DEAD_AT - timedelta(seconds=left_s)) == wait_s
