"""What data costs on its way is part of a decision's price: by the request's size and the usual answer's."""

from dataclasses import replace

import pytest

from fiso.billing import tariff
from fiso.domain.decision import Prediction
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Weights
from fiso.domain.terms import Account, Link, Terms
from fiso.routing.fold import fold
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso.testing.rig import Rig, http_event, word_count
from tests.builders import NOW, a_record, a_request, a_state, an_attempt, an_endpoint, an_entry

GB = 2**30
HERE = an_endpoint(id=EndpointId("here"), region="us-east-1", memory_mb=512)
ABROAD = an_endpoint(id=EndpointId("abroad"), region="ap-southeast-2", memory_mb=512)
GOOGLE = an_endpoint(Provider.GCP, id=EndpointId("google"), region="us-central1", memory_mb=512)
COST = Weights(latency=0, cost=1, reliability=0, region_affinity=0)
ENTRY = an_entry(HERE, ABROAD, GOOGLE, weights=COST, exploration=0.0)
INPUTS = DecisionInputs(entry=ENTRY, snapshot_version=1, tariff=tariff.current(), router_region="us-east-1")


def predicted(body: bytes = b"", answers: float | None = None, **changes: object) -> dict[str, Prediction]:
    states = {} if answers is None else {HERE.id: a_state(HERE.id, answer_bytes=answers)}
    decision = decide(a_request(body=body), replace(INPUTS, states=states, **changes), now=NOW, draw=0.0)  # type: ignore[arg-type]
    return {candidate.endpoint.id: candidate.prediction for candidate in decision.ranking}


def test_a_request_leaves_the_routers_cloud_and_an_answer_its_own() -> None:
    found = predicted(b"x" * 4096, answers=1e6)
    sent = 768 * 8  # the middle of its octave
    assert found["here"].transfer_usd == 0
    assert found["abroad"].transfer_usd == pytest.approx((sent * 0.02 + 1e6 * 0.098) / GB)
    assert found["google"].transfer_usd == pytest.approx((sent * 0.09 + 1e6 * 0.12) / GB)
    price, cost = found["google"].price_usd, found["google"].cost_usd
    assert cost is not None
    assert price == cost + found["google"].transfer_usd


def test_large_answers_move_traffic_to_where_they_cost_nothing() -> None:
    assert next(iter(predicted(answers=5e6))) == "here"
    cheap = replace(ENTRY, endpoints=(replace(HERE, region="af-south-1"), GOOGLE))
    assert next(iter(predicted(answers=None, entry=cheap))) == "google"
    assert next(iter(predicted(answers=5e6, entry=cheap, router_region="af-south-1"))) == "here"


def test_a_private_link_is_the_operators_own_price() -> None:
    there = Link(origin="aws", destination="gcp", usd_per_gb=0.01)
    back = Link(origin="gcp/us-central1", destination="aws", usd_per_gb=0.02)
    terms = Terms(links=(there, back))
    found = predicted(answers=GB, tariff=tariff.current().under(terms))
    assert found["google"].transfer_usd == pytest.approx(0.02, rel=1e-3)


def test_without_a_region_of_the_router_nothing_is_added() -> None:
    assert {p.transfer_usd for p in predicted(b"x" * 10**6, answers=1e6, router_region=None).values()} == {0.0}


def test_what_is_kept_of_one_size_is_not_used_for_another() -> None:
    cache: RankingCache = DecisionCache()
    for size in (100, 1_000_000, 100):
        request = a_request(body=b"x" * size)
        kept = decide(request, INPUTS, now=NOW, draw=0.0, cache=cache)
        anew = decide(request, INPUTS, now=NOW, draw=0.0)
        assert [c.prediction.transfer_usd for c in kept.ranking] == [c.prediction.transfer_usd for c in anew.ranking]


def test_the_size_of_answers_is_folded_from_good_ones() -> None:
    states = fold({}, a_record(response_size_bytes=1000))
    endpoint = next(id for id, state in states.items() if state.answer_bytes is not None)
    assert states[endpoint].answer_bytes == 1000
    states = fold(states, a_record(2, response_size_bytes=2000))
    assert states[endpoint].answer_bytes == pytest.approx(1100)
    failed = a_record(3, response_size_bytes=9, attempts=(an_attempt(endpoint, status=500),))
    assert fold(states, failed)[endpoint].answer_bytes == pytest.approx(1100)


def test_a_routers_decision_and_its_record_are_at_the_operators_own_terms() -> None:
    half = Account(discount=0.5)
    listed, own = Rig(), Rig(replace(word_count(), prices=Terms(aws=half, azure=half, gcp=half)))
    for rig in (listed, own):
        rig.send(http_event())
    (whole, paid) = (rig.only_record for rig in (listed, own))
    assert whole.result.cost_usd is not None
    assert paid.result.cost_usd == pytest.approx(0.5 * whole.result.cost_usd)
    before = {candidate.endpoint: candidate.cost_usd or 0.0 for candidate in whole.decision.candidates}
    for candidate in paid.decision.candidates:
        assert candidate.cost_usd == pytest.approx(0.5 * before[candidate.endpoint])
