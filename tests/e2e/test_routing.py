"""Requests through the deployed API to functions on three clouds, and what is kept of them."""

import pytest

from fiso.domain.endpoint import Provider
from fiso.services.request.decide import NO_MODEL
from fiso_cli.catalog import policy_commands
from fiso_cli.traffic.calls import problem_of
from localcloud.demo import plan
from tests.e2e.conftest import LiveCloud, eventually

PINS = {"aws": "aws-use1", "azure": "azure-eastus", "gcp": "gcp-use4"}


@pytest.mark.parametrize("provider", [provider.value for provider in Provider])
def test_once_a_pin_is_told_to_hold_every_call_goes_there_and_the_bytes_are_the_functions(
    live: LiveCloud, provider: str
) -> None:
    payload = plan.payloads()[0]
    try:
        policy_commands.pin("graph-bfs", PINS[provider], reason="a test", lasts="1h")
        answers = [live.invoke("graph-bfs", payload.body, content_type=payload.content_type) for _ in range(5)]
    finally:
        policy_commands.unpin("graph-bfs", wait=False)
    assert {answer.headers["x-fiso-endpoint"] for answer in answers} == {PINS[provider]}
    assert {answer.headers["x-fiso-reason"] for answer in answers} == {"policy"}
    assert answers[0].headers["x-fiso-provider"] == provider
    assert answers[0].content == payload.expected()
    assert answers[0].headers["content-type"].startswith("application/json")


def test_every_function_answers_its_own_bytes_in_every_size(live: LiveCloud) -> None:
    for call in plan.calls(len(plan.payloads()) * 3):
        answer = live.client.send(call.request(live.gateway, live.client))
        assert problem_of(answer, call.expected) is None, call.function
        assert float(answer.headers["x-fiso-overhead-ms"]) > 0
        assert "server-timing" in answer.headers


def test_a_record_is_readable_by_its_id_and_folded(live: LiveCloud) -> None:
    folded_before = live.machine.counts.folded()
    answer = live.invoke("word-count", x_fiso_user_region="eu-west-1")
    record = live.record(answer.headers["x-fiso-invocation-id"])
    assert record["status"] == "final"
    assert record["endpoint"] == answer.headers["x-fiso-endpoint"]
    assert record["user_region"] == "eu-west-1"
    assert record["request_size_bytes"] == len(b"one two two")
    assert record["response_size_bytes"] == len(answer.content)
    eventually(lambda: live.machine.counts.folded() >= folded_before + 1)


def test_everything_that_was_logged_is_folded_and_nothing_twice(live: LiveCloud) -> None:
    for _ in range(10):
        live.invoke("compress", b"x" * 1000)
    eventually(lambda: live.machine.counts.folded() == live.logged())


def test_explain_shows_a_decision_and_invokes_nothing(live: LiveCloud) -> None:
    before = live.logged()
    decision = live.client.post("/v1/explain/compress", content=b"x" * 1000).json()
    assert [row["endpoint"] for row in decision["exclusions"]] == ["azure-eastus"]
    assert sum(row["propensity"] for row in decision["ranking"]) == pytest.approx(1)
    assert decision["model_version"] != NO_MODEL
    assert live.logged() == before


def test_endpoints_and_health_tell_versions_and_state(live: LiveCloud) -> None:
    endpoints = live.client.get("/v1/endpoints").json()["endpoints"]
    assert {row["function"] for row in endpoints} == set(plan.functions())
    health = live.client.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["model_version"] != NO_MODEL


def test_the_same_key_is_accepted_and_the_functions_own_refusal_passes_through(live: LiveCloud) -> None:
    answer = live.invoke("pixels", b"not an image", idempotency_key="k-1")
    assert answer.status_code == 400
    assert answer.headers["x-fiso-endpoint"]
    assert "PPM" in answer.json()["detail"]
