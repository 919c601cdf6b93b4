"""What callers see while a cloud or the database is lost: answers."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from fiso_cli.traffic.calls import problem_of
from localcloud import cloud, faults
from localcloud.cloud import Health, PartStatus
from localcloud.demo import plan
from tests.e2e.conftest import LiveCloud, eventually


def batch(live: LiveCloud, count: int) -> list[httpx.Response]:
    """Requests over all functions, four at once; every one must succeed."""
    calls = plan.calls(count)
    with ThreadPoolExecutor(max_workers=4) as executor:
        answers = list(executor.map(lambda call: live.client.send(call.request(live.gateway, live.client)), calls))
    problems = [problem_of(answer, call.expected) for answer, call in zip(answers, calls, strict=True)]
    assert [problem for problem in problems if problem is not None] == []
    return answers


def test_requests_fail_over_while_a_provider_is_lost(live: LiveCloud) -> None:
    before = Counter(answer.headers["x-fiso-provider"] for answer in batch(live, 24))
    lost = before.most_common(1)[0][0]
    faults.kill(live.cloud, lost)
    try:
        answers = batch(live, 36)
    finally:
        faults.heal(live.cloud, lost)
    assert lost not in {answer.headers["x-fiso-provider"] for answer in answers}
    failovers = [answer for answer in answers if answer.headers["x-fiso-reason"] == "failover"]
    assert failovers
    attempts = live.record(failovers[0].headers["x-fiso-invocation-id"])["attempts"]
    assert isinstance(attempts, list)
    assert attempts[0]["failure"] == "unreachable"
    assert "failure" not in attempts[-1]


@pytest.mark.parametrize("survivor", ["aws", "azure", "gcp"])
def test_one_cloud_is_enough(live: LiveCloud, survivor: str) -> None:
    others = [provider for provider in ("aws", "azure", "gcp") if provider != survivor]
    for provider in others:
        faults.kill(live.cloud, provider)
    try:
        answers = batch(live, 8)
    finally:
        for provider in others:
            faults.heal(live.cloud, provider)
    assert {answer.headers["x-fiso-provider"] for answer in answers} == {survivor}


def test_the_loss_of_every_cloud_is_a_503_that_is_logged_as_such(live: LiveCloud) -> None:
    for provider in ("aws", "azure", "gcp"):
        faults.kill(live.cloud, provider)
    try:
        answer = live.invoke("word-count")
    finally:
        for provider in ("aws", "azure", "gcp"):
            faults.heal(live.cloud, provider)
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert int(answer.headers["retry-after"]) > 0
    record = live.record(answer.headers["x-fiso-invocation-id"])
    assert (record["error_occurred"], record["response_status"]) == (True, 503)


def test_requests_go_on_while_the_database_is_stopped_and_it_comes_back_by_itself(live: LiveCloud) -> None:
    def database() -> PartStatus:
        return next(part for part in cloud.status(live.cloud) if part.name == "postgres")

    server, parent = database().pid, cloud.holder(live.cloud.state)
    assert server is not None
    assert parent is not None
    os.kill(parent, signal.SIGSTOP)  # or it would start the database again at once
    try:
        os.kill(server, signal.SIGINT)
        eventually(lambda: database().health is not Health.HEALTHY)
        batch(live, 12)
    finally:
        os.kill(parent, signal.SIGCONT)
    eventually(lambda: database().health is Health.HEALTHY)
    assert database().pid != server
    assert live.machine.apply().startswith("4 functions")
