"""Calibration over traces made by a known world: what was put in must come out."""

import random
from dataclasses import replace

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds.calibration import calibrated, halves
from fiso_cli.worlds.clouds.fit import fit
from fiso_cli.worlds.clouds.service import Billing, Lognormal, Service, UnderLoad, common_draws, crowding
from fiso_cli.worlds.trace import Measured, Round, Trace
from fiso_cli.worlds.world import Arm

AWS = Arm(provider=Provider.AWS, region="us-east-1", memory_mb=1024)
AZURE = Arm(provider=Provider.AZURE, region="westeurope", memory_mb=0)
ARMS = {AWS.id: AWS, AZURE.id: AZURE}
KNOWN = {
    AWS.id: Service(work=Lognormal(median_ms=300, sigma=0.2), start=Lognormal(median_ms=700, sigma=0.3), failure=0.05),
    AZURE.id: Service(
        work=Lognormal(median_ms=400, sigma=0.3),
        start=Lognormal(median_ms=900, sigma=0.2),
        under_load=UnderLoad(exponent=0.8, spread=0.2),
        billing=Billing(work_share=0.6, start_share=0.0),
    ),
}


def a_trace(rounds: int = 4_000) -> Trace:
    draws = random.Random(0)
    played = []
    for number in range(rounds):
        load, is_cold = draws.choice([(1.0, False), (50.0, False), (50.0, True)])
        calls = {arm: a_call(number, arm, load, is_cold=is_cold) for arm in ARMS}
        played.append(Round(number=number, t=number, function="f", in_flight=load, calls=calls))
    return Trace(name="made.csv", rounds=tuple(played), arms=ARMS)


def a_call(number: int, arm: EndpointId, load: float, *, is_cold: bool) -> Measured:
    service, draws = KNOWN[arm], common_draws(99, number, arm)
    start_ms = service.start.at(draws.start) if is_cold else 0.0
    cost_usd = tariff.current().cost_usd(ARMS[arm].endpoint(), service.billed_ms(draws, start_ms=start_ms))
    assert cost_usd is not None
    return Measured(
        latency_ms=service.latency_ms(draws, crowded=crowding(load, 1), wait_ms=start_ms),
        cost_usd=cost_usd,
        cold=is_cold,
        ok=draws.failure >= service.failure,
    )


@pytest.mark.parametrize("arm", list(KNOWN))
def test_a_known_world_is_found_again(arm: EndpointId) -> None:
    trace, known = a_trace(), KNOWN[arm]
    found = fit(trace.rounds, trace.arms, tariff.current()).services["f"][arm]
    assert found.work.median_ms == pytest.approx(known.work.median_ms, rel=0.03)
    assert found.work.sigma == pytest.approx(known.work.sigma, rel=0.1)
    assert found.under_load.exponent == pytest.approx(known.under_load.exponent, abs=0.03)
    assert found.under_load.spread == pytest.approx(known.under_load.spread, abs=0.05)
    assert found.start.mean_ms == pytest.approx(known.start.mean_ms, rel=0.1)
    assert found.billing.work_share == pytest.approx(known.billing.work_share, rel=0.03)
    assert found.failure == pytest.approx(known.failure, abs=0.015)


def test_billed_starts_are_found_again() -> None:
    trace = a_trace()
    found = fit(trace.rounds, trace.arms, tariff.current()).services["f"]
    assert found[AWS.id].billing.start_share == pytest.approx(1.0, rel=0.15)
    assert found[AZURE.id].billing.start_share == pytest.approx(0.0, abs=0.05)


def test_the_error_is_small_where_the_world_is_of_the_kind_that_is_fitted() -> None:
    calibration = calibrated(a_trace(), tariff.current())
    assert {(cell.arm, cell.load) for cell in calibration.cells} == {(arm, load) for arm in ARMS for load in (1, 50)}
    for name in ("mean", "p95", "cost"):
        summary = calibration.summary(name)
        assert summary is not None
        assert summary["median"] < 0.05
        assert summary["worst"] < 0.12


def test_no_measurement_is_both_fitted_and_judged_however_often_a_trace_draws_it() -> None:
    pool, draws = a_trace(200).rounds, random.Random(1)
    drawn = [replace(draws.choice(pool), number=number) for number in range(2_000)]
    to_fit, to_judge = (
        {(arm, call) for played in half for arm, call in played.calls.items()} for half in halves(drawn)
    )
    assert to_fit.isdisjoint(to_judge)
    assert 0.35 < len(to_fit) / (len(to_fit) + len(to_judge)) < 0.65


def test_functions_that_take_turns_are_both_fitted() -> None:
    trace = a_trace(400)
    turns = [replace(played, function=f"f{played.number % 2}") for played in trace.rounds]
    calibration = calibrated(replace(trace, rounds=tuple(turns)), tariff.current())
    assert {cell.function for cell in calibration.cells} == set(calibration.fitted.services) == {"f0", "f1"}


def test_few_rows_do_not_count_in_the_summary() -> None:
    calibration = calibrated(a_trace(60), tariff.current())
    assert len(calibration.counted) < len(calibration.cells)


def test_an_arm_with_too_few_calls_is_left_out_and_two_must_remain() -> None:
    third = Arm(provider=Provider.GCP, region="us-east4", memory_mb=512)
    trace = a_trace(200)
    rounds = [
        replace(played, calls={**played.calls, **({third.id: played.calls[AWS.id]} if played.number < 3 else {})})
        for played in trace.rounds
    ]
    fitted = fit(rounds, ARMS | {third.id: third}, tariff.current())
    assert (set(fitted.arms), fitted.dropped) == (set(ARMS), (third.id,))
    with pytest.raises(BadInput, match="fewer than two arms"):
        fit(rounds[:3], ARMS, tariff.current())
