from dataclasses import replace

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.clouds.phases import Phase, fared
from fiso_cli.worlds.clouds.results import Measure, Served, charge, expected_charge, measured, measures
from fiso_cli.worlds.clouds.world import Expected
from fiso_cli.worlds.objective import Objective

ARM = EndpointId("aws/us-east-1/1024")
MEASURE = Measure(usual_ms=200, usual_usd=2e-6, worst_ms=1_000, worst_usd=4e-6)


def served(latency_ms: float = 100, cost_usd: float = 1e-6, *, ok: bool = True, at_s: float = 0.0) -> Served:
    return Served(number=0, at_s=at_s, function="f", arm=ARM, latency_ms=latency_ms, cost_usd=cost_usd, ok=ok)


@pytest.mark.parametrize(
    ("request_", "objective", "expected"),
    [
        (served(), Objective.LATENCY, 100),
        (served(), Objective.COST, 1e-6),
        # (.4 * 100/200 + .3 * 1/2) / .9  and, failed, (.4 * 1000/200 + .3 * 4/2 + .2) / .9
        (served(), Objective.BALANCED, 0.35 / 0.9),
        (served(5, 0.0, ok=False), Objective.LATENCY, 1_000),
        (served(5, 0.0, ok=False), Objective.COST, 4e-6),
        (served(5, 0.0, ok=False), Objective.BALANCED, 2.8 / 0.9),
        (served(28_000, 9e-6, ok=False), Objective.LATENCY, 28_000),
        (served(28_000, 9e-6, ok=False), Objective.COST, 9e-6),
    ],
)
def test_charges_on_numbers_worked_by_hand(request_: Served, objective: Objective, expected: float) -> None:
    assert charge(request_, MEASURE, objective) == pytest.approx(expected)


@pytest.mark.parametrize("objective", list(Objective))
def test_what_is_certain_is_expected_to_be_charged_as_it_is(objective: Objective) -> None:
    certain = Expected(latency_ms=100, cost_usd=1e-6, success=1.0)
    assert expected_charge(certain, MEASURE, objective) == pytest.approx(charge(served(), MEASURE, objective))
    refused = Expected(latency_ms=5, cost_usd=0.0, success=0.0)
    failed = charge(served(5, 0.0, ok=False), MEASURE, objective)
    assert expected_charge(refused, MEASURE, objective) == pytest.approx(failed)


def test_the_measure_is_taken_from_what_single_endpoints_answered() -> None:
    slow, fast = [served(300, 3e-6)] * 3, [served(100, 1e-6), served(5, 0.0, ok=False)]
    assert measures([slow, fast]) == {"f": Measure(usual_ms=200, usual_usd=2e-6, worst_ms=300, worst_usd=3e-6)}


def test_figures_charge_failures_and_count_them() -> None:
    figures = measured([served(), served(5, 0.0, ok=False)], {"f": MEASURE}, Objective.LATENCY)
    assert (figures.mean, figures.success, figures.objective_mean) == (550, 0.5, 550)
    assert figures.cost_per_million == pytest.approx(0.5)


def test_phases_are_told_apart_by_arrival() -> None:
    outage = Outage(provider=Provider.AWS, start_s=10, end_s=20)
    run = [served(at_s=9), served(300, ok=False, at_s=10), served(200, at_s=19), served(at_s=20)]
    found = fared([run, [replace(run[1], ok=True)]], outage)
    assert {phase: seen.requests for phase, seen in found.items()} == {
        Phase.BEFORE: 1,
        Phase.DURING: 3,
        Phase.AFTER: 1,
    }
    assert found[Phase.DURING].success == pytest.approx(2 / 3)
    assert found[Phase.DURING].mean == pytest.approx(800 / 3)


def test_a_phase_without_requests_says_nothing() -> None:
    found = fared([[served(at_s=15)]], Outage(provider=Provider.AWS, start_s=10, end_s=20))
    assert found[Phase.BEFORE].success is None
