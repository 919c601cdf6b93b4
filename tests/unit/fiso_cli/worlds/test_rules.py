import random
from collections.abc import Mapping

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.recent_means import RecentMeans
from fiso_cli.worlds.rules import Heard, RoundRobin
from fiso_cli.worlds.virtual_time import Arrival
from fiso_cli.worlds.world import Market
from tests.unit.fiso_cli.worlds.settings import AWS, AWS_ID, AZURE, AZURE_ID, GCP, GCP_ID

MARKET = Market.of({arm.id: arm for arm in (AWS, AZURE, GCP)}, tariff.current())
ALL = [AWS_ID, AZURE_ID, GCP_ID]
ARRIVAL = Arrival(number=0, at_s=0.0, function="f", in_flight=1.0)


def test_round_robin_passes_over_what_is_absent() -> None:
    rule = RoundRobin(MARKET, random.Random(0), Objective.LATENCY)
    turns = [ALL, [AWS_ID, GCP_ID], ALL]
    assert [rule.pick(ARRIVAL, present) for present in turns] == [AWS_ID, GCP_ID, AWS_ID]


def picks(
    objective: Objective, latencies_ms: Mapping[EndpointId, float], costs_usd: Mapping[EndpointId, float], rounds: int
) -> list[str]:
    rule, picked = RecentMeans(MARKET, random.Random(0), objective), []
    for _ in range(rounds):
        arm = rule.pick(ARRIVAL, ALL)
        rule.learn(ARRIVAL, arm, Heard(latency_ms=latencies_ms[arm], cost_usd=costs_usd[arm], at_s=0.0))
        picked.append(str(arm))
    return picked


def test_the_reference_tries_each_arm_and_stays_with_the_best_of_its_objective() -> None:
    latencies_ms = {AWS_ID: 100.0, AZURE_ID: 140.0, GCP_ID: 80.0}
    costs_usd = {AWS_ID: 1e-6, AZURE_ID: 4e-6, GCP_ID: 5e-6}
    fast, cheap = (picks(objective, latencies_ms, costs_usd, 100) for objective in (Objective.LATENCY, Objective.COST))
    assert set(fast) == {*map(str, ALL)}
    assert fast.count(str(GCP_ID)) > 90
    assert cheap.count(str(AWS_ID)) > 90


def test_the_reference_spends_no_more_than_its_budget_on_tries() -> None:
    # each of the others costs 50 calls of the first: two calls are free, and 4 of 100 requests are earned
    slow = picks(Objective.LATENCY, {AWS_ID: 1.0, AZURE_ID: 51.0, GCP_ID: 51.0}, dict.fromkeys(ALL, 1e-6), 400)
    assert slow.count(str(AWS_ID)) >= 397
