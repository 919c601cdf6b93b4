"""Judging a history: which answers were right, given what the function itself says that it ran."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.chaos.keyed.function import Executions
from tests.lab.chaos.keyed.world import AGAIN, Sent

OWN = frozenset({"x-fiso-overhead-ms", "idempotent-replayed"})
"""Headers of an answer that are the request's own, and no part of what is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request and its answer. `allowed`: the statuses that are right for its own payload at this time."""

    sent: Sent
    status: int
    content: str
    is_replay: bool
    is_unknown: bool
    allowed: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`doubles`: keys that ran more often than they may. `wrong`: answers of a status, or with bytes, that they must
    not have."""

    keys: int
    answers: int
    doubles: tuple[str, ...]
    wrong: tuple[Answered, ...]


def answered(sent: Sent, response: Mapping[str, Any], allowed: Iterable[int]) -> Answered:
    """What came back for a request."""
    headers = {name: value for name, value in response["headers"].items() if name not in OWN}
    return Answered(
        sent=sent,
        status=response["statusCode"],
        content=repr((response["statusCode"], sorted(headers.items()), response["body"])),
        is_replay="idempotent-replayed" in response["headers"],
        is_unknown='"unknown_outcome": true' in response["body"],
        allowed=frozenset(allowed),
    )


def judged(history: Iterable[Answered], executions: Executions, *, dead_runs: Iterable[str] = ()) -> Judgement:
    """Hold every answer against its key's own. `dead_runs`: keys whose first run's orchestrator was killed; there, a
    function that may be repeated may run a second time."""
    by_key: dict[str, list[Answered]] = {}
    for answer in history:
        by_key.setdefault(answer.sent.key or "", []).append(answer)
    doubles, wrong, count, dead = [], [], 0, set(dead_runs)
    for key, answers in by_key.items():
        ran = executions.get(key, [])
        may_run = 2 if key in dead and answers[0].sent.function == AGAIN else 1
        if len(ran) > may_run or len(set(ran)) > 1:
            doubles.append(key)
        wrong.extend(_wrong(answers, ran))
        count += len(answers)
    return Judgement(keys=len(by_key), answers=count, doubles=tuple(doubles), wrong=tuple(wrong))


def _wrong(answers: list[Answered], ran: list[bytes]) -> list[Answered]:
    """Another payload than the one that ran gets 422, and nothing else; all answers of the run are the same."""
    payload = ran[0].decode() if ran else None
    kept = {answer.content for answer in answers if answer.status == 200 or answer.is_unknown}
    return [
        answer for answer in answers if not _is_right(answer, payload) or (len(kept) > 1 and answer.content in kept)
    ]


def _is_right(answer: Answered, payload: str | None) -> bool:
    if payload is not None and answer.sent.payload != payload:
        return answer.status == 422
    if answer.status == 504 and not answer.is_unknown:
        return False
    return answer.status in answer.allowed


def kept_firsts(first: Iterable[Answered], late: Iterable[Answered]) -> list[Answered]:
    """Of the answers that may not have been kept, those whose key says later that they were: there all must be one."""
    kept = {answer.sent.key for answer in late if answer.status == 200}
    return [answer for answer in first if answer.sent.key in kept]
