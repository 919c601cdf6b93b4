"""What an operator asks for, as decisions keep it: limits, tiers, objectives, strategies, control blocks."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fiso.billing import tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Objective, Weights
from fiso.domain.request import InvocationRequest
from fiso.domain.state import EndpointState, LoadLevel
from fiso.domain.strategy import CandidateField, Condition, Operator, RequestField, Strategy
from fiso.routing.constraints import is_control
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso_client.core.breaker import Breaker
from tests.builders import NOW, a_request, an_entry

LATENCY_MS = {EndpointId("aws"): 100.0, EndpointId("azure"): 150.0, EndpointId("gcp"): 400.0}
COST_USD = {EndpointId("aws"): 9e-6, EndpointId("azure"): 3e-6, EndpointId("gcp"): 1e-6}


def states() -> dict[EndpointId, EndpointState]:
    function = an_entry().name
    found = {}
    for endpoint, latency_ms in LATENCY_MS.items():
        level = LoadLevel(
            answers=200,
            warm=200,
            latency_ms=latency_ms,
            latency_square=latency_ms**2 * 1.01,
            recent_ms=latency_ms,
            cost_usd=COST_USD[endpoint],
            last_at=NOW,
        )
        found[endpoint] = EndpointState(
            function=function, endpoint=endpoint, attempts=200, last_called_at=NOW, levels={0: level}, warm_answers=200
        )
    return found


def decided(
    entry: CatalogEntry,
    *,
    now: datetime = NOW,
    draw: float = 0.0,
    opened: tuple[str, ...] = (),
    request: InvocationRequest | None = None,
) -> Decision:
    until = now + timedelta(seconds=20)
    breakers = {EndpointId(id): Breaker(failures_in_row=5, trips_in_row=1, opened_until=until) for id in opened}
    inputs = DecisionInputs(
        entry=entry, snapshot_version=1, tariff=tariff.current(), states=states(), breakers=breakers
    )
    asked = request or a_request()
    fresh = decide(asked, inputs, now=now, draw=draw)
    assert decide(asked, inputs, now=now, draw=draw, cache=DecisionCache()) == fresh
    return fresh


def order(decision: Decision) -> list[str]:
    return [candidate.endpoint.id for candidate in decision.ranking]


def test_the_cheapest_that_keeps_the_latency_objective_is_called() -> None:
    def cheapest(objective_ms: float) -> Decision:
        return decided(an_entry(objective=Objective.CHEAPEST_WITHIN, latency_objective_ms=objective_ms))

    assert order(cheapest(1_000)) == ["gcp", "azure", "aws"]
    assert order(cheapest(250)) == ["azure", "aws", "gcp"]
    assert order(cheapest(140)) == ["aws", "azure", "gcp"]
    assert order(cheapest(10)) == ["aws", "azure", "gcp"]  # nobody keeps it: the lowest p95


def test_nothing_is_tried_that_misses_the_latency_objective() -> None:
    entry = an_entry(objective=Objective.CHEAPEST_WITHIN, latency_objective_ms=250, exploration=0.5)
    chances = {str(c.endpoint.id): c.propensity for c in decided(entry).ranking}
    assert chances["gcp"] == 0
    assert chances["aws"] > 0


def test_a_limit_excludes_what_is_predicted_beyond_it() -> None:
    decision = decided(an_entry(max_p95_ms=250.0))
    assert set(order(decision)) == {"aws", "azure"}
    (exclusion,) = decision.exclusions
    assert (exclusion.endpoint, exclusion.code) == ("gcp", "max_p95_ms")


def test_a_limit_that_nobody_keeps_is_left_out_and_said() -> None:
    decision = decided(an_entry(max_p95_ms=10.0))
    assert len(decision.ranking) == 3
    assert [note.code for note in decision.notes] == ["max_p95_ms_left_out"]


def test_a_later_tier_stands_behind_and_steps_in_when_the_first_is_away() -> None:
    entry = an_entry(tiers=(frozenset({EndpointId("gcp")}),), exploration=0.5)
    calm = decided(entry, draw=0.999)
    assert order(calm)[0] == "gcp"
    assert [candidate.propensity for candidate in calm.ranking] == [1.0, 0.0, 0.0]
    away = decided(entry, opened=("gcp",))
    assert order(away)[0] != "gcp"
    assert order(away)[-1] == "gcp"
    assert away.ranking[-1].is_deprioritised


@pytest.mark.parametrize(("hour", "best"), [(9, "gcp"), (3, "aws")])
def test_a_strategy_prefers_by_the_hour(hour: int, best: str) -> None:
    strategy = Strategy(
        name="days_on_google",
        when=frozenset({Condition(field=RequestField.HOUR_OF_DAY, operator=Operator.BETWEEN, values=(9, 17))}),
        candidates=frozenset(
            {Condition(field=CandidateField.PROVIDER, operator=Operator.IS, values=(Provider.GCP.value,))}
        ),
        factor=5.0,
    )
    weights = replace(an_entry().policy.weights, cost=0.0)
    decision = decided(an_entry(strategies=(strategy,), weights=weights), now=NOW.replace(hour=hour))
    assert order(decision)[0] == best
    assert ("strategy:days_on_google" in decision.chosen.score.terms) == (best == "gcp")


def test_a_control_block_goes_home_whole_and_the_others_are_routed() -> None:
    entry = an_entry(home=EndpointId("gcp"), control_share=0.5, control_block_s=3600, exploration=0.5)
    hours = [NOW + timedelta(hours=number) for number in range(40)]
    in_control = [at for at in hours if is_control(entry.name, at, share=0.5, block_s=3600)]
    assert 8 < len(in_control) < 32
    for at in hours:
        decision = decided(entry, now=at, draw=0.3)
        assert (decision.reason is Reason.CONTROL) == (at in in_control)
        if at in in_control:
            assert order(decision)[0] == "gcp"
            assert decision.chosen.propensity == 1.0
    routed = decided(entry, now=in_control[0], opened=("gcp",))
    assert routed.reason is not Reason.CONTROL


def test_when_every_breaker_is_open_nobody_is_demoted() -> None:
    everybody = decided(an_entry(), opened=("aws", "azure", "gcp"))
    assert order(everybody)[0] == order(decided(an_entry()))[0]
    assert not any(c.is_deprioritised for c in everybody.ranking)


def test_a_copy_that_is_back_gets_its_share_and_the_others_the_rest() -> None:
    back = {EndpointId("aws"): Breaker(returned_at=NOW, out_for_s=10.0, changed_at=NOW)}
    inputs = DecisionInputs(
        entry=an_entry(weights=Weights(cost=0, reliability=0, region_affinity=0)),
        snapshot_version=1,
        tariff=tariff.current(),
        states=states(),
        breakers=back,
    )

    def at(past_s: float, draw: float) -> Decision:
        return decide(a_request(), inputs, now=NOW + timedelta(seconds=past_s), draw=draw)

    assert [c.propensity for c in at(0, 0.05).ranking] == pytest.approx([0.1, 0.9, 0.0])
    assert (order(at(0, 0.05))[0], at(0, 0.05).reason) == ("aws", Reason.SCORE)
    assert (order(at(0, 0.5))[0], at(0, 0.5).reason) == ("azure", Reason.SCORE)
    assert order(at(5, 0.3))[0] == "aws"
    assert [c.propensity for c in at(10, 0.5).ranking] == [1.0, 0.0, 0.0]


def test_a_copy_that_is_back_gets_everything_where_it_is_the_only_one_available() -> None:
    until = NOW + timedelta(seconds=20)
    breakers = {
        EndpointId("aws"): Breaker(returned_at=NOW, out_for_s=10.0, changed_at=NOW),
        EndpointId("azure"): Breaker(opened_until=until),
        EndpointId("gcp"): Breaker(opened_until=until),
    }
    inputs = DecisionInputs(
        entry=an_entry(), snapshot_version=1, tariff=tariff.current(), states=states(), breakers=breakers
    )
    decision = decide(a_request(), inputs, now=NOW, draw=0.99)
    assert order(decision)[0] == "aws"
    assert decision.chosen.propensity == 1.0
