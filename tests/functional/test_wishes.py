"""What a caller wishes for one request: it narrows what the policy allows, is refused where it cannot be had, and is
logged."""

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Idempotent, Mode
from fiso.domain.request import Prefer, Steering
from fiso.domain.steering import Wish
from fiso.testing.rig import Rig, word_count
from fiso_client.core.failures import Failure
from tests.builders import a_request, an_entry
from tests.functional.test_policy_decisions import decided, order

pytestmark = pytest.mark.usefixtures("each_door")

AWS, AZURE, GCP = "aws-us-east-1", "azure-eastus", "gcp-us-east4"


def steering_with(prefer: str) -> Steering:
    return Steering(prefer=Prefer(prefer))


def called(rig: Rig, times: int = 5, **headers: str) -> set[str]:
    before = len(rig.calls)
    for _ in range(times):
        assert rig.invoke("word-count", **headers).status == 200
    return set(rig.calls[before:])


@pytest.mark.parametrize("named", [AWS, "aws", "us-east-1", " AWS , other-place"])
def test_an_endpoint_a_provider_or_a_region_is_excluded(named: str) -> None:
    rig = Rig(word_count(exploration=0.5))
    assert AWS not in called(rig, 40, x_fiso_exclude=named)


def test_who_is_excluded_is_not_called_for_failover_either() -> None:
    rig = Rig(word_count(idempotent=Idempotent.YES))
    for endpoint in (AZURE, GCP):
        rig.fail(endpoint, Failure.UNREACHABLE)
    answer = rig.invoke("word-count", x_fiso_exclude="aws")
    assert answer.status == 503
    assert EndpointId(AWS) not in rig.calls


def test_an_exclusion_that_leaves_nobody_is_refused_with_the_reason_of_each() -> None:
    rig = Rig(word_count(denied_providers=frozenset({Provider.GCP})))
    answer = rig.invoke("word-count", x_fiso_exclude="aws,eastus")
    assert answer.status == 503
    assert "aws-us-east-1: the request excludes aws" in answer.document["detail"]
    assert "azure-eastus: the request excludes eastus" in answer.document["detail"]
    assert "gcp-us-east4: provider gcp is denied" in answer.document["detail"]
    assert rig.calls == []
    assert [e.code for e in rig.only_record.decision.exclusions] == []
    assert rig.only_record.decision.wish == "exclude=aws,eastus"


def test_a_price_that_nobody_is_predicted_to_keep_is_refused_and_one_that_somebody_keeps_is_kept() -> None:
    rig = Rig()
    called(rig, 3)
    refused = rig.invoke("word-count", x_fiso_max_cost="1e-12")
    assert refused.status == 503
    assert "USD at most" in refused.document["detail"]
    costs = {c.endpoint: c.cost_usd for c in rig.records[0].decision.candidates}
    cheapest = min(costs, key=lambda endpoint: costs[endpoint] or 1.0)
    assert called(rig, 5, x_fiso_max_cost=f"{(costs[cheapest] or 0) * 1.000001:.12f}") == {cheapest}
    kept = rig.records[-1].decision
    assert {e.code for e in kept.exclusions} == {"wish_max_cost"}


def test_what_is_preferred_has_the_weight_of_both() -> None:
    entry = an_entry()
    chosen = {
        prefer: order(decided(entry, request=a_request(steering=steering_with(prefer))))[0]
        for prefer in ("latency", "cost")
    }
    assert chosen == {"latency": "aws", "cost": "gcp"}


def test_a_preference_moves_nobody_past_a_tier_or_a_limit() -> None:
    entry = an_entry(tiers=(frozenset({EndpointId("azure")}),))
    assert order(decided(entry, request=a_request(steering=steering_with("cost"))))[0] == "azure"
    limited = an_entry(max_p95_ms=300.0)
    assert order(decided(limited, request=a_request(steering=steering_with("cost"))))[0] == "azure"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x_fiso_max_cost", "free"),
        ("x_fiso_max_cost", "-1"),
        ("x_fiso_max_cost", "0"),
        ("x_fiso_max_cost", "nan"),
        ("x_fiso_max_cost", "inf"),
        ("x_fiso_max_cost", ""),
        ("x_fiso_max_cost", "1e999"),
        ("x_fiso_prefer", "speed"),
        ("x_fiso_prefer", "latency,cost"),
        ("x_fiso_exclude", ""),
        ("x_fiso_exclude", "aws,,gcp"),
        ("x_fiso_exclude", "a b"),
        ("x_fiso_exclude", ",".join(["aws"] * 33)),
        ("x_fiso_exclude", "é"),
    ],
)
def test_an_ill_formed_wish_is_refused_and_nothing_is_called(header: str, value: str) -> None:
    rig = Rig()
    answer = rig.invoke("word-count", **{header: value})
    assert (answer.status, rig.calls, rig.records) == (400, [], [])
    assert header.replace("_", "-") in answer.document["detail"]


def test_a_wish_that_the_policy_lets_nobody_have_is_refused_rather_than_left_out() -> None:
    rig = Rig(word_count(wishes=frozenset({Wish.PREFER})))
    assert rig.invoke("word-count", x_fiso_prefer="cost").status == 200
    answer = rig.invoke("word-count", x_fiso_exclude="gcp")
    assert answer.status == 400
    assert "lets no caller send x-fiso-exclude" in answer.document["detail"]


def test_a_wish_widens_nothing_in_modes_pin_and_observe() -> None:
    pinned = Rig(word_count(mode=Mode.PIN, pinned=EndpointId(AWS)))
    assert pinned.invoke("word-count", x_fiso_exclude="aws").status == 503
    observed = Rig(word_count(mode=Mode.OBSERVE, home=EndpointId(AWS)))
    assert observed.invoke("word-count", x_fiso_exclude="aws").status == 503
    assert (pinned.calls, observed.calls) == ([], [])


def test_the_wish_stands_in_the_record_in_one_form() -> None:
    rig = Rig()
    rig.invoke("word-count", x_fiso_exclude="gcp, azure", x_fiso_prefer="COST", x_fiso_max_cost="0.50")
    assert rig.only_record.decision.wish == "max_cost=0.5;prefer=cost;exclude=azure,gcp"
    assert sum(c.propensity for c in rig.only_record.decision.candidates) == pytest.approx(1)


def test_requests_with_and_without_a_wish_do_not_share_what_was_worked_out() -> None:
    rig = Rig()
    called(rig, 10)
    assert GCP not in called(rig, 5, x_fiso_exclude="gcp") | called(rig, 5, x_fiso_exclude="gcp")
    assert {c.endpoint for c in rig.records[0].decision.candidates} == {AWS, AZURE, GCP}
    rig.invoke("word-count")
    assert {c.endpoint for c in rig.records[-1].decision.candidates} == {AWS, AZURE, GCP}


def test_explain_tells_what_the_wish_does() -> None:
    rig = Rig()
    document = rig.request("POST", "/v1/explain/word-count", x_fiso_exclude="aws", x_fiso_prefer="latency").document
    assert [e["code"] for e in document["exclusions"]] == ["wish_excluded"]
    assert [note["code"] for note in document["notes"]] == ["wish_prefers_latency"]
