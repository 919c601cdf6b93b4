from typing import Any

import pytest

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Provider
from fiso.domain.policy import Mode, Weights
from fiso.domain.record import InvocationRecord
from fiso_cli.what_if.rescoring import probabilities
from tests.builders import a_record, a_summary, an_endpoint, an_entry

FAST = Weights(latency=1, cost=0, reliability=0, region_affinity=0)
CHEAP = Weights(latency=0, cost=1, reliability=0, region_affinity=0)
NEAR = Weights(latency=0, cost=0, reliability=0, region_affinity=1)
LOGGED = (
    a_summary("aws", propensity=0.5, latency_ms=50.0, cost_usd=4e-6),
    a_summary("azure", propensity=0.3, latency_ms=100.0, cost_usd=1e-6),
    a_summary("gcp", propensity=0.2, latency_ms=200.0, cost_usd=2e-6),
)


def record(**changes: Any) -> InvocationRecord:
    return a_record(**({"candidates": LOGGED} | changes))


def chosen(entry: CatalogEntry, logged: InvocationRecord) -> dict[str, float]:
    return {endpoint: chance for endpoint, chance in probabilities(entry, logged).items() if chance}


@pytest.mark.parametrize(("weights", "best"), [(FAST, "aws"), (CHEAP, "azure")])
def test_without_exploration_the_policys_best_is_certain(weights: Weights, best: str) -> None:
    assert chosen(an_entry(weights=weights), record()) == {best: 1.0}


def test_exploration_gives_the_others_their_inverse_gap_share() -> None:
    # a fifth of .05 over two others, each by gap * (1 + gap)^2: 1 and 3
    found = chosen(an_entry(weights=FAST, exploration=0.05), record())
    assert found == pytest.approx({"azure": 0.005 / 4, "gcp": 0.005 / 48, "aws": 1 - 0.005 * 13 / 48})


def test_the_policys_rules_decide_who_may_be_called() -> None:
    assert chosen(an_entry(weights=FAST, denied_providers=frozenset({Provider.AWS})), record()) == {"azure": 1.0}
    assert chosen(an_entry(weights=FAST, residency=frozenset({"us-east4"})), record()) == {"gcp": 1.0}


def test_the_callers_region_counts_as_it_did() -> None:
    assert chosen(an_entry(weights=NEAR), record(user_region="us-west-2")) == {"gcp": 1.0}
    assert chosen(an_entry(weights=NEAR), record(user_region="eu-west-1")) == {"azure": 1.0}


def test_pinned_and_observing_policies_call_one_endpoint() -> None:
    assert chosen(an_entry(mode=Mode.PIN, pinned="gcp"), record()) == {"gcp": 1.0}
    assert chosen(an_entry(mode=Mode.OBSERVE, home="gcp", exploration=0.2), record()) == {"gcp": 1.0}


def test_an_endpoint_without_a_logged_prediction_takes_all_since_nothing_is_known_of_it() -> None:
    two = (a_summary("aws", propensity=0.5), a_summary("gcp", propensity=0.5))
    assert chosen(an_entry(weights=FAST), record(candidates=two)) == {"azure": 1.0}
    assert chosen(an_entry(mode=Mode.PIN, pinned="gcp"), record(candidates=two)) == {"gcp": 1.0}


def test_a_logged_candidate_that_the_file_no_longer_has_is_not_called() -> None:
    entry = an_entry(an_endpoint(Provider.AZURE), an_endpoint(Provider.GCP), weights=FAST)
    assert chosen(entry, record()) == {"azure": 1.0}


def test_a_breaker_that_was_open_stays_open_under_the_new_policy() -> None:
    deprioritised = (a_summary("aws", propensity=0.0, latency_ms=50.0), *LOGGED[1:])
    assert chosen(an_entry(weights=FAST), record(candidates=deprioritised)) == {"azure": 1.0}


def test_whoever_the_log_never_explored_is_not_taken_for_demoted() -> None:
    # one certain endpoint: a home, a pin, or an exploration of 0; the new policy's choice is then not covered
    certain = (a_summary("aws", propensity=0.0, latency_ms=50.0), a_summary("azure"), a_summary("gcp", propensity=0.0))
    assert chosen(an_entry(weights=FAST), record(candidates=certain)) == {"aws": 1.0}


def test_when_all_that_the_new_policy_allows_was_demoted_one_is_tried_all_the_same() -> None:
    deprioritised = (a_summary("aws", propensity=0.0), *LOGGED[1:])
    assert chosen(an_entry(allowed_providers=frozenset({Provider.AWS})), record(candidates=deprioritised)) == {
        "aws": 1.0
    }
