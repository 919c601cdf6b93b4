import random

from fiso.billing import tariff
from fiso.domain.endpoint import Provider
from fiso_cli.worlds.rules import (
    CheapestListPrice,
    LowestRecentLatency,
    PeakEwmaOfTwo,
    RoundRobin,
)
from fiso_cli.worlds.world import Arm, Market

ARMS = {
    arm.id: arm
    for arm in (
        Arm(provider=Provider.AWS, region="us-east-1", memory_mb=1024),
        Arm(provider=Provider.AZURE, region="eastus", memory_mb=0),
        Arm(provider=Provider.GCP, region="us-east4", memory_mb=2048),
    )
}
AWS, AZURE, GCP = ARMS
MARKET = Market.of(ARMS, tariff.current())


def rng() -> random.Random:
    return random.Random(0)


def test_round_robin_passes_over_what_is_absent() -> None:
    rule = RoundRobin(MARKET, rng())
    assert [rule.pick(present) for present in ([AWS, AZURE, GCP], [AWS, GCP], [AWS, AZURE, GCP])] == [AWS, GCP, AWS]


def test_lowest_recent_latency_remembers_ten_answers() -> None:
    rule = LowestRecentLatency(MARKET, rng())
    rule.learn(AWS, 5_000.0, 0.0)
    for at_s in range(10):
        rule.learn(AWS, 100.0, at_s)
        rule.learn(AZURE, 200.0, at_s)
        rule.learn(GCP, 300.0, at_s)
    assert rule.pick([AWS, AZURE, GCP]) == AWS


def test_peak_ewma_counts_the_calls_under_way() -> None:
    """100 ms with two under way is worth 300, and 250 ms with none is less; what ended counts no more."""
    rule = PeakEwmaOfTwo(MARKET, rng())
    for arm in (rule.pick([AWS]), rule.pick([AZURE])):
        rule.learn(arm, 100.0 if arm == AWS else 250.0, 1.0)
    assert [rule.pick([AWS, AZURE]) for _ in range(2)] == [AWS, AWS]
    assert rule.pick([AWS, AZURE]) == AZURE
    for at_s in (2.0, 3.0):
        rule.learn(AWS, 100.0, at_s)
    assert rule.pick([AWS, AZURE]) == AWS


def test_the_cheapest_list_price_is_that_of_the_smallest_azure() -> None:
    assert CheapestListPrice(MARKET, rng()).pick([AWS, AZURE, GCP]) == AZURE
