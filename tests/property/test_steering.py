"""Laws of steering: chances sum to 1, no wish reaches what the policy forbids, no session an open breaker."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fiso.billing import tariff
from fiso.domain.decision import Decision, Reason
from fiso.domain.endpoint import EndpointId, Provider, Region
from fiso.domain.errors import NothingAvailable
from fiso.domain.request import InvocationId, InvocationRequest, Prefer, Session, Steering
from fiso.domain.steering import Affinity, Canary
from fiso.routing.affinity import cookie_for
from fiso.routing.selection import capped
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso_client.core.breaker import CLOSED, Breaker
from tests.builders import NOW, a_request, an_entry, states_after, three_endpoints

ENTRY = an_entry()
IDS = [endpoint.id for endpoint in three_endpoints()]
STATES = states_after(20, {"aws": 80.0, "azure": 110.0, "gcp": 140.0}, every_s=0.1)
OPEN = Breaker(opened_until=NOW + timedelta(seconds=20), changed_at=NOW)
BACK = Breaker(returned_at=NOW, out_for_s=10.0, changed_at=NOW)

places = st.sampled_from([*IDS, *map(str, Provider), *(endpoint.region for endpoint in three_endpoints()), "nowhere"])
wishes = st.builds(
    Steering,
    max_cost_usd=st.none() | st.floats(1e-9, 1e-3),
    prefer=st.none() | st.sampled_from(Prefer),
    exclude=st.frozensets(places, max_size=2),
)
breakers = st.dictionaries(st.sampled_from(IDS), st.sampled_from([OPEN, BACK, CLOSED]))
affinities = st.none() | st.sampled_from([Affinity(header="x-session"), Affinity(cookie="c")])
canaries = st.none() | st.builds(
    Canary, endpoint=st.sampled_from(IDS), shares=st.sampled_from([(0.05,), (0.5,), (1.0,)])
)
tiers = st.sampled_from([(), (frozenset({IDS[0]}),), (frozenset({IDS[1]}), frozenset({IDS[2]}))])


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Decision, DecisionInputs, InvocationRequest]:
    """Some request under some policy, decided twice: anew, and by what the cache kept of the first."""
    policy: dict[str, Any] = {
        "affinity": draw(affinities),
        "canary": draw(canaries),
        "tiers": draw(tiers),
        "exploration": draw(st.sampled_from([0.0, 0.05, 0.5])),
        "denied_providers": draw(st.frozensets(st.sampled_from(list(Provider)), max_size=2)),
        "residency": draw(st.sampled_from([frozenset(), frozenset({Region("us-east-1"), Region("us-east4")})])),
    }
    entry = an_entry(**policy)
    inputs = DecisionInputs(
        entry=entry, snapshot_version=1, tariff=tariff.current(), states=STATES, breakers=draw(breakers)
    )
    session = str(draw(st.sampled_from(IDS)))
    rules = entry.policy.affinity
    if rules and rules.cookie:
        session = cookie_for(rules, EndpointId(session), a_request()).partition("=")[2].partition(";")[0]
    request = a_request(
        invocation_id=InvocationId(draw(st.uuids().map(str))),
        steering=draw(wishes),
        session=Session(value=session, path="/") if draw(st.booleans()) else None,
    )
    cache: RankingCache = DecisionCache()
    number = draw(st.floats(0, 1, exclude_max=True))
    try:
        decided = [decide(request, inputs, now=NOW, draw=number, cache=cache) for _ in range(2)]
    except NothingAvailable:
        assume(False)
        raise
    assert decided[0] == decided[1] == decide(request, inputs, now=NOW, draw=number)
    return decided[0], inputs, request


@given(decisions())
def test_chances_sum_to_1_and_the_chosen_one_has_some(
    case: tuple[Decision, DecisionInputs, InvocationRequest],
) -> None:
    decision, _, _ = case
    assert sum(candidate.propensity for candidate in decision.ranking) == pytest.approx(1)
    assert all(0 <= candidate.propensity <= 1 for candidate in decision.ranking)
    assert decision.chosen.propensity > 0


@given(decisions())
def test_no_wish_and_no_session_reaches_what_policy_or_wish_forbid(
    case: tuple[Decision, DecisionInputs, InvocationRequest],
) -> None:
    decision, inputs, request = case
    policy, excluded = inputs.entry.policy, request.steering.exclude
    for candidate in decision.ranking:
        endpoint = candidate.endpoint
        assert endpoint.provider not in policy.denied_providers
        assert not policy.residency or endpoint.region in policy.residency
        assert excluded.isdisjoint({endpoint.id, endpoint.provider, endpoint.region})


@given(decisions())
def test_neither_session_nor_canary_goes_to_an_open_breaker_while_another_copy_is_available(
    case: tuple[Decision, DecisionInputs, InvocationRequest],
) -> None:
    decision, inputs, _ = case
    open_now = {id for id, breaker in inputs.breakers.items() if breaker is OPEN}
    if {candidate.endpoint.id for candidate in decision.ranking} <= open_now:
        return
    assert decision.chosen.endpoint.id not in open_now
    assert all(c.propensity == 0 for c in decision.ranking if c.endpoint.id in open_now)


@given(decisions())
def test_a_session_chooses_with_certainty_and_says_so(
    case: tuple[Decision, DecisionInputs, InvocationRequest],
) -> None:
    decision, _, _ = case
    if decision.reason is Reason.AFFINITY:
        assert (decision.is_sticky, decision.chosen.propensity) == (True, 1.0)


@given(decisions())
def test_a_tier_holds_for_all_but_the_canary(case: tuple[Decision, DecisionInputs, InvocationRequest]) -> None:
    decision, inputs, _ = case
    policy = inputs.entry.policy
    canary = policy.canary.endpoint if policy.canary else None
    ready = [c.endpoint.id for c in decision.ranking if inputs.breakers.get(c.endpoint.id) is not OPEN]

    def tier(id: EndpointId) -> int:
        return next((number for number, tier in enumerate(policy.tiers) if id in tier), len(policy.tiers))

    ordinary = [id for id in ready if id != canary] or ready
    chosen = decision.chosen.endpoint.id
    assert not ready or chosen == canary or tier(chosen) == min(map(tier, ordinary))


chances = st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda xs: sum(xs) > 0.01)


@given(chances.map(lambda xs: [x / sum(xs) for x in xs]), st.data())
def test_capped_chances_sum_to_1_and_keep_their_caps_where_anybody_has_none(
    given_chances: list[float], data: st.DataObject
) -> None:
    size = len(given_chances)
    caps = data.draw(st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=size, max_size=size))
    found = capped(given_chances, caps)
    assert sum(found) == pytest.approx(1)
    if 1.0 in caps:
        assert all(chance <= cap + 1e-12 for chance, cap in zip(found, caps, strict=True))
    else:
        assert found == tuple(given_chances)
