"""A fast part of the scorecard's rows 1, 3, 4 and 9: genuine edge, in-memory ports, a clock that is moved."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.endpoint import Endpoint
from fiso.domain.policy import Idempotent
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationRequest
from fiso.testing.endpoints import OK
from fiso.testing.rig import Rig, http_event
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import NEVER_RAN, Failure, ProviderError
from tests.builders import an_entry
from tests.edge import problem_of
from tests.lab.chaos.rig.measures import FAILED_BEFORE_OPEN, probes_within

REQUESTS, EVERY_S = 500, 0.02


def refusing(*down: str) -> Rig:
    """An environment whose providers of these names refuse."""

    def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer | ProviderError:
        return ProviderError(Failure.UNREACHABLE, "refused") if endpoint.id in down else OK

    return Rig(an_entry(), respond=respond)


@pytest.mark.parametrize("down", ["aws", "azure", "gcp"])
def test_one_provider_that_refuses_costs_no_request_and_few_tries(down: str) -> None:
    rig = refusing(down)
    for _ in range(REQUESTS):
        assert rig.send(http_event())["statusCode"] == 200
        rig.clock.advance(EVERY_S)
    tries = sum(endpoint == down for endpoint, _ in rig.caller.calls)
    assert tries <= FAILED_BEFORE_OPEN + probes_within(REQUESTS * EVERY_S)


def test_two_that_refuse_cost_no_request_and_few_attempts() -> None:
    rig = refusing("aws", "azure")
    for _ in range(REQUESTS):
        assert rig.send(http_event())["statusCode"] == 200
        rig.clock.advance(EVERY_S)
    assert len(rig.caller.calls) <= 1.15 * REQUESTS


def test_when_all_refuse_each_answer_says_so_and_is_logged() -> None:
    rig = refusing("aws", "azure", "gcp")
    for _ in range(50):
        response = rig.send(http_event())
        assert response["statusCode"] == 503
        assert int(response["headers"]["retry-after"]) > 0
        record = rig.stores.log.records[problem_of(response)["invocation_id"]]
        assert isinstance(record, InvocationRecord)
        rig.clock.advance(EVERY_S)


@given(
    failures=st.lists(st.sampled_from(list(Failure)), min_size=1, max_size=3),
    is_keyed=st.booleans(),
)
def test_what_must_not_be_repeated_may_have_run_once_at_most(failures: Sequence[Failure], is_keyed: bool) -> None:
    happened: list[Failure | None] = []

    def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer | ProviderError:
        failure = failures[len(happened)] if len(happened) < len(failures) else None
        happened.append(failure)
        return OK if failure is None else ProviderError(failure, "scripted")

    rig = Rig(an_entry(idempotent=Idempotent.NO), respond=respond)
    rig.send(http_event(idempotency_key="k1") if is_keyed else http_event())
    assert sum(failure is None or failure not in NEVER_RAN for failure in happened) <= 1
