"""`fiso.testing.Rig`: what docs/testing.md promises of it."""

import re
from collections import Counter

import pytest

from fiso.domain.policy import Idempotent
from fiso.testing.rig import PLACES, Rig, word_count
from fiso_cli.local_stage import CHECKOUT
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure

BODY = '{"text": "a b"}'
AWS, AZURE, GCP = PLACES


def test_the_documented_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "testing.md").read_text("utf-8"), re.DOTALL)
    exec(compile(example, "docs/testing.md", "exec"), {})


def test_an_endpoint_answers_as_scripted_after_its_latency() -> None:
    rig = Rig(word_count(idempotent=Idempotent.NO))
    for endpoint in (AWS, AZURE, GCP):
        rig.answer(endpoint, FunctionAnswer(status=201, body=b"made"))
        rig.slow(endpoint, latency_ms=300)
    before = rig.clock.now
    answer = rig.invoke("word-count", body=BODY)
    assert (answer.status, answer.body) == (201, b"made")
    assert rig.only_record.result.execution_time_ms == pytest.approx(300)
    assert (rig.clock.now - before).total_seconds() == pytest.approx(0.3)


@pytest.mark.parametrize("failure", [Failure.TIMED_OUT, Failure.UNREACHABLE, Failure.PROVIDER_FAULT])
def test_a_failing_endpoint_is_failed_over_in_virtual_time(failure: Failure) -> None:
    rig = Rig()
    rig.invoke("word-count", body=BODY)
    (first,) = rig.calls
    rig.fail(first, failure)
    assert rig.invoke("word-count", body=BODY).status == 200
    assert rig.records[-1].result.endpoint != first
    assert first in rig.calls[1:]


def test_failures_come_so_often_or_for_that_share_and_the_seed_repeats_them() -> None:
    def failed(seed: int) -> list[bool]:
        rig = Rig(word_count(idempotent=Idempotent.NO), seed=seed)
        for endpoint in (AWS, AZURE, GCP):
            rig.fail(endpoint, Failure.PROVIDER_FAULT, share=0.3)
        return [rig.invoke("word-count", body=BODY).status != 200 for _ in range(40)]

    assert failed(1) == failed(1) != failed(2)
    assert 0 < sum(failed(1)) < 40
    rig = Rig(word_count(idempotent=Idempotent.NO))
    for endpoint in (AWS, AZURE, GCP):
        rig.fail(endpoint, Failure.PROVIDER_FAULT, times=1)
    statuses = Counter(rig.invoke("word-count", body=BODY).status for _ in range(10))
    assert statuses[200] >= 7


def test_a_second_environment_shares_the_stores_and_not_the_memory() -> None:
    rig = Rig()
    rig.pin("word-count", GCP)
    other = Rig(stores=rig.stores, clock=rig.clock)
    other.invoke("word-count", body=BODY)
    assert (other.calls, rig.calls) == ([GCP], [])
    assert rig.records == other.records
    rig.advance(1)
    assert other.states[GCP].folded == 1


def test_a_frozen_environment_reads_the_catalog_before_it_decides() -> None:
    rig = Rig()
    rig.invoke("word-count", body=BODY)
    rig.change_policy("word-count", denied_providers=frozenset({"aws", "azure"}))
    rig.clock.freeze(6 * 3600)
    rig.invoke("word-count", body=BODY)
    assert rig.calls[-1] == GCP


def test_an_endpoint_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no endpoint azure-nowhere; there are aws-us-east-1, "):
        Rig().fail("azure-nowhere", Failure.TIMED_OUT)
