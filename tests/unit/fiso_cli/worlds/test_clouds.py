import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.prediction import facts
from fiso_cli.worlds.clouds.clouds import CloudWorld
from fiso_cli.worlds.clouds.outages import Kind, Outage
from fiso_cli.worlds.clouds.service import Lognormal, UnderLoad, crowding
from fiso_cli.worlds.world import CallResult
from fiso_client.core.failures import Failure
from tests.unit.fiso_cli.worlds.settings import AWS_ID, AZURE, AZURE_ID, GCP_ID, HALF, a_call, a_service, some_clouds


def at_times(world: CloudWorld, times: Sequence[float], arm: EndpointId = AWS_ID) -> list[CallResult]:
    return [world.call(a_call(number, arm), at_s) for number, at_s in enumerate(times)]


def test_a_free_warm_instance_is_used_again_and_a_new_one_starts_only_when_all_are_busy() -> None:
    seen = at_times(CloudWorld(some_clouds(), seed=0), [0.0, 1.0, 1.05, 1.7])
    assert [call.cold for call in seen] == [True, False, True, False]
    assert [call.latency_ms for call in seen] == pytest.approx([600, 100, 600, 100])


@pytest.mark.parametrize(("idle_s", "share"), [(30.0, 0.0), (300.0, 0.5), (700.0, 1.0)])
def test_cold_starts_follow_the_curve(idle_s: float, share: float) -> None:
    clouds = replace(some_clouds(), curves=dict.fromkeys(Provider, HALF))
    seen = at_times(CloudWorld(clouds, seed=3), [number * (idle_s + 1) for number in range(600)])
    assert fmean(bool(call.cold) for call in seen[1:]) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("in_flight", [1, 2, 10, 50])
def test_crowding_at_one_instance_is_the_rule_that_the_router_is_told(in_flight: float) -> None:
    assert crowding(in_flight, 1) == pytest.approx(facts.slowdown(AZURE.endpoint(), in_flight))


def test_azure_shares_instances_so_that_a_burst_slows_down_and_aws_does_not() -> None:
    warm_up = [0.0]
    burst = [10.0 + number / 1000 for number in range(20)]
    on_azure = at_times(CloudWorld(some_clouds(), seed=0), warm_up + burst, AZURE_ID)[1:]
    assert not any(call.cold for call in on_azure)
    assert on_azure[0].latency_ms == pytest.approx(150)
    assert on_azure[-1].latency_ms == pytest.approx(150 * facts.slowdown(AZURE.endpoint(), 20))
    on_aws = at_times(CloudWorld(some_clouds(), seed=0), warm_up + burst, AWS_ID)[1:]
    assert [call.latency_ms for call in on_aws] == pytest.approx([100] + [600] * 19)


def test_azure_adds_at_most_one_instance_a_second() -> None:
    """Calls of 100 s at one in flight per instance: each call's slowdown tells how many instances there are."""
    slow = a_service(100_000.0, start=Lognormal(median_ms=1.0), under_load=UnderLoad(exponent=1.0))
    world = CloudWorld(some_clouds(services={AZURE_ID: slow}), seed=0)
    seen = [world.call(a_call(number, AZURE_ID, timeout_ms=1e9), number / 4) for number in range(41)]
    factors = [call.latency_ms / 100_000 for call in seen]
    instances = [next(m for m in range(1, 50) if crowding(n + 1, m) <= f * 1.0001) for n, f in enumerate(factors)]
    assert all(later - earlier <= 1 for earlier, later in zip(instances[::4], instances[4::4], strict=False))
    assert 8 <= instances[-1] <= 11


def test_the_same_request_on_the_same_arm_meets_the_same_draws_whatever_came_before() -> None:
    varied = a_service(work=Lognormal(median_ms=100, sigma=0.5), failure=0.1)
    clouds = some_clouds(services={AWS_ID: varied})
    alone, after_others = CloudWorld(clouds, seed=7), CloudWorld(clouds, seed=7)
    for number in range(50):
        after_others.call(a_call(number, GCP_ID), number)
    picked = random.Random(0).sample(range(50, 200), 100)
    first = [alone.call(a_call(number), 1_000 + 10 * number) for number in range(50, 200)]
    then = {number: after_others.call(a_call(number), 1_000 + 10 * number) for number in sorted(picked)}
    known = dict(zip(range(50, 200), first, strict=True))
    assert all(then[n].failure == known[n].failure for n in picked)
    both_warm = [n for n in picked if not then[n].cold and not known[n].cold]
    assert len(both_warm) > 80
    assert all(then[n].latency_ms == known[n].latency_ms for n in both_warm)
    assert len({known[n].latency_ms for n in both_warm}) > 80


@pytest.mark.parametrize(
    ("kind", "failure", "latency_ms"),
    [(Kind.REFUSE, Failure.UNREACHABLE, 5), (Kind.TIME_OUT, Failure.TIMED_OUT, 3_000), (Kind.SLOW, None, 2_000)],
)
def test_an_outage_hits_its_provider_and_ends(kind: Kind, failure: Failure | None, latency_ms: float) -> None:
    outage = Outage(provider=Provider.AWS, start_s=10, end_s=20, kind=kind)
    world = CloudWorld(some_clouds(outage), seed=0)
    before, during, after = (
        world.call(a_call(number, timeout_ms=3_000), at_s) for number, at_s in enumerate((5.0, 10.0, 20.0))
    )
    assert (before.failure, after.failure) == (None, None)
    assert during.failure is failure
    assert during.latency_ms == pytest.approx(latency_ms)
    assert world.call(a_call(9, GCP_ID), 21.0).failure is None
    assert world.expected("f", AWS_ID, 15.0).success == (1.0 if kind is Kind.SLOW else 0.0)


def test_an_outage_of_a_region_leaves_the_others_alone() -> None:
    elsewhere = Outage(provider=Provider.AWS, region="eu-west-1", start_s=0, end_s=100)
    assert CloudWorld(some_clouds(elsewhere), seed=0).call(a_call(), 1.0).failure is None


def test_who_waits_no_longer_is_told_nothing_but_the_call_is_paid_for() -> None:
    late = CloudWorld(some_clouds(), seed=0).call(a_call(timeout_ms=50), 0.0)
    assert (late.failure, late.latency_ms) == (Failure.TIMED_OUT, 50)
    assert late.cost_usd > 0


def test_a_call_costs_what_the_tariff_says_of_its_work_and_its_start() -> None:
    clouds = some_clouds()
    cold, warm = at_times(CloudWorld(clouds, seed=0), [0.0, 10.0])
    price = clouds.tariff.cost_usd
    assert cold.cost_usd == price(clouds.endpoints[AWS_ID], 600.0)
    assert warm.cost_usd == price(clouds.endpoints[AWS_ID], 100.0)


def test_failures_come_as_often_as_is_said() -> None:
    clouds = some_clouds(services={AWS_ID: a_service(failure=0.2)})
    seen = at_times(CloudWorld(clouds, seed=1), [float(number) for number in range(1_000)])
    assert fmean(call.failure is Failure.PROVIDER_FAULT for call in seen) == pytest.approx(0.2, abs=0.04)


def test_what_is_expected_is_the_mean_of_what_happens() -> None:
    varied = a_service(
        work=Lognormal(median_ms=100, sigma=0.6), start=Lognormal(median_ms=500, sigma=0.5), network_ms=20.0
    )
    clouds = some_clouds(services={AWS_ID: varied})
    cold = [CloudWorld(clouds, seed=seed).call(a_call(seed), 0.0).latency_ms for seed in range(3_000)]
    assert CloudWorld(clouds, seed=0).expected("f", AWS_ID, 0.0).latency_ms == pytest.approx(fmean(cold), rel=0.04)
    world = CloudWorld(clouds, seed=0)
    world.call(a_call(), 0.0)
    warm = world.expected("f", AWS_ID, 30.0).latency_ms
    assert warm == pytest.approx(20 + Lognormal(median_ms=100, sigma=0.6).mean_ms)


def test_looking_ahead_changes_nothing() -> None:
    looked, plain = CloudWorld(some_clouds(), seed=0), CloudWorld(some_clouds(), seed=0)
    for at_s in (0.0, 0.01, 0.02, 1.0, 2.0):
        for arm in (AWS_ID, AZURE_ID, GCP_ID):
            looked.expected("f", arm, at_s)
        number = int(at_s * 100)
        assert looked.call(a_call(number, AZURE_ID), at_s) == plain.call(a_call(number, AZURE_ID), at_s)
