from dataclasses import replace

import pytest

from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.record import CandidateSummary, InvocationRecord, RecordStatus
from fiso_client.core.failures import Failure
from functions.console.views.explanations import FAILED, Names, explain, is_held_back
from tests.builders import a_record, an_attempt, an_endpoint, three_endpoints

NAMES = Names.of(three_endpoints())


def candidate(endpoint: str, score: float, propensity: float, **changes: float | None) -> CandidateSummary:
    latency_ms, cost_usd = changes.get("latency_ms", 80.0), changes.get("cost_usd", 2.1e-7)
    assert latency_ms is not None
    return CandidateSummary(
        endpoint=EndpointId(endpoint),
        latency_ms=latency_ms,
        cost_usd=cost_usd,
        success_probability=0.999,
        score=score,
        propensity=propensity,
    )


BEST, SECOND = candidate("aws", 0.9123, 0.97), candidate("gcp", 0.8, 0.03, latency_ms=1240.0, cost_usd=None)


def said(record: InvocationRecord) -> str:
    return " ".join(explain(record, NAMES))


def test_a_choice_on_score_names_the_score_the_promise_and_the_runner_up() -> None:
    record = a_record(candidates=(BEST, SECOND))
    assert said(record) == (
        "aws us-east-1 was chosen on score: 0.912, the best of 2 candidates, "
        "predicted to answer in 80 ms for $0.21 per million. "
        "Next came gcp us-east4 with 0.800, predicted to answer in 1.24 s without a price. "
        "It answered 200 in 100 ms, where 80 ms were predicted."
    )


def test_an_only_candidate_is_not_praised_as_the_best() -> None:
    assert "chosen as the only candidate" in said(a_record(candidates=(BEST,)))


def test_a_better_score_behind_the_choice_is_said_to_be_held_back() -> None:
    record = a_record(candidates=(replace(SECOND, propensity=1.0), replace(BEST, propensity=0.0)))
    assert "the best that no circuit breaker held back of 2 candidates" in said(record)
    assert [is_held_back(record, position) for position in (0, 1)] == [False, True]


def test_a_better_score_behind_an_exploring_choice_is_not_held_back() -> None:
    record = a_record(candidates=(SECOND, BEST), reason=Reason.EXPLORE, endpoint=EndpointId("gcp"))
    assert not is_held_back(record, 1)
    assert "gcp us-east4 was chosen to explore: aws us-east-1 scored better (0.912 against 0.800)" in said(record)
    assert "3 % of such requests" in said(record)


def test_a_failover_lists_what_failed_in_order() -> None:
    attempts = (
        an_attempt("aws", status=None, failure=Failure.UNREACHABLE),
        an_attempt("azure", status=None, failure=Failure.THROTTLED),
        an_attempt("gcp"),
    )
    ranking = (BEST, candidate("azure", 0.85, 0.0), SECOND)
    record = a_record(reason=Reason.FAILOVER, attempts=attempts, candidates=ranking, endpoint=EndpointId("gcp"))
    assert said(record).startswith(
        "gcp us-east4, ranked 3 of 3, was called by failover, after the first 2 choices had failed: "
        "aws us-east-1 could not be reached, then azure eastus throttled the call."
    )


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_words(failure: Failure) -> None:
    attempts = (an_attempt("aws", status=None, failure=failure, latency_ms=12.0),)
    record = a_record(attempts=attempts, error_occurred=True, response_status=502, candidates=(BEST,))
    assert f"aws us-east-1 {FAILED[failure]} after 12 ms; the caller got 502." in said(record)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    record = a_record(reason=reason, candidates=(BEST, SECOND), attempts=(an_attempt("gcp"), an_attempt("aws")))
    assert "does not say why" not in said(record)


def test_a_functions_own_error_is_called_that() -> None:
    record = a_record(candidates=(BEST,), error_occurred=True, response_status=500)
    assert "It answered 500, the function's own error, in 100 ms" in said(record)


def test_nothing_eligible_is_told_by_its_exclusions() -> None:
    out = Exclusion(endpoint=EndpointId("aws"), code="residency", detail="outside")
    record = a_record(endpoint=None, cloud_provider=None, reason=None, attempts=(), exclusions=(out, out))
    assert said(record) == "Nothing was called, since no endpoint was eligible: all 2 endpoints are excluded."


def test_a_deadline_that_passed_before_the_first_call_is_told() -> None:
    record = a_record(endpoint=None, attempts=(), candidates=(BEST,))
    assert said(record) == "aws us-east-1 was chosen, but nothing was called: the deadline had passed."


def test_an_unknown_ending_claims_nothing() -> None:
    record = a_record(status=RecordStatus.UNKNOWN, endpoint=None, attempts=(), reason=None)
    assert "Nobody can tell" in said(record)
    assert "may have run" in said(record)


def test_endpoints_that_share_a_place_are_told_apart_by_their_ids() -> None:
    small, large = an_endpoint(id=EndpointId("small")), an_endpoint(id=EndpointId("large"), memory_mb=2048)
    names = Names.of([small, large, an_endpoint(Provider.GCP)])
    assert names[EndpointId("small")] == "aws us-east-1 (small)"
    assert names[EndpointId("gcp")] == "gcp us-east4"
    assert names[EndpointId("gone")] == "gone"
