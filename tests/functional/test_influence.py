"""One tenant's reports, and what they do to another tenant's requests: nothing."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.testing.rig import PLACES, READ_AGAIN_S, Rig, http_event
from fiso_client.core.failures import Failure
from tests.edge import BODY, BY_IAM, an_outcome, answered, failed, report_of, signed

HONEST, LIAR = "111122223333", "444455556666"
LATENCY_MS = {"aws-us-east-1": 60.0, "azure-eastus": 90.0, "gcp-us-east4": 140.0}
BEST = "aws-us-east-1"


@pytest.fixture
def rig() -> Rig:
    rig = Rig(settings=BY_IAM)
    for endpoint, latency_ms in LATENCY_MS.items():
        rig.slow(endpoint, latency_ms)
    return rig


def invoke(rig: Rig, times: int, *, account: str = HONEST) -> Counter[EndpointId]:
    """Where a tenant's requests went, one a second; the stream has folded them."""
    before = len(rig.calls)
    for _ in range(times):
        assert rig.send(signed(http_event(body=BODY), account))["statusCode"] == 200
        rig.advance(1)
    return Counter(rig.calls[before:])


def lie(rig: Rig, attempts: Iterator[dict[str, Any]]) -> None:
    """One lease and one report with a call for each of these attempts."""
    token = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count"), LIAR))["body"])["token"]
    rig.advance(60)
    outcomes = [an_outcome(number, attempt) for number, attempt in enumerate(attempts)]
    answer = rig.send(signed(http_event(path="/v1/outcomes", body=report_of(token, *outcomes)), LIAR))
    assert json.loads(answer["body"])["accepted"] == len(outcomes)
    rig.advance(READ_AGAIN_S)


def settled(rig: Rig, account: str = HONEST) -> None:
    """All copies are known to a tenant."""
    for endpoint in LATENCY_MS:
        rig.pin("word-count", endpoint)
        invoke(rig, 20, account=account)
    rig.unpin("word-count")
    assert invoke(rig, 20) == {EndpointId(BEST): 20}


LIES: dict[str, Any] = {
    "the best is slow": lambda: (answered(BEST, latency_ms=20_000.0) for _ in range(100)),
    "the best is a little slow": lambda: (answered(BEST, latency_ms=200.0) for _ in range(100)),
    "the worst takes no time": lambda: (answered("gcp-us-east4", latency_ms=1e-9) for _ in range(100)),
    "all at once, in the future": lambda: (answered(BEST, after_ms=60_000.0, latency_ms=900.0) for _ in range(100)),
    "the best always starts cold": lambda: (answered(BEST, latency_ms=30_000.0, cold_start=True) for _ in range(100)),
    "the best costs most": lambda: (answered(BEST, latency_ms=60.0, billed_ms=900_000.0) for _ in range(100)),
    "the best answers 500": lambda: (answered(BEST, status=500) for _ in range(100)),
    "the best answers pages": lambda: (answered(BEST, shape="text/html") for _ in range(100)),
    "the best redirects": lambda: (answered(BEST, status=302) for _ in range(100)),
    "the others are used": lambda: (answered(list(LATENCY_MS)[n % 3], latency_ms=1.0 + n) for n in range(100)),
    **{
        f"all are {failure}": lambda failure=failure: (failed(list(PLACES)[n % 3], failure) for n in range(18))
        for failure in (
            Failure.UNREACHABLE, Failure.BROKEN, Failure.TIMED_OUT, Failure.REFUSED, Failure.THROTTLED,
            Failure.OVERTAKEN, Failure.PROVIDER_FAULT, Failure.FUNCTION_TIMED_OUT,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("lies", LIES.values(), ids=list(LIES))
def test_a_report_moves_nobody_elses_requests(rig: Rig, lies: Any) -> None:
    settled(rig)
    lie(rig, lies())
    assert invoke(rig, 20) == {EndpointId(BEST): 20}
    assert rig.stores.shared_breakers.read() == []


@pytest.mark.parametrize("lies", LIES.values(), ids=list(LIES))
def test_nor_does_one_that_came_before_them(rig: Rig, lies: Any) -> None:
    honest = Rig(settings=BY_IAM)
    for endpoint, latency_ms in LATENCY_MS.items():
        honest.slow(endpoint, latency_ms)
    honest.advance(60 + READ_AGAIN_S)
    lie(rig, lies())
    assert invoke(rig, 40) == invoke(honest, 40)


def test_a_tenant_that_leases_alone_learns_from_its_own_reports(rig: Rig) -> None:
    settled(rig, LIAR)
    lie(rig, LIES["the best is slow"]())
    lease = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count"), LIAR))["body"])
    assert lease["endpoints"][0]["id"] != BEST


def test_and_so_does_one_of_several(rig: Rig) -> None:
    settled(rig)
    lie(rig, LIES["the best is slow"]())
    lease = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count"), LIAR))["body"])
    assert lease["endpoints"][0]["id"] != BEST
    lease = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count"), HONEST))["body"])
    assert lease["endpoints"][0]["id"] == BEST
