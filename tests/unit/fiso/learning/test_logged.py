from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.learning.logged import Loss, decision_of, is_usable
from fiso_client.core.failures import Failure
from tests.builders import a_record, a_summary, an_attempt

CANDIDATES = (
    a_summary("aws", propensity=0.9, latency_ms=100.0, cost_usd=2e-6, success_probability=0.99),
    a_summary("gcp", propensity=0.1, latency_ms=300.0, cost_usd=5e-6, success_probability=0.95),
)
FAILED = an_attempt("aws", status=None, failure=Failure.UNREACHABLE, latency_ms=3.0, cost_usd=0.0)


def record(**changes: Any) -> InvocationRecord:
    fields: dict[str, Any] = {"candidates": CANDIDATES, "attempts": (an_attempt("aws", latency_ms=80.0),)}
    return a_record(**(fields | changes))


def charged(logged: InvocationRecord, loss: Loss) -> float:
    decision = decision_of(logged, loss)
    assert decision is not None
    return decision.loss


def test_an_answer_is_charged_what_it_took() -> None:
    assert {loss: charged(record(), loss) for loss in Loss} == {
        Loss.LATENCY: 80.0,
        Loss.COST: 1e-6,
        Loss.FAILURE: 0.0,
    }


def test_candidates_keep_their_propensities_and_predicted_losses() -> None:
    predicted = {}
    for loss in Loss:
        decision = decision_of(record(lease_id="lease-1"), loss)
        assert decision is not None
        assert (decision.called, decision.cluster) == ("aws", "lease-1")
        assert [c.propensity for c in decision.candidates] == [0.9, 0.1]
        predicted[loss] = [c.predicted_loss for c in decision.candidates]
    assert predicted[Loss.LATENCY] == [100.0, 300.0]
    assert predicted[Loss.COST] == [2e-6, 5e-6]
    assert predicted[Loss.FAILURE] == pytest.approx([0.01, 0.05])


def test_a_failed_first_attempt_is_charged_what_followed_from_it() -> None:
    slow = (FAILED, an_attempt("gcp", latency_ms=450.0, cost_usd=8e-6))
    logged = record(attempts=slow, endpoint=EndpointId("gcp"), cost_usd=8e-6)
    assert {loss: charged(logged, loss) for loss in Loss} == {
        Loss.LATENCY: 453.0,
        Loss.COST: 8e-6,
        Loss.FAILURE: 1.0,
    }


def test_failing_fast_and_free_is_charged_the_worst_prediction() -> None:
    logged = record(attempts=(FAILED,), error_occurred=True, cost_usd=0.0, response_status=503)
    assert (charged(logged, Loss.LATENCY), charged(logged, Loss.COST)) == (300.0, 5e-6)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"attempts": (an_attempt("aws", status=200),), "error_occurred": True}, 1.0),  # the function's own error
        ({"attempts": (an_attempt("aws", status=404),)}, 0.0),
        ({"attempts": (an_attempt("aws", status=502), an_attempt("gcp"))}, 1.0),
        ({"attempts": (an_attempt("aws"), an_attempt("gcp"))}, 0.0),
    ],
)
def test_what_counts_as_a_failed_first_attempt(changes: dict[str, Any], failed: float) -> None:
    assert charged(record(**changes), Loss.FAILURE) == failed


def test_a_cost_is_not_known_where_an_endpoint_is_unpriced() -> None:
    unpriced = (CANDIDATES[0], a_summary("gcp", propensity=0.1, cost_usd=None))
    assert decision_of(record(candidates=unpriced), Loss.COST) is None
    assert decision_of(record(attempts=(an_attempt("aws", cost_usd=None),)), Loss.COST) is None
    assert decision_of(record(candidates=unpriced), Loss.LATENCY) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": RecordStatus.UNKNOWN},
        {"attempts": ()},
        {"candidates": ()},
        {"attempts": (an_attempt("azure"),)},
        {"candidates": (a_summary("aws", propensity=0.0), a_summary("gcp", propensity=1.0))},
        {"candidates": (a_summary("aws", propensity=0.5), a_summary("gcp", propensity=0.1))},
        {"candidates": (a_summary("aws", latency_ms=0.0),)},
        {"candidates": (a_summary("aws", success_probability=1.5),)},
        {"candidates": (a_summary("aws", cost_usd=float("nan")),)},
    ],
)
def test_records_that_say_nothing_of_a_choice_are_not_usable(changes: dict[str, Any]) -> None:
    assert is_usable(record())
    assert not is_usable(record(**changes))
