"""What `fiso drill aws-loss` says of what it found. The drill itself takes minutes (docs/disaster.md)."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from localcloud.drill.aws_loss import Findings
from localcloud.drill.command import _checks_of_aws
from localcloud.drill.traffic import Sample


def a_sample(caller: str, began: float, *, is_answered: bool = True, number: int = 0) -> Sample:
    id = f"{caller.replace(' ', '-')}-{number}"
    told = id if is_answered and caller != "leased reads" else ""
    return Sample(caller=caller, id=id, began=began, ended=began + 0.1, is_answered=is_answered, invocation_id=told)


SAMPLES = tuple(
    a_sample(caller, 10.0 + number / 10, number=number)
    for caller in ("reads", "orders", "leased reads")
    for number in range(200)
)
WELL = Findings(
    samples=SAMPLES,
    lost_at=9.0,
    detected_at=11.0,
    back_at=60.0,
    executions=Counter(sample.id for sample in SAMPLES),
    logged=frozenset(sample.invocation_id for sample in SAMPLES),
    reported=200,
    merged_s=3.0,
    change="refused: the database does not answer",
    served_version=(1, 1),
    was_clean=True,
)


def failed(findings: Findings) -> set[str]:
    return {str(line["promised"]) for line in _checks_of_aws(findings) if not line["held"]}


def test_all_that_held_is_said_to_have_held() -> None:
    assert failed(WELL) == set()


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"samples": (*SAMPLES, a_sample("reads", 30.0, is_answered=False))}, "at least 99.9% of what may be repeated"),
        ({"detected_at": 60.0}, "the loss is detected"),
        ({"executions": Counter({"orders-1": 2})}, "no order runs twice"),
        ({"logged": frozenset()}, "no record is lost"),
        ({"reported": 199}, "outcomes of leases"),
        ({"merged_s": None}, "the keeper merges"),
        ({"change": "kept: 2 functions, version 2", "served_version": (2, 1)}, "a catalog change in the outage"),
        ({"served_version": (2, 1)}, "one catalog at both doors"),
        ({"was_clean": False}, "the door ends"),
    ],
)
def test_a_promise_that_did_not_hold_is_named(changes: dict[str, Any], promise: str) -> None:
    assert any(line.startswith(promise) for line in failed(replace(WELL, **changes)))


def test_a_repeatable_request_may_run_twice_and_one_before_detection_may_fail() -> None:
    early = a_sample("reads", 9.5, is_answered=False)
    assert failed(replace(WELL, samples=(*SAMPLES, early), executions=Counter({"reads-1": 2}))) == set()
