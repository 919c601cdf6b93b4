from dataclasses import replace

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.worlds.clouds.charges import CloudJudge, Expected, Measure, measures
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.figures import judged
from fiso_cli.worlds.objective import Objective, Usual
from fiso_cli.worlds.report import Phase, fared
from fiso_cli.worlds.world import Result

ARM = EndpointId("aws/us-east-1/1024")
MEASURE = Measure(usual=Usual(latency_ms=200, cost_usd=2e-6), worst_ms=1_000, worst_usd=4e-6)


def result(latency_ms: float = 100, cost_usd: float = 1e-6, *, ok: bool = True, at_s: float = 0.0) -> Result:
    return Result(number=0, at_s=at_s, function="f", arm=ARM, latency_ms=latency_ms, cost_usd=cost_usd, ok=ok)


def judge(objective: Objective) -> CloudJudge:
    return CloudJudge(objective, {"f": MEASURE})


@pytest.mark.parametrize(
    ("request_", "objective", "expected"),
    [
        (result(), Objective.LATENCY, 100),
        (result(), Objective.COST, 1e-6),
        # (.4 * 100/200 + .3 * 1/2) / .9  and, failed, (.4 * 1000/200 + .3 * 4/2 + .2) / .9
        (result(), Objective.BALANCED, 0.35 / 0.9),
        (result(5, 0.0, ok=False), Objective.LATENCY, 1_000),
        (result(5, 0.0, ok=False), Objective.COST, 4e-6),
        (result(5, 0.0, ok=False), Objective.BALANCED, 2.8 / 0.9),
        (result(28_000, 9e-6, ok=False), Objective.LATENCY, 28_000),
        (result(28_000, 9e-6, ok=False), Objective.COST, 9e-6),
    ],
)
def test_charges_on_numbers_worked_by_hand(request_: Result, objective: Objective, expected: float) -> None:
    assert judge(objective).charge(request_) == pytest.approx(expected)


@pytest.mark.parametrize("objective", list(Objective))
def test_what_is_certain_is_expected_to_be_charged_as_it_is(objective: Objective) -> None:
    certain = Expected(latency_ms=100, cost_usd=1e-6, success=1.0)
    assert judge(objective).expected("f", certain) == pytest.approx(judge(objective).charge(result()))
    refused = Expected(latency_ms=5, cost_usd=0.0, success=0.0)
    failed = judge(objective).charge(result(5, 0.0, ok=False))
    assert judge(objective).expected("f", refused) == pytest.approx(failed)


def test_the_measure_is_taken_from_what_single_endpoints_answered() -> None:
    slow, fast = [result(300, 3e-6)] * 3, [result(100, 1e-6), result(5, 0.0, ok=False)]
    assert measures([slow, fast]) == {
        "f": Measure(usual=Usual(latency_ms=200, cost_usd=2e-6), worst_ms=300, worst_usd=3e-6)
    }


def test_figures_charge_failures_and_count_them() -> None:
    figures = judged([result(), result(5, 0.0, ok=False)], judge(Objective.LATENCY)).figures
    assert (figures.mean, figures.success, figures.objective_mean) == (550, 0.5, 550)
    assert figures.cost_per_million == pytest.approx(0.5)


def test_phases_are_told_apart_by_arrival() -> None:
    outage = Outage(provider=Provider.AWS, start_s=10, end_s=20)
    run = [result(at_s=9), result(300, ok=False, at_s=10), result(200, at_s=19), result(at_s=20)]
    found = fared([run, [replace(run[1], ok=True)]], outage)
    assert {phase: seen["requests"] for phase, seen in found.items()} == {
        Phase.BEFORE: 1,
        Phase.DURING: 3,
        Phase.AFTER: 1,
    }
    assert found[Phase.DURING]["success"] == pytest.approx(2 / 3)
    assert found[Phase.DURING]["mean"] == pytest.approx(800 / 3)


def test_a_phase_without_requests_says_nothing() -> None:
    found = fared([[result(at_s=15)]], Outage(provider=Provider.AWS, start_s=10, end_s=20))
    assert found[Phase.BEFORE]["success"] is None
